package api

import (
	"bufio"
	"bytes"
	"net"
	"time"

	"gorelay/engine"

	"github.com/valyala/fasthttp"
)

// A push that goes out at once needs no goroutine: it never waits. Where the
// listener can, it has such pushes answered in place, where their bytes come
// in (engine.Answer), and fasthttp's server gets only connections on which
// something else comes: a delayed push, any other request, a body that is large
// or chunked, an error of any kind. It then reads the same bytes from the
// beginning. So whatever is refused is refused there, and in one way.

// inPlacer is a listener that has requests answered in place. engine.HTTP's is
// one.
type inPlacer interface {
	// AnswerWith lets answer see all that comes first. Connections that have
	// been silent for longer than idle are closed.
	AnswerWith(answer engine.Answer, idle time.Duration)
	// Open is how many connections there are, those that the listener has not
	// yielded too.
	Open() int
	// Known reports whether requests of a connection were answered in place
	// before the listener yielded it.
	Known(c net.Conn) bool
	// Reserve prepares a connection that the listener has yielded for Return.
	Reserve(c net.Conn) error
	// Return takes the connection back, with what was read of the next
	// requests. c is closed.
	Return(c net.Conn, read []byte)
}

// returnAfter is how many pushes in a row that could have been answered in
// place bring a connection back there. To hand it over and back is several
// system calls and a goroutine.
const returnAfter = 16

// maxInPlace bounds a request, head and body, that is answered in place: a loop
// has others to serve.
const maxInPlace = 16 << 10

var (
	endOfHead = []byte("\r\n\r\n")

	// failedAnswer is the whole answer to a request whose handling panicked.
	failedAnswer = wholeAnswer(refusedInternal)
)

// inPlace is the memory for answering a request in place.
type inPlace struct {
	head   bytes.Reader
	reader *bufio.Reader // of head
	header fasthttp.RequestHeader
	uri    fasthttp.URI
	reply  fasthttp.ResponseHeader
	known  knownHead
	texts
}

func newInPlace() *inPlace {
	m := new(inPlace)
	m.reader = bufio.NewReaderSize(&m.head, maxHeadBytes)
	m.reply.SetContentType(contentType)
	return m
}

// answerInPlace is an engine.Answer: it answers pushes that go out at once.
func (s *Server) answerInPlace(read, dst []byte) (n int, out []byte, v engine.Verdict) {
	defer func() {
		if s.recovered(recover()) {
			n, out, v = 0, append(dst, failedAnswer...), engine.Last
		}
	}()
	if line := s.pushLine[:min(len(read), len(s.pushLine))]; !bytes.HasPrefix(read, line) {
		return 0, dst, engine.Foreign
	}
	m := s.inPlace.Get().(*inPlace)
	defer s.inPlace.Put(m)
	head, length, ok := m.known.match(read)
	if !ok {
		if head, length, v = s.readPushHead(m, read); v != engine.Answered {
			return 0, dst, v
		}
		m.known.missed(read[:head])
	}
	n = head + length
	if n > maxInPlace || length > s.opts.MaxPushBytes || s.stopping.Load() { // a known head is let in no more
		return 0, dst, engine.Foreign
	}
	if len(read) < n {
		return 0, dst, engine.Partial
	}
	if !s.pushInPlace(m, read[head:n]) {
		return 0, dst, engine.Foreign
	}
	m.reply.SetContentLength(len(m.answer))
	return n, append(append(dst, m.reply.Header()...), m.answer...), engine.Answered
}

// readPushHead reads the head of a push, and returns its length and that of the
// body behind it. The verdict is Answered if it may be answered in place and is
// let in.
func (s *Server) readPushHead(m *inPlace, read []byte) (n, length int, v engine.Verdict) {
	end := bytes.Index(read, endOfHead)
	if end < 0 {
		if len(read) < maxHeadBytes {
			return 0, 0, engine.Partial
		}
		return 0, 0, engine.Foreign
	}
	n = end + len(endOfHead)
	defer m.head.Reset(nil)
	if !m.readHead(read[:n]) {
		return 0, 0, engine.Foreign
	}
	path, query := splitTarget(m.header.RequestURI())
	// A POST to the push path is a push, whatever its query is called.
	if r, _ := s.routeOf(path, query); r == nil || r.below != "" || s.admit(r, &m.header, query) != nil {
		return 0, 0, engine.Foreign
	}
	return n, m.header.ContentLength(), engine.Answered
}

// readHead reads the head of a request. It reports false unless it is one of
// the common kind, of which nothing but its body follows.
func (m *inPlace) readHead(head []byte) bool {
	if len(head) > maxHeadBytes {
		return false
	}
	m.head.Reset(head)
	m.reader.Reset(&m.head)
	m.header.Reset()
	h := &m.header
	return h.Read(m.reader) == nil && m.reader.Buffered() == 0 && m.head.Len() == 0 &&
		isCommon(h) && m.uri.Parse(h.Host(), h.RequestURI()) == nil // as fasthttp's server does
}

// isCommon reports whether a request may be answered in place, as far as its
// head tells.
func isCommon(h *fasthttp.RequestHeader) bool {
	return h.IsHTTP11() && !h.ConnectionClose() && h.ContentLength() >= 0 &&
		len(h.PeekAll(fasthttp.HeaderExpect)) == 0 && len(h.PeekAll(idempotencyHeader)) == 0
}

// pushInPlace delivers the push of a body and leaves the body of its answer in
// m.answer. It reports false if nothing was delivered.
func (s *Server) pushInPlace(m *inPlace, body []byte) bool {
	p, refused := readPush(body, s.opts.MaxDelay)
	if refused != nil {
		return false
	}
	now := engine.Now()
	if p.settle(now, &s.opts) != nil || p.due != noTime {
		return false
	}
	return s.accept(&m.texts, &p, now, nil) == nil
}

// returns counts what fasthttp's server has done on a connection, and lets the
// listener have it back behind the answer once that serves better. plain says
// that the request was a push that might have been answered in place, but for
// what its head tells.
func (s *Server) returns(ctx *fasthttp.RequestCtx, plain bool) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		return
	}
	if !plain || !isCommon(&ctx.Request.Header) {
		c.plain = 0
		return
	}
	loops := c.from.loops
	if c.plain++; loops == nil || c.plain < returnAfter || loops.Reserve(c.Conn) != nil {
		return
	}
	ctx.Hijack(func(hijacked net.Conn) {
		if c := unwrap(hijacked); c != nil {
			loops.Return(c.Conn, buffered(hijacked))
		}
	})
}
