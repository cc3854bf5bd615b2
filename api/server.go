package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gorelay/engine"

	"github.com/valyala/fasthttp"
)

// ErrClosed is the error of Serve after Shutdown.
var ErrClosed = errors.New("api: server closed")

// healthPath is where a load balancer asks.
const healthPath = "/health"

// Pusher is where a Server delivers. *engine.Engine is one.
type Pusher interface {
	// Send queues f for the connections that are open under token now.
	Send(token string, f engine.Frame) (matched int, err error)
	// Broadcast queues f for all open connections.
	Broadcast(f engine.Frame) (matched int, err error)
	// Schedule queues f at due, for whoever is open under token then, ""
	// being everyone. stamp is the place in the payload of the 13 digits of
	// the time.
	Schedule(due time.Time, token string, f engine.Frame, stamp int) error
}

// Server is the HTTP side of the relay: pushes, health, and errors for all
// else. Its methods are safe for concurrent use.
type Server struct {
	opts    Options
	key     apiKey
	pusher  Pusher
	adopter Adopter // nil if the pusher is none: a handshake is then not found
	http    *fasthttp.Server
	jobs    sync.Pool // of *job

	stopping atomic.Bool
	accepted atomic.Uint64
	refused  atomic.Uint64
	panics   atomic.Uint64

	mu        sync.Mutex
	listeners []*listener
}

// job is the memory that a push needs while it is handled.
type job struct {
	body   []byte
	answer []byte
}

// Stats are counts since the start of a Server.
type Stats struct {
	Accepted uint64 // pushes answered with 200
	Refused  uint64 // requests answered with an error status, panics apart
	Panics   uint64 // requests answered with 500 because a handler panicked
}

// NewServer returns a server that delivers to p. It does not listen yet.
func NewServer(o Options, p Pusher) *Server {
	s := &Server{opts: o, key: newAPIKey(o.APIKey), pusher: p}
	s.adopter, _ = p.(Adopter)
	s.jobs.New = func() any { return &job{body: make([]byte, 0, firstBody)} }
	s.http = &fasthttp.Server{
		Handler:        s.handle,
		HeaderReceived: s.handleHead,
		ErrorHandler:   s.handleBroken,
		Logger:         quietLogger{o.Logger},

		ReadTimeout:        o.ReadTimeout,
		WriteTimeout:       o.WriteTimeout,
		IdleTimeout:        o.IdleTimeout,
		ReadBufferSize:     maxHeadBytes,
		MaxRequestBodySize: o.MaxPushBytes,
		StreamRequestBody:  true,

		// A form must not be unpacked into temporary files.
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,

		// The goroutine that clears idle workers outlives the server by up to
		// this long; the default is ten seconds.
		MaxIdleWorkerDuration: time.Second,

		// The clock is read once a request, when the push is ready to go.
		LazyRequestTime: true,
	}
	return s
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	return Stats{Accepted: s.accepted.Load(), Refused: s.refused.Load(), Panics: s.panics.Load()}
}

