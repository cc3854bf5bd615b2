package api

import (
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"
)

const (
	contentType = "application/json"
	healthBody  = `{"status":"ok"}`

	// keptAnswer is the largest answer that fasthttp may copy into the buffer
	// that it keeps for a connection. An answer holds the token as it was sent,
	// which can be nearly as long as a body.
	keptAnswer = 4 << 10

	// The parts of an answer of success around its data.
	answerHead = `{"code":0,"msg":"ok","data":`
	answerEnd  = `}`

	// unmatched is the count of a push that is resolved later.
	unmatched = -1
)

// appendAccepted appends the answer to an accepted push. matched is how many
// connections it goes to, if it does not wait.
func appendAccepted(dst []byte, p *push, matched int) []byte {
	dst = append(dst, answerHead+`{"event_name":`...)
	dst = append(dst, p.event...)
	dst = append(dst, `,"delay_seconds":`...)
	dst = strconv.AppendInt(dst, p.delay, 10)
	dst = append(dst, `,"target_user_id":`...)
	dst = appendQuoted(dst, p.user)
	dst = append(dst, `,"broadcast":`...)
	dst = strconv.AppendBool(dst, p.forEveryone())
	dst = append(dst, `,"parsed_user_raw":`...)
	if p.token == nil {
		dst = append(dst, envelopeNull...)
	} else {
		dst = append(dst, p.token...)
	}
	dst = append(dst, `,"id":"`...)
	dst = append(dst, p.idText...)
	dst = append(dst, '"')
	dst = appendFate(dst, p.due, matched)
	if p.tokens != nil {
		dst = append(dst, `,"targets":`...)
		dst = strconv.AppendInt(dst, int64(len(p.tokens)), 10)
	}
	return append(dst, `}`+answerEnd...)
}

// appendFate appends when a push goes out, if it waits, else how many
// connections it goes to.
func appendFate(dst []byte, due int64, matched int) []byte {
	if due != noTime {
		dst = append(dst, `,"deliver_at":`...)
		return strconv.AppendInt(dst, due, 10)
	}
	dst = append(dst, `,"matched":`...)
	return strconv.AppendInt(dst, int64(matched), 10)
}

// answerJSON sets the answer to body, which may be changed afterwards.
func answerJSON(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(contentType)
	if len(body) > keptAnswer {
		ctx.Response.SetBodyRaw(append([]byte(nil), body...))
		return
	}
	ctx.Response.SetBody(body)
}

// refuse sets the answer to r.
func refuse(ctx *fasthttp.RequestCtx, r *refusal) {
	if r.allow != "" {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, r.allow)
	}
	if r.retry {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	}
	answerJSON(ctx, r.status, refusalBody(r.msg))
}

// refusalBody is the body of every refusal.
func refusalBody(msg string) []byte {
	return appendRefusal(nil, msg)
}

func appendRefusal(dst []byte, msg string) []byte {
	dst = append(dst, `{"code":-1,"msg":`...)
	return append(appendQuoted(dst, msg), '}')
}

// closeLingering ends the connection behind the answer, in a way that lets the
// answer arrive while the peer is still sending.
func closeLingering(ctx *fasthttp.RequestCtx) {
	ctx.SetConnectionClose()
	if c, ok := ctx.Conn().(*conn); ok {
		c.linger.Store(true)
	}
}

// BusyAnswer is the whole HTTP answer to a client that cannot be served now,
// for those who refuse connections before a Server sees them.
func BusyAnswer() []byte {
	return wholeAnswer(&refusal{status: fasthttp.StatusServiceUnavailable, msg: "relay is busy: try again later", retry: true})
}

// StoppingAnswer is the same for those who come while the relay stops.
func StoppingAnswer() []byte { return wholeAnswer(refusedStopping) }

// wholeAnswer is r as a whole HTTP answer, behind which the connection ends.
func wholeAnswer(r *refusal) []byte {
	body := refusalBody(r.msg)
	retry := ""
	if r.retry {
		retry = "Retry-After: " + retryAfter + "\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
		r.status, fasthttp.StatusMessage(r.status), contentType, len(body), retry, body)
}
