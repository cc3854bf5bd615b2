package engine

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bodies is where the messages of the near wheel lie, one behind the other, in
// memory that the garbage collector does not see: a million of them would be a
// million objects to follow, and it would let as much garbage come together as
// they take. It is a log that is cleaned, as in Rosenblum and Ousterhout, "The
// Design and Implementation of a Log-Structured File System" (SOSP 1991): what
// leaves makes a hole, an empty chunk is given back, and once the holes are more
// than what is left, a chunk that is mostly holes is emptied into the last one.
// They are shorter there than elsewhere: see bodycode.go. Its owner's lock guards
// it.
type bodies struct {
	since    bodyOrigin
	scratch  []byte // of put
	mappings []*bodyMapping
	chunks   []bodyChunk
	vacant   []uint32 // mapped chunks without content, and without memory
	emptied  []uint32 // without content, but with memory
	holding  bool     // see holdBack
	spare    []uint32 // chunks without memory
	filling  uint32   // the chunk that is written to, or noIndex
	used     int      // bytes of all chunks that were written to, holes included
	live     int      // of these, bytes of messages that wait
	broom    uint32   // the chunk that is looked at next
}

// bodyChunk is a piece of memory: a part of a mapping, or one of the heap for a
// single large message.
type bodyChunk struct {
	mem    []byte // len is how far it is written
	live   int
	mapped bool
}

// bodyRef is where a message lies.
type bodyRef struct{ chunk, at uint32 }

const (
	bodyChunkSize = 64 << 10
	bodyRegion    = 64 * bodyChunkSize
	bodyLarge     = bodyChunkSize / 8 // from here on a message has a chunk of its own
	bodyHoles     = 1 << 20           // so many bytes of holes are not worth cleaning
	bodyLooks     = 64                // chunks that a cleaning looks at, at most
	bodyFetch     = 4 * cacheLine     // what is fetched before it is needed
	cacheLine     = 64
)

func newBodies() bodies { return bodies{filling: noIndex} }

// put takes a copy of p.
func (b *bodies) put(p packed) bodyRef {
	b.scratch = b.since.append(b.scratch[:0], p)
	r := b.place(b.scratch)
	if len(b.scratch) >= bodyLarge {
		b.scratch = nil
	}
	return r
}

// place takes a copy of a message that is short already.
func (b *bodies) place(short []byte) bodyRef {
	n := len(short)
	c := b.filling
	switch {
	case n >= bodyLarge:
		c = b.open(bodyChunk{mem: make([]byte, 0, n)})
	case c == noIndex || cap(b.chunks[c].mem)-len(b.chunks[c].mem) < n:
		b.filling = noIndex
		if c != noIndex && b.chunks[c].live == 0 {
			b.close(c)
		}
		c = b.openMapped()
		b.filling = c
	}
	k := &b.chunks[c]
	at := len(k.mem)
	k.mem = append(k.mem, short...)
	k.live += n
	b.live += n
	b.used += n
	return bodyRef{c, uint32(at)}
}

// short is the message at r as it lies there, valid until the owner's lock is
// given up, or put, drop or clean is called.
func (b *bodies) short(r bodyRef) []byte {
	mem := b.chunks[r.chunk].mem[r.at:]
	n, head := binary.Uvarint(mem)
	return mem[:head+int(n)]
}

// get is a copy of the message at r.
func (b *bodies) get(r bodyRef) packed {
	m := b.since.read(b.short(r))
	return packedFrom(m.appendPacked(make([]byte, 0, m.packedLen())))
}

// frameless is a copy of the message at r without its frame, which may be large.
func (b *bodies) frameless(r bodyRef) packed { return packedFrom(b.appendFrameless(nil, r)) }

// appendFrameless appends it to dst.
func (b *bodies) appendFrameless(dst []byte, r bodyRef) []byte {
	dst, _ = b.since.read(b.short(r)).appendFrameless(dst)
	return dst
}

// packedLen is the length of get of r.
func (b *bodies) packedLen(r bodyRef) int { return b.since.read(b.short(r)).packedLen() }

// key is that of the message at r.
func (b *bodies) key(r bodyRef) uint64 { return b.since.read(b.short(r)).key }

// fetch begins to load the message at r from memory, as far as most are long.
func (b *bodies) fetch(r bodyRef) {
	mem := b.chunks[r.chunk].mem[r.at:]
	for at := 0; at < min(len(mem), bodyFetch); at += cacheLine {
		prefetch(unsafe.Pointer(&mem[at]))
	}
}

// drop forgets the message at r.
func (b *bodies) drop(r bodyRef) {
	k := &b.chunks[r.chunk]
	n := len(b.short(r))
	k.live -= n
	b.live -= n
	if k.live == 0 && r.chunk != b.filling {
		b.close(r.chunk)
	}
}

