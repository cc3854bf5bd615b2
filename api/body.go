package api

import (
	"errors"
	"io"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"
)

// How a body gets in. fasthttp reads a body before it calls the handler, into
// a buffer as large as the request claims: a key-less peer with a hundred bytes
// of headers makes it allocate the whole limit, and the connection keeps it.
// So the server streams: fasthttp reads at most 8 KiB ahead, the handler judges
// path, method and key, and only then does the rest come in, into a buffer that
// grows with what has arrived. For a small push that is one copy of the body
// out of the 8 KiB: no difference that a benchmark can tell from noise.
//
// What is refused by its head alone must not wait for those 8 KiB, nor be told
// to go on by a 100 Continue: its body is withheld from fasthttp.

const (
	// firstBody is the first size of a body buffer: fasthttp's read-ahead, so
	// a body that fits arrives in one read.
	firstBody = 8 << 10

	// keptBody is the largest buffer that is kept for another request. The
	// rare larger one goes back to the collector.
	keptBody = 64 << 10

	// withheld marks a request whose body withhold has hidden. A client that
	// sends the header itself gets the refusal it asks for.
	withheld = "Relay-Body-Withheld"

	// drainLimit is the unread body up to which fasthttp keeps a connection:
	// it reads that much away behind the answer (maxUnreadStreamBodySize).
	drainLimit = 256 << 10
)

// withhold makes fasthttp call the handler at once, as if the request had no
// body, and close the connection behind the answer.
func withhold(h *fasthttp.RequestHeader) {
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	h.SetConnectionClose()
	h.Set(withheld, "1")
}

func isWithheld(h *fasthttp.RequestHeader) bool {
	return h.ConnectionClose() && len(h.Peek(withheld)) > 0
}

// leavesUnread reports whether an answer now would leave more of the body in
// the connection than fasthttp reads away.
func leavesUnread(ctx *fasthttp.RequestCtx) bool {
	length := ctx.Request.Header.ContentLength()
	return isWithheld(&ctx.Request.Header) ||
		ctx.RequestBodyStream() != nil && (length < 0 || length > drainLimit)
}

// readBody reads the body of the request to its end into buf, which it may
// replace by a larger one, and returns it.
func readBody(req *fasthttp.Request, stream io.Reader, buf []byte, limit int) ([]byte, *refusal) {
	buf = buf[:0]
	declared := req.Header.ContentLength() // negative for a chunked body
	if declared > limit || isWithheld(&req.Header) {
		return buf, tooLarge(limit)
	}
	if stream == nil { // no body was announced
		return buf, nil
	}
	for {
		if len(buf) == cap(buf) {
			buf = grow(buf, declared)
		}
		n, err := stream.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return buf, tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return buf, refusalOfRead(err)
		}
	}
	if declared >= 0 && len(buf) < declared {
		return buf, refusedBodyLength // the peer closed its side
	}
	return buf, nil
}

// grow returns buf with more room: twice as much, but not more than declared.
func grow(buf []byte, declared int) []byte {
	size := max(firstBody, 2*cap(buf))
	if declared > cap(buf) {
		size = min(size, max(firstBody, declared))
	}
	bigger := make([]byte, len(buf), size)
	copy(bigger, buf)
	return bigger
}

// tooLarge refuses a body of more than limit bytes.
func tooLarge(limit int) *refusal {
	return &refusal{
		status: fasthttp.StatusRequestEntityTooLarge,
		msg:    "body too large: the limit is " + strconv.Itoa(limit) + " bytes",
	}
}

// refusalOfRead turns an error of reading a request into an answer.
func refusalOfRead(err error) *refusal {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		return refusedHead
	case errors.As(err, &network) && network.Timeout():
		return refusedSlow
	}
	return refusedRequest
}
