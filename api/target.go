package api

import "bytes"

// splitTarget splits a request target as sent into path and query, the query
// without its question mark. The path is not decoded or cleaned: a path is
// ours only as it is configured. Of the absolute form, "http://host/path", it
// takes what follows the host (RFC 9112 section 3.2.2).
func splitTarget(target []byte) (path, query []byte) {
	path, query, _ = bytes.Cut(target, []byte{'?'})
	if len(path) > 0 && path[0] != '/' {
		if _, rest, ok := bytes.Cut(path, []byte("://")); ok {
			path = rest[len(rest):]
			if slash := bytes.IndexByte(rest, '/'); slash >= 0 {
				path = rest[slash:]
			}
		}
	}
	return path, query
}

// queryValue returns the decoded value of the first pair called name, "" if
// there is none or its value is not well encoded.
func queryValue(query []byte, name string) string {
	value, _ := lookUpQuery(query, name)
	return value
}

// lookUpQuery is queryValue that reports false for a value that is not well
// encoded.
func lookUpQuery(query []byte, name string) (value string, ok bool) {
	raw, found := rawQuery(query, name)
	if !found {
		return "", true
	}
	return decodeQuery(raw)
}

// hasQuery reports whether there is a pair called name.
func hasQuery(query []byte, name string) bool {
	_, found := rawQuery(query, name)
	return found
}

// rawQuery returns the value of the first pair called name as it was sent.
func rawQuery(query []byte, name string) (value []byte, found bool) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, value, _ := bytes.Cut(pair, []byte{'='})
		if string(key) != name {
			if !isEncoded(key) {
				continue
			}
			if decoded, ok := decodeQuery(key); !ok || decoded != name {
				continue
			}
		}
		return value, true
	}
	return nil, false
}

func isEncoded(b []byte) bool {
	return bytes.IndexByte(b, '%') >= 0 || bytes.IndexByte(b, '+') >= 0
}

// decodeQuery undoes the encoding of a query's parts: %41 is A, + is a space.
// It returns "", false for a broken escape.
func decodeQuery(b []byte) (string, bool) {
	if !isEncoded(b) {
		return string(b), true
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) {
				return "", false
			}
			out = append(out, unhex(b[i+1])<<4|unhex(b[i+2]))
			i += 2
		default:
			out = append(out, b[i])
		}
	}
	return string(out), true
}

// unhex is the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
