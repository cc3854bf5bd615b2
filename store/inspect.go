package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a file of bbolt, version 2, as go.etcd.io/bbolt/internal/common
// has it. Numbers are in the order of the machine, which is little endian on
// all that the relay is built for.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaBytes   = 64 // magic, version, page size, flags, root (16), freelist, end, transaction, checksum
	pageHeader  = 16 // id, flags (2), count (2), overflow (4)
	elementSize = 16 // branch: pos, key size, page; leaf: flags, pos, key size, value size
	bucketBytes = 16 // root page, sequence

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf's element: the value is a bucket

	noFreelist = ^uint64(0)
	// maxDepth is above what a file of any size reaches: a page has two
	// children or more.
	maxDepth = 64
	minPage  = 1 << 10
	maxPage  = 1 << 16
)

var errStructure = errors.New("its pages do not fit together")

// inspection walks through a file before the database does. bbolt takes the
// pages of its file as they are: an offset that damage made reads memory that
// is somebody else's, and a panic in a goroutine of its own ends the process.
// So everything that it will follow is followed here first, by reading, with
// every bound checked. What the records say is not looked at.
type inspection struct {
	file     io.ReaderAt
	pageSize uint64
	end      uint64 // pages that are in use, or free
	root     uint64
	freelist uint64
	behind   bool     // one of the meta pages is unreadable, maybe the newer
	used     []uint64 // a bit a page
}

// inspect returns nil if the file, of size bytes, can be given to the database,
// and whether its last commit may have to be left behind.
func inspect(file io.ReaderAt, size int64) (behind bool, err error) {
	in := &inspection{file: file}
	if err := in.readMetas(size); err != nil {
		return false, err
	}
	in.used = make([]uint64, in.end/64+1)
	in.use(0)
	in.use(1)
	if err := in.tree(in.root, nil, nil, 0, true); err != nil {
		return false, err
	}
	return in.behind, in.free()
}

