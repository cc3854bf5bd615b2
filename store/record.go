package store

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	keyBytes = 8 // big endian, so that the file's order is that of the numbers
	sumBytes = 4 // CRC-32C, RFC 3720 appendix B.4, over the key and the body
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// number is the form of a key, or of a time in milliseconds, in the file.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// seal returns what is stored under key: a checksum and the body. The checksum
// covers the key too, so a record under another key than its own is found out.
func seal(key, body []byte) []byte {
	value := make([]byte, sumBytes, sumBytes+len(body))
	binary.BigEndian.PutUint32(value, sum(key, body))
	return append(value, body...)
}

// unseal returns the body in value. It points into value.
func unseal(key, value []byte) (body []byte, err error) {
	if len(value) < sumBytes {
		return nil, ErrCorrupt
	}
	body = value[sumBytes:]
	if binary.BigEndian.Uint32(value) != sum(key, body) {
		return nil, ErrCorrupt
	}
	return body, nil
}

func sum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

// state is what the store knows beside its records. Every commit that changes
// it writes it, so it is as old as the records are.
type state struct {
	last      uint64 // the largest key that was ever added
	pending   uint64 // messages
	cancelled uint64 // keys that are remembered as cancelled
}

const stateBytes = 3 * 8

func (s state) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, stateBytes), s.last)
	b = binary.BigEndian.AppendUint64(b, s.pending)
	return binary.BigEndian.AppendUint64(b, s.cancelled)
}

func decodeState(b []byte) (s state, err error) {
	if len(b) != stateBytes {
		return s, ErrCorrupt
	}
	s.last = binary.BigEndian.Uint64(b)
	s.pending = binary.BigEndian.Uint64(b[8:])
	s.cancelled = binary.BigEndian.Uint64(b[16:])
	return s, nil
}
