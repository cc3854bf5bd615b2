package api

import (
	"bytes"
	"errors"
	"math"
)

// errTooLong is a number whose exponent, written out, would be absurdly long.
var errTooLong = errors.New("number has too large an exponent")

const (
	// maxZeros is how many characters writing out an exponent may add to a
	// number. A 64-bit float needs 326 at most.
	maxZeros = 1024

	// maxExponent is where an exponent stops being counted: far past what
	// maxZeros lets through, far below an overflow.
	maxExponent = 1 << 40
)

// decimal returns the shortest decimal text of the raw JSON number, exact to
// the last digit: no exponent, no plus, no zeros that mean nothing, "0" for
// every zero. The error is errTooLong.
func decimal(raw []byte) (string, error) {
	if isPlainInteger(raw) {
		return string(raw), nil
	}
	var room [64]byte
	text, err := appendDecimal(room[:0], raw)
	return string(text), err
}

// integer returns the value of the raw JSON number if it is a whole number,
// however it is written: 5, 5.0 and 50e-1 are. What int64 cannot hold becomes
// the nearest that it can.
func integer(raw []byte) (n int64, ok bool) {
	text := raw
	if !isPlainInteger(raw) {
		var room [64]byte
		var err error
		if text, err = appendDecimal(room[:0], raw); err != nil {
			return 0, false
		}
	}
	negative := text[0] == '-'
	if negative {
		text = text[1:]
	}
	for _, c := range text {
		if c == '.' {
			return 0, false
		}
		digit := int64(c - '0')
		switch {
		case negative && n < (math.MinInt64+digit)/10:
			return math.MinInt64, bytes.IndexByte(text, '.') < 0
		case negative:
			n = n*10 - digit
		case n > (math.MaxInt64-digit)/10:
			return math.MaxInt64, bytes.IndexByte(text, '.') < 0
		default:
			n = n*10 + digit
		}
	}
	return n, true
}

// isPlainInteger reports whether the raw JSON number is its own decimal text
// at a glance: digits only, and not "-0".
func isPlainInteger(raw []byte) bool {
	for i, c := range raw {
		if !isDigit(c) && (c != '-' || i > 0) {
			return false
		}
	}
	return string(raw) != "-0"
}

// appendDecimal is decimal for every number, whatever its form.
func appendDecimal(dst, raw []byte) ([]byte, error) {
	n := splitNumber(raw)
	if len(n.digits) == 0 {
		return append(dst, '0'), nil
	}
	// The text is 000ddd, ddd.ddd or ddd000, by where the point falls.
	count := int64(len(n.digits))
	length := max(n.point, count+1)
	if n.point <= 0 {
		length = count - n.point + 2
	}
	if length > int64(len(raw))+maxZeros {
		return dst, errTooLong
	}
	if n.negative {
		dst = append(dst, '-')
	}
	switch {
	case n.point <= 0:
		dst = append(dst, "0."...)
		dst = appendZeros(dst, -n.point)
		dst = append(dst, n.digits...)
	case n.point >= count:
		dst = append(dst, n.digits...)
		dst = appendZeros(dst, n.point-count)
	default:
		dst = append(dst, n.digits[:n.point]...)
		dst = append(dst, '.')
		dst = append(dst, n.digits[n.point:]...)
	}
	return dst, nil
}

// number is 0.ddd × 10^point with the digits ddd, the first and last of which
// are not zero. Zero has no digits.
type number struct {
	negative bool
	digits   []byte
	point    int64
}

// splitNumber takes the raw JSON number apart (RFC 8259 section 6).
func splitNumber(raw []byte) number {
	var n number
	if raw[0] == '-' {
		n.negative = true
		raw = raw[1:]
	}
	mantissa := raw
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		mantissa = raw[:i]
		n.point = exponent(raw[i+1:])
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	n.point += int64(len(whole))
	n.digits = whole
	if len(fraction) > 0 {
		n.digits = append(append(make([]byte, 0, len(mantissa)), whole...), fraction...)
	}
	significant := bytes.TrimLeft(n.digits, "0")
	n.point -= int64(len(n.digits) - len(significant))
	n.digits = bytes.TrimRight(significant, "0")
	return n
}

// exponent reads what stands behind the e, stopping at ±maxExponent.
func exponent(raw []byte) int64 {
	negative := raw[0] == '-'
	if negative || raw[0] == '+' {
		raw = raw[1:]
	}
	var e int64
	for _, c := range raw {
		e = min(e*10+int64(c-'0'), maxExponent)
	}
	if negative {
		return -e
	}
	return e
}

func appendZeros(dst []byte, n int64) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
