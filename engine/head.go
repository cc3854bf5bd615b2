package engine

import (
	"bytes"
	"encoding/base64"
)

// maxHead is the longest request head that is taken, in bytes.
const maxHead = 8 << 10

// headVerdict is what the first bytes of a connection tell.
type headVerdict uint8

const (
	headPartial  headVerdict = iota // more bytes are needed
	headForeign                     // not a WebSocket handshake of ours: the HTTP server's
	headTooLong                     // ours, and longer than maxHead
	headComplete                    // ours, and whole
)

// judgeHead looks at the first bytes of a connection. claims decides by the
// request's target; size is the length of a complete head, blank line
// included.
func judgeHead(b []byte, claims func(target []byte) bool) (v headVerdict, size int) {
	if len(b) == 0 {
		return headPartial, 0
	}
	if c := b[0] | 0x20; c < 'a' || c > 'z' {
		return headForeign, 0 // no method starts so: the HTTP server explains
	}
	eol := bytes.IndexByte(b, '\n')
	if eol < 0 {
		if len(b) > maxHead {
			return headForeign, 0
		}
		return headPartial, 0
	}
	target, ok := requestTarget(b[:eol])
	if !ok || !claims(target) {
		return headForeign, 0
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	switch {
	case end >= 0 && end+4 <= maxHead:
		return headComplete, end + 4
	case end >= 0 || len(b) > maxHead:
		return headTooLong, 0
	}
	return headPartial, 0
}

// requestTarget takes the target out of a request line (RFC 9112 section 3).
func requestTarget(line []byte) (target []byte, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return nil, false
	}
	target, _, ok = bytes.Cut(rest, []byte{' '})
	return target, ok && len(target) > 0
}

// readRequest takes from a complete head what a Handler may judge by, and
// refuses what ws.Upgrader lets pass: header fields that must be unique but
// are not, and a key that is not 16 bytes in base64 (RFC 6455 section 4.2.1).
// Everything else is ws.Upgrader's to judge.
func readRequest(head []byte, r *Request) *Refusal {
	*r = Request{}
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	r.Target, _ = requestTarget(line)
	if bytes.IndexByte(line, '\n') >= 0 {
		return &Refusal{statusBadRequest, "malformed request line"}
	}
	var keys, versions, hosts int
	for len(rest) > 2 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") || bytes.IndexByte(line, '\n') >= 0 {
			// A bare line feed too: ws.Upgrader takes it for a line's end, and
			// what follows it would be judged by nobody.
			return &Refusal{statusBadRequest, "malformed header line"}
		}
		value = bytes.Trim(value, " \t")
		switch {
		case equalFold(name, "Sec-WebSocket-Key"):
			keys++
			if !validKey(value) {
				return &Refusal{statusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64"}
			}
		case equalFold(name, "Sec-WebSocket-Version"):
			versions++
		case equalFold(name, "Host"):
			hosts++
			r.Host = value
		case equalFold(name, "Origin"):
			r.Origin = value
		}
	}
	if keys > 1 || versions > 1 || hosts > 1 {
		return &Refusal{statusBadRequest, "Host, Sec-WebSocket-Key and Sec-WebSocket-Version must not be repeated"}
	}
	return nil
}

// equalFold compares a header field's name.
func equalFold(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// validKey reports whether key is the base64 of 16 bytes.
func validKey(key []byte) bool {
	const size = 24 // of 16 bytes in base64
	var raw [18]byte
	if len(key) != size {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key)
	return err == nil && n == 16
}
