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

// Pusher is where a Server delivers. *engine.Engine is one. Nothing of a push
// is delivered, now or later, when an error is returned.
type Pusher interface {
	Sender
	Scheduler
	Doorkeeper
}

// Sender delivers at once. matched is how many connections a frame was queued
// for.
type Sender interface {
	// NewKey returns a number that names a push, larger than those before and
	// below 1<<52.
	NewKey() uint64
	// Send queues f for the connections that are open under token now.
	Send(token string, f engine.Frame) (matched int, err error)
	// Multicast queues f for the connections that are open under any of the
	// tokens, which are distinct.
	Multicast(tokens []string, f engine.Frame) (matched int, err error)
	// Broadcast queues f for all open connections.
	Broadcast(f engine.Frame) (matched int, err error)
}

// Scheduler delivers later.
type Scheduler interface {
	// Schedule lets the batch wait, all of it or nothing. What it keeps on
	// disk, with the receipt, is safe there when it returns.
	Schedule(batch []engine.Delayed, receipt []byte) error
	// Cancel takes a push back, or returns engine.ErrNotWaiting.
	Cancel(key uint64) error
	// Cancelled reports whether the push was taken back. The error wraps
	// engine.ErrUnstored if that cannot be told now.
	Cancelled(key uint64) (bool, error)
	// Waiting returns a push that waits, without its frame, or
	// engine.ErrNotWaiting.
	Waiting(key uint64) (engine.Delayed, error)
	// ListWaiting returns pushes that wait, without their frames, in the order
	// they are due: those behind the place, for token, "" being all of them. A
	// zero next says that none follow.
	ListWaiting(token string, after engine.Place, limit int) (page []engine.Delayed, next engine.Place, err error)
}

// Doorkeeper knows who is there.
type Doorkeeper interface {
	// Online is how many connections are open under token.
	Online(token string) int
	// Disconnect closes them and returns how many. What was queued for them
	// goes out first.
	Disconnect(token string, code uint16, reason string) int
}

// Server is the HTTP side of the relay: pushes and what there is to ask about
// them, health, and errors for all else. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	began    time.Time
	key      apiKey
	ids      *idMint
	pusher   Pusher
	adopter  Adopter // nil if the pusher is none: a handshake is then not found
	http     *fasthttp.Server
	jobs     sync.Pool // of *job
	inPlace  sync.Pool // of *inPlace
	pushLine []byte    // how the first line of a push begins
	promises *promises

	stopping     atomic.Bool
	accepted     atomic.Uint64
	refused      atomic.Uint64
	replayed     atomic.Uint64
	panics       atomic.Uint64
	lostReceipts atomic.Uint64

	mu        sync.Mutex
	listeners []*listener
}

// job is a request to a route, and the memory that it needs while it is
// handled.
type job struct {
	ctx   *fasthttp.RequestCtx
	query []byte // of the target, undecoded
	id    []byte // the last part of the path, on the route that has one

	body  []byte // see readBody
	plain bool   // see Server.returns
	texts
}

// texts is the memory for what is written about a request that is accepted.
type texts struct {
	ids    []byte // of its pushes
	answer []byte // the body of its answer, whole
}

// Stats are counts since the start of a Server.
type Stats struct {
	Accepted     uint64 // pushes that were accepted, those of batches one by one
	Refused      uint64 // requests answered with an error status, panics apart, and refused pushes of other batches
	Replayed     uint64 // requests answered as the same one before
	Panics       uint64 // requests answered with 500 because a handler panicked
	LostReceipts uint64 // given to RestoreReceipt and not taken up
}

// NewServer returns a server that delivers to p. It does not listen yet.
func NewServer(o Options, p Pusher) *Server {
	s := &Server{
		opts: o, began: time.Now(), key: newAPIKey(o.APIKey), ids: newIDMint(o.Secret),
		pusher: p, promises: newPromises(o.Window, o.MaxIdempotencyBytes),
	}
	s.adopter, _ = p.(Adopter)
	s.jobs.New = func() any { return &job{body: make([]byte, 0, firstBody)} }
	s.inPlace.New, s.pushLine = func() any { return newInPlace() }, []byte("POST "+o.PushPath)
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

		// Nobody asks when a request came: the clock is read when a push is
		// ready to go.
		LazyRequestTime: true,
	}
	return s
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	return Stats{
		Accepted: s.accepted.Load(), Refused: s.refused.Load(), Replayed: s.replayed.Load(),
		Panics: s.panics.Load(), LostReceipts: s.lostReceipts.Load(),
	}
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
	if l.loops != nil {
		l.loops.AnswerWith(s.answerInPlace, s.opts.IdleTimeout)
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

// readBody reads the body of the request into j.body.
func (s *Server) readBody(j *job) (refused *refusal) {
	j.body, refused = readBody(&j.ctx.Request, j.ctx.RequestBodyStream(), j.body, s.opts.MaxPushBytes)
	return refused
}

// putJob keeps the memory of a job for another request.
func (s *Server) putJob(j *job) {
	if cap(j.body) > keptBody || cap(j.answer) > keptBody || cap(j.ids) > keptBody {
		return
	}
	j.ctx, j.query, j.id = nil, nil, nil
	s.jobs.Put(j)
}

// refuse answers with r.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, r *refusal) {
	s.refused.Add(1)
	refuse(ctx, r)
	s.returns(ctx, false)
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

// recoverPanic, deferred, turns a panic into a 500.
func (s *Server) recoverPanic(ctx *fasthttp.RequestCtx) {
	if s.recovered(recover()) {
		refuse(ctx, refusedInternal)
		closeLingering(ctx)
	}
}

// recovered counts and logs a panic, unless value is nil. That may hold a piece
// of a request, so only the runtime's own errors are logged.
func (s *Server) recovered(value any) bool {
	if value == nil {
		return false
	}
	s.panics.Add(1)
	cause := "panic"
	if err, ok := value.(runtime.Error); ok {
		cause = err.Error()
	}
	s.opts.Logger.Error("request handler panicked", "cause", cause, "stack", string(debug.Stack()))
	return true
}

// quietLogger takes fasthttp's log. It keeps the formats and leaves out the
// arguments, which can hold a piece of a request.
type quietLogger struct{ log *slog.Logger }

func (l quietLogger) Printf(format string, _ ...any) {
	l.log.Debug("http server", "event", format)
}
