package engine

import "unicode/utf8"

// utf8Stream checks text that arrives in pieces. It fails at the first byte
// that no continuation can mend, so a bad message is refused as early as RFC
// 6455 section 8.1 allows. The zero value is ready.
type utf8Stream struct {
	tail [utf8.UTFMax]byte // an unfinished character from the last piece
	n    uint8             // its length
}

// feed checks the next piece. It reports false once the text is invalid.
func (u *utf8Stream) feed(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.tail[u.n] = p[0]
		u.n++
		p = p[1:]
		if t := u.tail[:u.n]; utf8.FullRune(t) {
			if r, size := utf8.DecodeRune(t); r == utf8.RuneError && size <= 1 {
				return false
			}
			u.n = 0
		}
	}
	// An unfinished character starts in the last three bytes, if there is one.
	whole := len(p)
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				whole = i
			}
			break
		}
	}
	if !utf8.Valid(p[:whole]) {
		return false
	}
	if whole < len(p) {
		u.n = uint8(copy(u.tail[:], p[whole:]))
	}
	return true
}

// complete reports whether the text may end here.
func (u *utf8Stream) complete() bool { return u.n == 0 }
