package main

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	publishers = 64
	bodyBytes  = 300
	bulk       = 1000 // records or deletions in a commit that nobody waits for
)

func main() {
	only := flag.String("only", "", "measure this candidate, in this process")
	records := flag.Int("records", 1_000_000, "records that are pending before the publishers start")
	length := flag.Duration("for", 5*time.Second, "how long the publishers add")
	keep := flag.Bool("keep", false, "publishers add, and nothing is taken out meanwhile")
	base := flag.String("dir", "", "folder for the files (default: the one for temporary files)")
	flag.Parse()
	if *only == "" {
		fmt.Printf("%-15s %9s %9s %9s %9s %8s %9s %9s %9s %9s\n", "", "adds/s", "a commit",
			"CPU µs", "load µs", "scan s", "open s", "MB full", "MB empty", "RSS MB")
		for _, o := range openers {
			self := exec.Command(os.Args[0], append(os.Args[1:], "-only", o.name)...)
			self.Stdout, self.Stderr = os.Stdout, os.Stderr
			if err := self.Run(); err != nil {
				fmt.Printf("%-15s %v\n", o.name, err)
			}
		}
		return
	}
	for _, o := range openers {
		if o.name == *only {
			if err := measure(o.name, o.open, *base, *records, *length, !*keep); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}

func measure(name string, open func(string) (candidate, error), base string, records int, length time.Duration, remove bool) error {
	dir, err := os.MkdirTemp(base, "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := open(dir)
	if err != nil {
		return err
	}
	noise := make([]byte, 1<<20) // bodies that do not compress
	rand.NewChaCha8([32]byte{}).Read(noise)
	body := func(key uint64) []byte {
		at := key * 7919 % uint64(len(noise)-bodyBytes)
		return noise[at : at+bodyBytes]
	}
	pending := make([]uint64, records)
	for i := range pending {
		pending[i] = uint64(i + 1)
	}
	for part := range slices.Chunk(pending, bulk) {
		c := &change{keys: part}
		for _, k := range part {
			c.bodies = append(c.bodies, body(k))
		}
		if err := s.commit(c); err != nil {
			return err
		}
	}
	rand.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })

	// The publishers: one record in, one of those pending out.
	c := &committer{to: s}
	var last, added atomic.Uint64
	last.Store(uint64(records))
	var wg sync.WaitGroup
	failed := make(chan error, publishers)
	cpu, end := spent(), time.Now().Add(length)
	for range publishers {
		wg.Go(func() {
			for time.Now().Before(end) {
				n := added.Add(1)
				key := last.Add(1)
				var gone []uint64
				if remove && int(n) <= records {
					gone = pending[n-1 : n]
				}
				if err := c.add(key, body(key), gone); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	cpu = spent() - cpu
	select {
	case err := <-failed:
		return err
	default:
	}
	n := added.Load()
	full := size(dir)

	left := pending
	if remove {
		left = pending[min(int(n), records):]
	}
	began := time.Now()
	loads := min(len(left), 50_000)
	for _, k := range left[:loads] {
		if _, err := s.load(k); err != nil {
			return err
		}
	}
	load := time.Since(began)
	if err := s.close(); err != nil {
		return err
	}
	began = time.Now()
	if s, err = open(dir); err != nil {
		return err
	}
	opening := time.Since(began)
	began = time.Now()
	var all []uint64
	if err := s.each(func(k uint64, _ []byte) { all = append(all, k) }); err != nil {
		return err
	}
	scan := time.Since(began)
	if want := len(left) + int(n); len(all) != want && name != "floor" {
		return fmt.Errorf("%s has %d records instead of %d", name, len(all), want)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for part := range slices.Chunk(all, bulk) {
		if err := s.commit(&change{gone: part}); err != nil {
			return err
		}
	}
	if err := s.close(); err != nil {
		return err
	}
	fmt.Printf("%-15s %9.0f %9.1f %9.1f %9.2f %8.2f %9.2f %9.0f %9.0f %9.0f\n", name,
		float64(n)/length.Seconds(), float64(n)/float64(c.commits), float64(cpu.Microseconds())/float64(n),
		float64(load.Microseconds())/float64(max(loads, 1)), scan.Seconds(), opening.Seconds(), full, size(dir), resident())
	return nil
}

// size is what the files in dir take on disk, in MB.
func size(dir string) float64 {
	var n int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return float64(n) / 1e6
}

func spent() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the largest size that the process had in memory, in MB. The
// mapped pages of a file count.
func resident() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Maxrss) / 1e3
}
