package api

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"
)

// The id of an accepted push is a UUID of version 7 (RFC 9562 section 5.7):
//
//	48 bits   when it was accepted, in milliseconds since the epoch
//	 4        the version, 7
//	12        the key of the engine, its upper bits
//	 2        the variant, binary 10
//	40        the key's lower bits
//	22        a code over the time and the key, under the relay's secret
//
// So ids sort by time and, within a millisecond, in the order of acceptance,
// and one that this relay gave out is known from any other without a memory of
// them. The code is not a lock: whoever may ask about ids has the API key. It
// keeps the ids of another relay, or of a lost data folder, from naming a push
// here.
//
// One block of AES is the code: time and key fit into a block, and a cipher is
// a keyed function of a whole block. Nothing cheaper is in the library.
const (
	idLength  = 36 // characters of the text
	keyBits   = 52
	codeBits  = 22
	lowBits   = keyBits - 12 // of the key, behind the variant
	codeMask  = 1<<codeBits - 1
	lowMask   = 1<<lowBits - 1
	timeMask  = 1<<48 - 1
	idVersion = 7 << 12
	idVariant = 1 << 63
)

// pushID names an accepted push.
type pushID struct {
	ms  int64  // when it was accepted, since the epoch
	key uint64 // the engine's, below 1<<keyBits
}

// idMint gives out ids and knows its own again.
type idMint struct {
	block  cipher.Block
	latest atomic.Int64 // the largest time given
}

// newIDMint returns a mint whose ids depend on the secret; without one, on
// chance.
func newIDMint(secret []byte) *idMint {
	var key [sha256.Size]byte
	if len(secret) > 0 {
		key = sha256.Sum256(secret)
	} else {
		_, _ = rand.Read(key[:]) // it never fails (package crypto/rand)
	}
	block, err := aes.NewCipher(key[:aes.BlockSize])
	if err != nil { // only a key of another length is refused
		panic(err)
	}
	return &idMint{block: block}
}

// next is the id for a push that is accepted at now under this key. Its time
// is never less than that of an id before, whatever the clock does.
func (m *idMint) next(now time.Time, key uint64) pushID {
	ms := now.UnixMilli() & timeMask
	for {
		latest := m.latest.Load()
		if ms <= latest {
			return pushID{latest, key}
		}
		if m.latest.CompareAndSwap(latest, ms) {
			return pushID{ms, key}
		}
	}
}

// append appends the text of id, in lower case.
func (m *idMint) append(dst []byte, id pushID) []byte {
	start := len(dst)
	dst = append(dst, "00000000-0000-0000-0000-000000000000"...)
	text := dst[start:]
	// text is also the room for the code: it is on the heap already, where
	// what goes through an interface has to be.
	code := m.code(text[:aes.BlockSize], id)
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(id.ms)<<16|idVersion|id.key>>lowBits)
	binary.BigEndian.PutUint64(raw[8:], idVariant|id.key&lowMask<<codeBits|code)
	hex.Encode(text, raw[:4])
	text[8] = '-'
	hex.Encode(text[9:], raw[4:6])
	text[13] = '-'
	hex.Encode(text[14:], raw[6:8])
	hex.Encode(text[19:], raw[8:10])
	hex.Encode(text[24:], raw[10:])
	return dst
}

// code is the code of id. block is room for it.
func (m *idMint) code(block []byte, id pushID) uint64 {
	binary.BigEndian.PutUint64(block, uint64(id.ms))
	binary.BigEndian.PutUint64(block[8:], id.key)
	m.block.Encrypt(block, block)
	return binary.BigEndian.Uint64(block) & codeMask
}

// parse reads the text of an id, in either case of letters. It reports false
// for what this mint did not give out.
func (m *idMint) parse(text []byte) (id pushID, ok bool) {
	if !isUUID(text) {
		return pushID{}, false
	}
	var plain [32]byte
	n := 0
	for _, c := range text {
		if c != '-' {
			plain[n] = c
			n++
		}
	}
	var raw [16]byte
	_, _ = hex.Decode(raw[:], plain[:]) // isUUID has seen every digit
	high, low := binary.BigEndian.Uint64(raw[:]), binary.BigEndian.Uint64(raw[8:])
	if high&0xf000 != idVersion || low>>62 != idVariant>>62 {
		return pushID{}, false
	}
	id = pushID{ms: int64(high >> 16), key: high&0xfff<<lowBits | low>>codeBits&lowMask}
	return id, m.code(make([]byte, aes.BlockSize), id) == low&codeMask
}

// isUUID reports whether text has the form of a UUID (RFC 9562 section 4).
func isUUID(text []byte) bool {
	if len(text) != idLength {
		return false
	}
	for i, c := range text {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !isHex(c) {
			return false
		}
	}
	return true
}
