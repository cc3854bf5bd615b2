package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// installation is a folder that a relay of the bench is started in: its
// config.json, and its data_dir if it has one. It is started once more to see
// what is left after a crash.
type installation struct {
	b    *bench
	name string // of the server, in the figures
	dir  string
	data string // its data_dir, seen from dir
	port int    // 0 until it has chosen one; later starts get the same
}

const (
	dataOnDisk   = "data"
	dataInMemory = "none" // a relay that loses its delayed pushes with its process

	// startAgainWithin is how long a start with pushes on disk may take.
	startAgainWithin = 2 * time.Minute

	healthStep = time.Millisecond // between two looks at whether a server answers
)

// install makes a fresh folder. It is removed with all others of the run.
func (b *bench) install(name, data string) (*installation, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	return &installation{b: b, name: name, dir: dir, data: data}, err
}

// start starts the relay. Its pings are off: they would fall into one round
// and not into the next.
func (in *installation) start() (*server, error) {
	config, err := json.Marshal(map[string]string{
		"port": strconv.Itoa(in.port), "api_key": apiKey, "ws_path": wsPath, "push_path": pushPath, "ping_interval": "0s", "data_dir": in.data,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(in.dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	p := program{name: in.name, file: in.b.relay, dir: in.dir, cpu: in.b.serverCPU, look: in.b.look, within: startWithin}
	if in.port != 0 {
		p.within = startAgainWithin
	}
	s, err := startServer(p)
	if err == nil {
		in.port = int(s.addr.Port())
	}
	return s, err
}

// startWith is a starter of a fresh relay that keeps its data there.
func (b *bench) startWith(name, data string) starter {
	return func() (*server, error) {
		in, err := b.install(name, data)
		if err != nil {
			return nil, err
		}
		return in.start()
	}
}

// awaitHealth waits until the server answers.
func (s *server) awaitHealth() error {
	url := "http://" + s.addr.String() + "/health"
	client := http.Client{Timeout: startAgainWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(startAgainWithin); ; time.Sleep(healthStep) { // between two looks at the condition
		answer, err := client.Get(url)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", answer.Status)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%s ended; its output:\n%s", s.name, s.lastLines())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer %s within %v: %w", s.name, url, startAgainWithin, err)
		}
	}
}

// fileSystem names what the folder of the run is on. What is written to a
// tmpfs is in memory, and safe at once.
func (b *bench) fileSystem() string {
	var f unix.Statfs_t
	if unix.Statfs(b.dir, &f) != nil {
		return "an unknown file system" // a hint to the reader, no figure depends on it
	}
	switch int64(f.Type) {
	case unix.TMPFS_MAGIC:
		b.report.warn("the relay's data was on a tmpfs, which is memory: set TMPDIR to a folder on a disk to see what that disk takes")
		return "tmpfs"
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("a file system of type %#x", f.Type)
}