// clean empties a chunk that is mostly holes, if there are too many of these.
// waits reports whether the message that lies at r is still there for its owner,
// who is told by moved where it lies then.
func (b *bodies) clean(waits func(key uint64, r bodyRef) bool, moved func(key uint64, to bodyRef)) {
	if b.used-b.live <= b.live+bodyHoles {
		return
	}
	for range bodyLooks {
		c := b.broom
		if b.broom++; int(b.broom) >= len(b.chunks) {
			b.broom = 0
		}
		if k := &b.chunks[c]; c != b.filling && len(k.mem) > 0 && 2*k.live <= len(k.mem) {
			b.empty(c, waits, moved)
			return
		}
	}
}

// empty moves what is left of a chunk.
func (b *bodies) empty(c uint32, waits func(key uint64, r bodyRef) bool, moved func(key uint64, to bodyRef)) {
	for at, end := uint32(0), uint32(len(b.chunks[c].mem)); at < end; {
		r := bodyRef{c, at}
		short := b.short(r)
		at += uint32(len(short))
		key := b.key(r)
		if !waits(key, r) {
			continue
		}
		moved(key, b.place(short))
		if b.drop(r); b.chunks[c].live == 0 {
			return // it was the last one: the chunk is given back
		}
	}
}

// openMapped returns an empty chunk of a mapping.
func (b *bodies) openMapped() uint32 {
	for _, list := range []*[]uint32{&b.emptied, &b.vacant} {
		if n := len(*list); n > 0 {
			c := (*list)[n-1]
			*list = (*list)[:n-1]
			return c
		}
	}
	m, err := newBodyMapping()
	if err != nil { // the system maps no more: the heap will do
		return b.open(bodyChunk{mem: make([]byte, 0, bodyChunkSize)})
	}
	b.mappings = append(b.mappings, m)
	first := uint32(len(b.chunks))
	for at := 0; at < bodyRegion; at += bodyChunkSize {
		b.chunks = append(b.chunks, bodyChunk{mem: m.mem[at : at : at+bodyChunkSize], mapped: true})
	}
	for c := uint32(len(b.chunks)) - 1; c > first; c-- {
		b.vacant = append(b.vacant, c)
	}
	return first
}

// open adds a chunk of the heap.
func (b *bodies) open(k bodyChunk) uint32 {
	if n := len(b.spare); n > 0 {
		c := b.spare[n-1]
		b.spare = b.spare[:n-1]
		b.chunks[c] = k
		return c
	}
	b.chunks = append(b.chunks, k)
	return uint32(len(b.chunks) - 1)
}

// close gives the memory of a chunk back to the system, or to the heap.
func (b *bodies) close(c uint32) {
	k := &b.chunks[c]
	b.used -= len(k.mem)
	if !k.mapped {
		k.mem = nil
		b.spare = append(b.spare, c)
		return
	}
	k.mem = k.mem[:0]
	b.emptied = append(b.emptied, c)
	if !b.holding {
		b.giveBack()
	}
}

// holdBack says whether the memory of emptied chunks is kept for now: to give it
// back takes the system longer than all that the messages of a chunk take here.
func (b *bodies) holdBack(hold bool) {
	b.holding = hold
	if !hold {
		b.giveBack()
	}
}

// giveBack gives the memory of emptied chunks back to the system.
func (b *bodies) giveBack() {
	slices.Sort(b.emptied)
	for left := b.emptied; len(left) > 0; {
		n := 1
		mem := b.chunks[left[0]].mem[:bodyChunkSize]
		for n < len(left) && follows(b.chunks[left[n]].mem, mem) {
			mem = unsafe.Slice(unsafe.SliceData(mem), len(mem)+bodyChunkSize)
			n++
		}
		// It fails only for what is not mapped.
		_ = unix.Madvise(mem, unix.MADV_DONTNEED)
		b.vacant = append(b.vacant, left[:n]...)
		left = left[n:]
	}
	b.emptied = b.emptied[:0]
}

// follows reports whether p lies right behind q.
func follows(p, q []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p))) == uintptr(unsafe.Pointer(unsafe.SliceData(q)))+uintptr(len(q))
}

// bodyMapping is a piece of memory that the system has mapped, until nobody
// refers to it any more.
type bodyMapping struct{ mem []byte }

func newBodyMapping() (*bodyMapping, error) {
	mem, err := unix.Mmap(-1, 0, bodyRegion, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	m := &bodyMapping{mem}
	runtime.AddCleanup(m, func(mem []byte) {
		_ = unix.Munmap(mem) // it fails only for what is not mapped
	}, mem)
	return m, nil
}
