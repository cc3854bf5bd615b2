package api

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/bits"

	"github.com/valyala/fastjson"
)

var (
	errNotObject = errors.New("not one JSON object")
	errTooDeep   = errors.New("nested too deeply")
)

// readObject checks that b is exactly one JSON object and finds the raw values
// of the members called names: values[i] is that of names[i], nil if there is
// none. Whitespace around a value is not part of it. Of members with the same
// name the last one counts, as in encoding/json. It does not check UTF-8.
//
// members finds the values and fastjson judges the grammar. fastjson v1.6.10
// must not see the bytes first: its validator recurses without a limit, copies
// its error text at every level, quotes the whole rest of the text for a bad
// literal, and misses control characters in front of an escape. What members
// lets through is free of all four.
func readObject(b []byte, names []string, values [][]byte) error {
	return readObjectWithin(b, maxDepth, names, values)
}

// readObjectWithin is readObject with another bound of the nesting.
func readObjectWithin(b []byte, most int, names []string, values [][]byte) error {
	if err := membersWithin(b, most, names, values); err != nil {
		return err
	}
	if fastjson.ValidateBytes(b) != nil {
		return errNotObject
	}
	return nil
}

// members is readObject without the grammar: one flat pass that checks depth,
// strings and literals. Its values mean something only if b is valid JSON.
func members(b []byte, names []string, values [][]byte) error {
	return membersWithin(b, maxDepth, names, values)
}

func membersWithin(b []byte, most int, names []string, values [][]byte) error {
	i := 0
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	if i == len(b) || b[i] != '{' {
		return errNotObject
	}
	depth := 0
	var key []byte // the last string of the object itself, raw, in quotes
	value := -1    // where the value of the running member starts
	member := -1   // its place in names
	for i < len(b) {
		if unstructured[b[i]] {
			i++
			continue
		}
		switch b[i] {
		case '"':
			end := stringEnd(b, i+1)
			if end < 0 {
				return errNotObject
			}
			if depth == 1 && value < 0 {
				key = b[i:end]
			}
			i = end
			continue
		case '{', '[':
			if depth++; depth > most {
				return errTooDeep
			}
		case ':':
			if depth == 1 && value < 0 {
				value, member = i+1, indexOf(names, key)
			}
		case ',', '}', ']':
			if depth == 1 && value >= 0 {
				if member >= 0 {
					values[member] = trimSpace(b[value:i])
				}
				value = -1
			}
			if b[i] != ',' {
				depth--
			}
		case 't', 'f', 'n':
			n := literalLen(b[i:])
			if n == 0 {
				return errNotObject
			}
			i += n
			continue
		}
		i++
	}
	return nil
}

// unstructured are the bytes outside of strings that members has no use for:
// numbers and whitespace. Asking first saves a fifth of its time.
var unstructured = func() (table [256]bool) {
	for _, c := range []byte(" \t\r\n+-.0123456789Ee") {
		table[c] = true
	}
	return table
}()

// stringEnd returns the index behind the quote that closes the string whose
// content starts at i, or -1: it has no end, a bad escape or a control
// character (RFC 8259 section 7).
func stringEnd(b []byte, i int) int {
	for i < len(b) {
		if i+8 <= len(b) {
			hit := specials(binary.LittleEndian.Uint64(b[i:]))
			if hit == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(hit) / 8
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return -1
			}
			i += n
		case c < 0x20:
			return -1
		default:
			i++
		}
	}
	return -1
}

// specials marks the top bit of the bytes of w that end a plain run of a
// string: a quote, a backslash, a control character. The lowest mark is exact;
// a borrow can put false ones above it.
func specials(w uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		tops  = 0x80 * ones
		quote = '"' * ones
		slash = '\\' * ones
		space = 0x20 * ones
	)
	q, s := w^quote, w^slash
	return ((q-ones)&^q | (s-ones)&^s | (w-space)&^w) & tops
}

// escapeLen is the length of the escape at the start of b, 0 if it is not one.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

// literalLen is the length of the literal at the start of b, 0 if it is not one.
func literalLen(b []byte) int {
	switch {
	case bytes.HasPrefix(b, litTrue), bytes.HasPrefix(b, litNull):
		return 4
	case bytes.HasPrefix(b, litFalse):
		return 5
	}
	return 0
}

var (
	litTrue  = []byte("true")
	litFalse = []byte("false")
	litNull  = []byte("null")
)

// indexOf returns the place of the raw string key in names, -1 if it is none
// of them.
func indexOf(names []string, key []byte) int {
	for i, name := range names {
		if stringIs(key, name) {
			return i
		}
	}
	return -1
}

// stringIs reports whether the raw JSON string, quotes included, stands for s.
// s is ASCII and not empty.
func stringIs(raw []byte, s string) bool {
	const longest = len(`\u0000`) // of the ways to write one character of s
	if len(raw) < 2 {
		return false
	}
	inner := raw[1 : len(raw)-1]
	if len(inner) == len(s) {
		return string(inner) == s
	}
	if len(inner) < len(s) || len(inner) > longest*len(s) || bytes.IndexByte(inner, '\\') < 0 {
		return false
	}
	text, err := unquote(raw)
	return err == nil && text == s
}

// unquote returns what the raw JSON string, quotes included, stands for. Half
// a surrogate pair becomes U+FFFD. fastjson's own unescaping differs there: it
// leaves some halves as text and swallows the character behind others.
func unquote(raw []byte) (string, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// appendQuoted appends s, valid UTF-8, as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == '"' || s[i] == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always has a JSON form
				panic(err)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// isSpace is JSON's notion of whitespace (RFC 8259 section 2).
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func isHex(c byte) bool {
	lower := c | 0x20
	return isDigit(c) || 'a' <= lower && lower <= 'f'
}