// Serve answers the connections of ln until Shutdown, then returns nil. It
// closes ln. After Shutdown it returns ErrClosed.
func (s *Server) Serve(ln net.Listener) error {
	l := newListener(ln, s.opts.MaxConns)
	s.mu.Lock()
	if s.stopping.Load() {
		s.mu.Unlock()
		l.Close()
		return ErrClosed
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()

	err := s.http.Serve(l)
	l.Close()
	return err
}

// Shutdown refuses pushes from now on with 503, lets the requests under way
// finish, closes idle connections, and returns when none is open. If ctx ends
// first it closes the rest and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	listeners := s.listeners
	s.mu.Unlock()

	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
		l.hurry(time.Now().Add(stopGrace))
	}
	if err := s.http.ShutdownWithContext(ctx); err != nil && ctx.Err() != nil {
		for _, l := range listeners {
			l.closeConns()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// handleHead sees the head of a request before any of its body is read.
func (s *Server) handleHead(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	switch {
	case h.ContentLength() > s.opts.MaxPushBytes:
		withhold(h)
	case len(h.Peek(fasthttp.HeaderExpect)) > 0:
		path, query := splitTarget(h.RequestURI())
		if string(path) != s.opts.PushPath || s.admit(h, query) != nil {
			withhold(h)
		}
	}
	return fasthttp.RequestConfig{}
}

// handle answers one request. The path is compared as it was sent.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.recoverPanic(ctx)
	path, query := splitTarget(ctx.Request.Header.RequestURI())
	switch string(path) {
	case s.opts.WSPath:
		if s.adopter == nil {
			s.refuse(ctx, refusedPath)
			return
		}
		s.upgrade(ctx)
	case s.opts.PushPath:
		r := s.admit(&ctx.Request.Header, query)
		if r == nil {
			admitted(ctx)
			r = s.push(ctx)
		}
		if r != nil {
			s.refuse(ctx, r)
		}
	case healthPath:
		if !ctx.IsGet() && !ctx.IsHead() {
			s.refuse(ctx, refusedMethod("GET, HEAD"))
			return
		}
		ctx.SetContentType(contentType)
		ctx.SetBodyString(healthBody)
	default:
		s.refuse(ctx, refusedPath)
	}
}

// admit judges a request to the push path by its head.
func (s *Server) admit(h *fasthttp.RequestHeader, query []byte) *refusal {
	switch {
	case !h.IsPost():
		return refusedMethod("POST")
	case !s.key.admits(h, query):
		return refusedKey
	case s.stopping.Load():
		return refusedStopping
	}
	return nil
}

// admitted marks the connection of a publisher that has shown the key.
func admitted(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok && !c.known.Load() {
		c.known.Store(true)
	}
}

// push reads, delivers and answers an admitted push. What it returns is not
// answered yet.
func (s *Server) push(ctx *fasthttp.RequestCtx) *refusal {
	j := s.jobs.Get().(*job)
	defer s.putJob(j)
	var r *refusal
	if j.body, r = readBody(&ctx.Request, ctx.RequestBodyStream(), j.body, s.opts.MaxPushBytes); r != nil {
		return r
	}
	p, r := readPush(j.body, s.opts.MaxDelay)
	if r != nil {
		return r
	}
	matched, err := s.deliver(&p, ctx.Time())
	if err != nil {
		return s.undelivered(err)
	}
	s.accepted.Add(1)
	j.answer = appendAccepted(j.answer[:0], &p, matched)
	answerJSON(ctx, fasthttp.StatusOK, j.answer)
	return nil
}

// deliver hands the push to the pusher, now or for later.
func (s *Server) deliver(p *push, now time.Time) (matched int, err error) {
	if p.delay > 0 {
		due := now.Add(time.Duration(p.delay) * time.Second)
		frame, stamp := encode(p, due.UnixMilli())
		return unmatched, s.pusher.Schedule(due, p.user, frame, stamp)
	}
	frame, _ := encode(p, now.UnixMilli())
	if p.user == "" {
		return s.pusher.Broadcast(frame)
	}
	return s.pusher.Send(p.user, frame)
}

func (s *Server) putJob(j *job) {
	if cap(j.body) > keptBody || cap(j.answer) > keptBody {
		return
	}
	s.jobs.Put(j)
}

// undelivered is the answer to a push that the pusher returned err for. An
// error that nobody expects is logged.
func (s *Server) undelivered(err error) *refusal {
	r := refusalOf(err)
	if r == refusedInternal {
		s.opts.Logger.Error("push failed", "err", err)
	}
	return r
}

// refuse answers with r.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, r *refusal) {
	s.refused.Add(1)
	refuse(ctx, r)
	if leavesUnread(ctx) {
		closeLingering(ctx)
	}
	if s.stopping.Load() {
		ctx.SetConnectionClose()
	}
}

// handleBroken answers what is not a whole HTTP request. fasthttp closes the
// connection behind it.
func (s *Server) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	s.refused.Add(1)
	refuse(ctx, refusalOfRead(err))
	closeLingering(ctx)
}

// recoverPanic, deferred, turns a panic into a 500. The value of the panic may
// hold a piece of a request, so only the runtime's own errors are logged.
func (s *Server) recoverPanic(ctx *fasthttp.RequestCtx) {
	value := recover()
	if value == nil {
		return
	}
	s.panics.Add(1)
	cause := "panic"
	if err, ok := value.(runtime.Error); ok {
		cause = err.Error()
	}
	s.opts.Logger.Error("request handler panicked", "cause", cause, "stack", string(debug.Stack()))
	refuse(ctx, refusedInternal)
	closeLingering(ctx)
}

// quietLogger takes fasthttp's log. It keeps the formats and leaves out the
// arguments, which can hold a piece of a request.
type quietLogger struct{ log *slog.Logger }

func (l quietLogger) Printf(format string, _ ...any) {
	l.log.Debug("http server", "event", format)
}
