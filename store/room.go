package store

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"go.etcd.io/bbolt"
)

const (
	// growLeast and growMost bound the steps in which the file grows, so that
	// few commits have to wait for it.
	growLeast = 1 << 20
	growMost  = 16 << 20
	// keptPages stay free when something is added: a removal needs a few pages
	// before it gives any back, and must go through on a full disk.
	keptPages = 64
	// pathPages is what a change of a few records may take: the way down each
	// bucket, and the top.
	pathPages = 24
)

// makeRoom sees to it that the commit of the batch finds room on the disk, or
// fails before anything is written. bbolt would notice too, but only half-way,
// since it grows its file without allocating it; and to undo that it may have
// to read all of the file.
func (d *database) makeRoom(tx *bbolt.Tx, b *batch) error {
	stats := d.Stats()
	single, runs := need(b, d.pageSize)
	// Each removal may change a page and the one above it, but no page twice.
	single += min(2*int64(len(b.removes)), tx.Size()/d.pageSize-int64(stats.FreePageN))
	if !d.NoFreelistSync {
		freed := stats.FreePageN + stats.PendingPageN + int(single+runs)
		runs += int64(freed)*8/d.pageSize + 2
	}
	if len(b.requests) > 0 {
		single += keptPages
	}
	// Free pages in the file are room like those of the disk, those that are
	// kept for removals too.
	pages := max(single-int64(stats.FreePageN), 0) + runs
	return d.grow(tx.Size(), tx.Size()+(pages+1)*d.pageSize)
}

// need returns how many pages the requests of a batch take at most: single
// ones, which any free page can serve, and those that have to lie in a row.
func need(b *batch, pageSize int64) (single, runs int64) {
	single = pathPages
	bytes := int64(0)
	for _, r := range b.requests {
		if r.cancel {
			single += 4
		}
		for i := range len(r.bodies) + 1 {
			record := r.receipt
			if i < len(r.bodies) {
				record = r.bodies[i]
			}
			size := int64(len(record)) + 2*recordOverhead
			if size > pageSize/2 {
				runs += size/pageSize + 2
				single++ // what stood beside it in its page
			} else {
				bytes += size
			}
		}
	}
	return single + 2*bytes/pageSize, runs
}

// grow makes the file want bytes long, or longer, with all of it allocated. It
// has used bytes now.
func (d *database) grow(used, want int64) error {
	size := d.size()
	switch {
	case size < used:
		return fault{"it has become shorter"}
	case want <= size:
		return nil
	}
	step := min(max(size/8, growLeast), growMost)
	var err error
	for _, target := range []int64{max(want, size+step), want} {
		if err = d.allocate(size, target-size); err == nil {
			return d.file.Sync()
		}
	}
	// Some file systems keep what they found before they gave up.
	return errors.Join(fmt.Errorf("making room in the file: %w", err), d.file.Truncate(size))
}

// allocate makes the file longer by bytes that have their place on the disk.
func (d *database) allocate(from, bytes int64) error {
	for {
		err := syscall.Fallocate(int(d.file.Fd()), 0, from, bytes)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			_, err := io.Copy(io.NewOffsetWriter(d.file, from), io.LimitReader(zeros{}, bytes))
			return err
		default:
			return err
		}
	}
}

// zeros is read without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
