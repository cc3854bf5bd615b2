package api

// messageKind says what a client wants.
type messageKind int

const (
	messageOther    messageKind = iota // nothing that we know: ignored
	messagePing                        // {"type":"ping","ts":N}
	messageIdentify                    // {"event":"identify","data":{"token":…}}
)

// message is what a client sent.
type message struct {
	kind  messageKind
	value []byte // raw JSON: ts of a ping, token of an identify; nil if missing
}

// The members of a message, and of the data of an identify.
var (
	messageFields  = [...]string{"type", "ts", "event", "data"}
	identifyFields = [...]string{"token"}
)

const (
	fieldType = iota
	fieldTime
	fieldName
	fieldData
)

// readMessage reads a client's text message, valid UTF-8. The value is a part
// of b. It does not allocate. A message that is both is a ping.
func readMessage(b []byte) message {
	var values [len(messageFields)][]byte
	if readObject(b, messageFields[:], values[:]) != nil {
		return message{}
	}
	switch {
	case isString(values[fieldType], "ping"):
		return message{kind: messagePing, value: values[fieldTime]}
	case isString(values[fieldName], "identify"):
		var token [len(identifyFields)][]byte
		if members(values[fieldData], identifyFields[:], token[:]) != nil {
			return message{}
		}
		return message{kind: messageIdentify, value: token[0]}
	}
	return message{}
}

// isString reports whether the raw JSON value is the string s.
func isString(raw []byte, s string) bool {
	return len(raw) > 0 && raw[0] == '"' && stringIs(raw, s)
}

// appendPong appends the answer to a ping with this raw ts, which goes back
// digit for digit; nil becomes null.
func appendPong(dst, ts []byte) []byte {
	dst = append(dst, `{"type":"pong","ts":`...)
	if ts == nil {
		dst = append(dst, envelopeNull...)
	} else {
		dst = append(dst, ts...)
	}
	return append(dst, '}')
}
