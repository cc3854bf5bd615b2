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
// Everything else is ws.Upgrader's to judge. odd says that the head asks for the
// upgrade in a way that is as good and that ws.Upgrader does not read: see
// plainUpgrade.
func readRequest(head []byte, r *Request) (odd bool, refused *Refusal) {
	*r = Request{}
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	r.Target, _ = requestTarget(line)
	if bytes.IndexByte(line, '\n') >= 0 {
		return false, &Refusal{statusBadRequest, "malformed request line"}
	}
	var keys, versions, hosts, origins int
	var connection, upgrade listField
	for len(rest) > 2 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") || bytes.IndexByte(line, '\n') >= 0 {
			// A bare line feed too: ws.Upgrader takes it for a line's end, and
			// what follows it would be judged by nobody.
			return false, &Refusal{statusBadRequest, "malformed header line"}
		}
		value = bytes.Trim(value, " \t")
		switch {
		case equalFold(name, "Sec-WebSocket-Key"):
			keys++
			if !validKey(value) {
				return false, &Refusal{statusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64"}
			}
		case equalFold(name, "Sec-WebSocket-Version"):
			versions++
		case equalFold(name, "Host"):
			hosts++
			r.Host = value
		case equalFold(name, "Origin"):
			origins++
			r.Origin = value
		case equalFold(name, "Connection"):
			connection.add(value, "upgrade")
		case equalFold(name, "Upgrade"):
			upgrade.add(value, "websocket")
		}
	}
	if keys > 1 || versions > 1 || hosts > 1 || origins > 1 {
		return false, &Refusal{statusBadRequest, "Host, Origin, Sec-WebSocket-Key and Sec-WebSocket-Version must not be repeated"}
	}
	return connection.has && upgrade.has && !(connection.plain && upgrade.alone), nil
}

// listField is a header field whose value is a list: several lines are one list
// (RFC 9110 section 5.3), as the Connection and Upgrade that RFC 6455 section
// 4.2.1 asks for.
type listField struct {
	has   bool // the member that is wanted
	alone bool // which is all there is
	plain bool // one line, without tabs and empty members
	lines int
}

func (f *listField) add(value []byte, wanted string) {
	f.lines++
	f.alone = f.lines == 1 && equalFold(value, wanted)
	f.plain = f.lines == 1 && bytes.IndexByte(value, '\t') < 0
	for member := range bytes.SplitSeq(value, []byte{','}) {
		member = bytes.Trim(member, " \t")
		f.has = f.has || equalFold(member, wanted)
		f.plain = f.plain && len(member) > 0
	}
}

// plainUpgrade rewrites a head so that Connection and Upgrade have nothing but
// the upgrade to WebSocket. What else they list is not for this relay.
func plainUpgrade(head []byte) []byte {
	plain := make([]byte, 0, len(head)+len("Connection: Upgrade\r\nUpgrade: websocket\r\n"))
	for line := range bytes.Lines(head[:len(head)-len("\r\n")]) {
		if name, _, _ := bytes.Cut(line, []byte{':'}); !equalFold(name, "Connection") && !equalFold(name, "Upgrade") {
			plain = append(plain, line...)
		}
	}
	return append(plain, "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"...)
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
