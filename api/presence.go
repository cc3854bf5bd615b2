package api

import (
	"strconv"

	"github.com/gobwas/ws"

	"gorelay/engine"
)

const (
	// defaultCloseCode says that all is well (RFC 6455 section 7.4.1).
	defaultCloseCode = 1000

	// maxReason is the room for a reason in a close frame, in bytes: 125 for a
	// control frame's payload (RFC 6455 section 5.5), less two for the code.
	maxReason = 123
)

// online answers how many connections are open under the token of the query.
func (s *Server) online(j *job) *refusal {
	token, refused := readTokenQuery(j.query)
	if refused != nil {
		return refused
	}
	if token == "" {
		return badField("token is missing: name it in the query, as ?token=USER_123")
	}
	j.answer = append(j.answer, answerHead...)
	j.answer = s.appendOnline(j.answer, token)
	j.answer = append(j.answer, answerEnd...)
	return nil
}

var onlineFields = [...]string{"tokens"}

// onlineMany answers the same for a list of tokens, in its order.
func (s *Server) onlineMany(j *job) *refusal {
	if refused := s.readBody(j); refused != nil {
		return refused
	}
	var values [len(onlineFields)][]byte
	if refused := readBodyObject(j.body, maxDepth, onlineFields[:], values[:]); refused != nil {
		return refused
	}
	if values[0] == nil {
		return badField("tokens is missing: it must be an array")
	}
	users, refused := readTokens(values[0])
	if refused != nil {
		return refused
	}
	j.answer = append(j.answer, answerHead+`{"connections":[`...)
	for i, user := range users {
		if i > 0 {
			j.answer = append(j.answer, ',')
		}
		j.answer = s.appendOnline(j.answer, user)
	}
	j.answer = append(j.answer, `]}`+answerEnd...)
	return nil
}

func (s *Server) appendOnline(dst []byte, user string) []byte {
	dst = append(dst, `{"token":`...)
	dst = appendQuoted(dst, user)
	dst = append(dst, `,"connections":`...)
	dst = strconv.AppendInt(dst, int64(s.pusher.Online(user)), 10)
	return append(dst, '}')
}

// farewell is a request to close the connections of a user.
type farewell struct {
	user   string
	code   uint16
	reason string
}

var farewellFields = [...]string{"token", "code", "reason"}

const (
	fieldFarewellToken = iota
	fieldFarewellCode
	fieldFarewellReason
)

// disconnect closes all connections of a user and answers how many.
func (s *Server) disconnect(j *job) *refusal {
	if refused := s.readBody(j); refused != nil {
		return refused
	}
	f, refused := readFarewell(j.body)
	if refused != nil {
		return refused
	}
	n := s.pusher.Disconnect(f.user, f.code, f.reason)
	j.answer = append(j.answer, answerHead+`{"disconnected":`...)
	j.answer = strconv.AppendInt(j.answer, int64(n), 10)
	j.answer = append(j.answer, '}')
	j.answer = append(j.answer, answerEnd...)
	return nil
}

// readFarewell reads and judges the body of a disconnect.
func readFarewell(body []byte) (farewell, *refusal) {
	var values [len(farewellFields)][]byte
	if refused := readBodyObject(body, maxDepth, farewellFields[:], values[:]); refused != nil {
		return farewell{}, refused
	}
	f := farewell{code: defaultCloseCode}
	var err error
	if f.user, err = userID(values[fieldFarewellToken]); err != nil || f.user == "" {
		return f, badField("token is missing or names nobody: it must be a string, a number, or an object with id or user_id")
	}
	if raw := values[fieldFarewellCode]; isGiven(raw) {
		code, refused := readInteger("code", raw)
		if refused != nil {
			return f, refused
		}
		if code != int64(uint16(code)) || !engine.ValidCloseCode(ws.StatusCode(code)) {
			return f, badField("code must be 1000 to 1003, 1007 to 1014, or 3000 to 4999")
		}
		f.code = uint16(code)
	}
	if raw := values[fieldFarewellReason]; isGiven(raw) {
		if raw[0] != '"' {
			return f, badField("reason must be a string")
		}
		if f.reason, err = unquote(raw); err != nil || len(f.reason) > maxReason {
			return f, badField("reason must have at most " + strconv.Itoa(maxReason) + " bytes of UTF-8")
		}
	}
	return f, nil
}