// readMetas finds the newest meta page that is whole, as the database will.
func (in *inspection) readMetas(size int64) error {
	var newest uint64
	valid := 0
	// The second page is where the page size of the first says, or where that
	// is unreadable, at the first place that looks like it.
	for _, at := range []int64{0, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		head := make([]byte, pageHeader+metaBytes)
		if _, err := in.file.ReadAt(head, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		m := head[pageHeader:]
		sum := fnv.New64a()
		sum.Write(m[:metaBytes-8])
		pageSize := uint64(binary.LittleEndian.Uint32(m[8:]))
		switch {
		case binary.LittleEndian.Uint32(m) != metaMagic, binary.LittleEndian.Uint32(m[4:]) != metaVersion,
			binary.LittleEndian.Uint64(m[56:]) != sum.Sum64(),
			pageSize < minPage || pageSize > maxPage || pageSize&(pageSize-1) != 0,
			at != 0 && pageSize != uint64(at),
			valid > 0 && pageSize != in.pageSize:
			continue
		}
		valid++
		if txid := binary.LittleEndian.Uint64(m[48:]); valid == 1 || txid > newest {
			newest = txid
			in.pageSize = pageSize
			in.root = binary.LittleEndian.Uint64(m[16:])
			in.freelist = binary.LittleEndian.Uint64(m[32:])
			in.end = binary.LittleEndian.Uint64(m[40:])
		}
		if at != 0 {
			break
		}
	}
	if valid == 0 {
		return fmt.Errorf("%w: it has no valid head", errStructure)
	}
	if in.end > uint64(size)/in.pageSize {
		return fmt.Errorf("%w: it is %d bytes long, and shorter than it was", errStructure, size)
	}
	in.behind = valid == 1
	return nil
}

// use marks a page, once.
func (in *inspection) use(id uint64) bool {
	if id >= in.end || in.used[id/64]&(1<<(id%64)) != 0 {
		return false
	}
	in.used[id/64] |= 1 << (id % 64)
	return true
}

// page reads the page id with all that overflows from it, and marks them.
func (in *inspection) page(id uint64) ([]byte, error) {
	if id < 2 || !in.use(id) {
		return nil, fmt.Errorf("%w: page %d is out of place", errStructure, id)
	}
	page := make([]byte, in.pageSize)
	if _, err := in.file.ReadAt(page, int64(id*in.pageSize)); err != nil {
		return nil, err
	}
	overflow := uint64(binary.LittleEndian.Uint32(page[12:]))
	if binary.LittleEndian.Uint64(page) != id || overflow >= in.end-id {
		return nil, fmt.Errorf("%w: page %d is another", errStructure, id)
	}
	for more := id + 1; more <= id+overflow; more++ {
		if !in.use(more) {
			return nil, fmt.Errorf("%w: page %d overflows", errStructure, id)
		}
	}
	if overflow == 0 {
		return page, nil
	}
	page = make([]byte, (1+overflow)*in.pageSize)
	_, err := in.file.ReadAt(page, int64(id*in.pageSize))
	return page, err
}

// tree checks the page id and what hangs from it. Its keys are least or above
// (nil: any), and below limit (nil: any). Buckets hang from the top tree only.
func (in *inspection) tree(id uint64, least, limit []byte, depth int, top bool) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: page %d is too deep", errStructure, id)
	}
	page, err := in.page(id)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(page[8:]) != branchPage {
		return in.leaf(page, least, limit, top)
	}
	count := int(binary.LittleEndian.Uint16(page[10:]))
	if count == 0 {
		return fmt.Errorf("%w: page %d is empty", errStructure, id)
	}
	keys, err := elementKeys(page, count, 0, 4)
	if err != nil {
		return err
	}
	if err := ordered(keys, least, limit); err != nil {
		return err
	}
	for i := range count {
		below := limit
		if i+1 < count {
			below = keys[i+1]
		}
		child := binary.LittleEndian.Uint64(page[pageHeader+i*elementSize+8:])
		if err := in.tree(child, keys[i], below, depth+1, top); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a page of records, or of buckets.
func (in *inspection) leaf(page, least, limit []byte, top bool) error {
	if binary.LittleEndian.Uint16(page[8:]) != leafPage {
		return fmt.Errorf("%w: an unknown kind of page", errStructure)
	}
	count := int(binary.LittleEndian.Uint16(page[10:]))
	keys, err := elementKeys(page, count, 4, 8)
	if err != nil {
		return err
	}
	if err := ordered(keys, least, limit); err != nil {
		return err
	}
	for i := range count {
		element := page[pageHeader+i*elementSize:]
		start := uint64(binary.LittleEndian.Uint32(element[4:])) + uint64(binary.LittleEndian.Uint32(element[8:]))
		size := uint64(binary.LittleEndian.Uint32(element[12:]))
		if start+size > uint64(len(element)) {
			return fmt.Errorf("%w: a record is too long", errStructure)
		}
		isBucket := binary.LittleEndian.Uint32(element)&bucketFlag != 0
		if isBucket != top {
			return fmt.Errorf("%w: a record and a bucket are mixed up", errStructure)
		}
		if !isBucket {
			continue
		}
		if err := in.bucket(element[start : start+size]); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the tree of a bucket, which small ones hold within themselves.
func (in *inspection) bucket(value []byte) error {
	if len(value) < bucketBytes {
		return fmt.Errorf("%w: a bucket is too short", errStructure)
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return in.tree(root, nil, nil, 0, false)
	}
	inline := value[bucketBytes:]
	if len(inline) < pageHeader {
		return fmt.Errorf("%w: a bucket is too short", errStructure)
	}
	return in.leaf(inline, nil, nil, false)
}

// free checks the list of free pages, unless the last commit wrote none.
func (in *inspection) free() error {
	if in.freelist == noFreelist {
		return nil
	}
	page, err := in.page(in.freelist)
	if err != nil {
		return err
	}
	count, ids := uint64(binary.LittleEndian.Uint16(page[10:])), page[pageHeader:]
	if count == 0xFFFF { // too many for the head: the first entry is the count
		count, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if binary.LittleEndian.Uint16(page[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return fmt.Errorf("%w: the list of free pages", errStructure)
	}
	for i := range count {
		if id := binary.LittleEndian.Uint64(ids[8*i:]); id < 2 || !in.use(id) {
			return fmt.Errorf("%w: page %d is free and in use", errStructure, id)
		}
	}
	return nil
}

// elementKeys returns the keys of a page. posAt and sizeAt are where an element
// has its key's place, counted from the element, and its size.
func elementKeys(page []byte, count, posAt, sizeAt int) ([][]byte, error) {
	if pageHeader+count*elementSize > len(page) {
		return nil, fmt.Errorf("%w: a page has too many records", errStructure)
	}
	keys := make([][]byte, count)
	for i := range keys {
		element := page[pageHeader+i*elementSize:]
		pos := uint64(binary.LittleEndian.Uint32(element[posAt:]))
		size := uint64(binary.LittleEndian.Uint32(element[sizeAt:]))
		if pos+size > uint64(len(element)) {
			return nil, fmt.Errorf("%w: a key is too long", errStructure)
		}
		keys[i] = element[pos : pos+size]
	}
	return keys, nil
}

// ordered checks that keys ascend from least on and stay below limit.
func ordered(keys [][]byte, least, limit []byte) error {
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 || i == 0 && bytes.Compare(k, least) < 0 ||
			limit != nil && bytes.Compare(k, limit) >= 0 {
			return fmt.Errorf("%w: records are out of order", errStructure)
		}
	}
	return nil
}
