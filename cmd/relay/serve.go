package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"gorelay/api"
	"gorelay/engine"
	"gorelay/store"
)

// core is what a running relay asks of its engine.
type core interface {
	Addr() net.Addr
	Stats() engine.Stats
	Shutdown(context.Context) error
}

// pushAPI is what a running relay asks of its HTTP server.
type pushAPI interface {
	Stats() api.Stats
	Shutdown(context.Context) error
}

// relay is a running engine with the push API on its port.
type relay struct {
	engine core
	server pushAPI
	store  io.Closer  // nil without data_dir
	served chan error // takes what the push API's Serve returned, once
}

// serve runs the relay until a signal stops it and returns the exit code.
func serve(c Config, m machine, files budget, logger *slog.Logger) int {
	// From here on a signal is an orderly stop, also while the port opens.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	// A reader of the log that goes away must not take the relay with it.
	signal.Ignore(syscall.SIGPIPE)

	logCapacity(c, m, files, logger)
	c = c.Settled(m, files)
	r, err := open(c, files, logger)
	if err != nil {
		logger.Error(openProblem(err, c))
		return exitFailed
	}
	logger.Info("Go Relay server listening on http://" + displayAddr(c.Host, r.engine.Addr()))
	logger.Info("WebSocket path = " + c.WSPath)
	logger.Info("Push API path = " + c.PushPath)

	return r.stop(c.ShutdownTimeout, signals, r.wait(c.ShutdownTimeout, signals, logger), logger)
}

// wait returns when the relay has to stop, with the exit code that it earns.
func (r *relay) wait(limit time.Duration, signals <-chan os.Signal, logger *slog.Logger) int {
	var lost losses
	minute := time.NewTicker(lossPeriod)
	defer minute.Stop()
	for {
		select {
		case <-minute.C:
			lost.log(r.engine.Stats(), logger)
		case s := <-signals:
			logger.Info("stopping", "signal", s.String(), "within", limit.String())
			return exitOK
		case err := <-r.served:
			logger.Error("the push API ended by itself", "err", err)
			r.served <- err // stop looks at it too
			return exitFailed
		}
	}
}

// stopSignals are the signals that end the relay well. SIGHUP is one of them:
// it says that the terminal closed. Under nohup it is ignored, and stays so.
func stopSignals() []os.Signal {
	s := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		s = append(s, syscall.SIGHUP)
	}
	return s
}

// open takes up the stored pushes, binds the port and starts everything behind
// it. c is settled.
func open(c Config, files budget, logger *slog.Logger) (*relay, error) {
	o := apiOptions(c, logger)
	o.MaxConns = files.http
	eo := engineOptions(c, files, logger)
	eo.HTTPBusy, eo.HTTPStopping = api.BusyAnswer(), api.StoppingAnswer()
	st, err := openStore(c, logger)
	if errors.Is(err, store.ErrLocked) {
		// The same relay a second time, most likely: its user knows the port.
		err = cmp.Or(probe(eo.Addr), err)
	}
	if err != nil {
		return nil, err
	}
	r := &relay{served: make(chan error, 1)}
	if st != nil {
		r.store, eo.Vault, o.Secret = st, st, st.Secret()
	}
	e, err := engine.Listen(eo, api.NewClients(o))
	if err != nil {
		return nil, errors.Join(err, r.closeStore())
	}
	server := api.NewServer(o, e)
	r.engine, r.server = e, server
	if st != nil {
		restore := func(receipt []byte) error {
			server.RestoreReceipt(receipt)
			return nil
		}
		if err := st.Receipts(restore); err != nil {
			return nil, errors.Join(storageError{err}, r.closeStore())
		}
	}
	if err := e.Start(); err != nil {
		return nil, errors.Join(err, r.closeStore())
	}
	// Ends when drain calls the server's Shutdown; drain waits for it.
	go func() {
		err := server.Serve(e.HTTP())
		if errors.Is(err, api.ErrClosed) { // a signal came before it began
			err = nil
		}
		r.served <- err
	}()
	return r, nil
}

// probe returns the error of opening a port, and leaves it closed.
func probe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// sameSignal is how long a repeated signal is still the first one. GNU timeout
// sends SIGTERM to the process and to its group, and a shell and a supervisor
// may both pass on one Ctrl-C: that is nobody who has lost patience.
const sameSignal = time.Second

// stop drains the relay and returns the exit code: code, unless a second
// signal asks to leave at once. It takes no longer than limit.
func (r *relay) stop(limit time.Duration, signals <-chan os.Signal, code int, logger *slog.Logger) int {
	began := time.Now()
	hard := time.NewTimer(limit)
	defer hard.Stop()
	// The engine gets a little less, so that it can still close by force and
	// count what it dropped.
	ctx, cancel := context.WithTimeout(context.Background(), limit-min(limit/10, 500*time.Millisecond))
	defer cancel()
	drained := make(chan error, 1)
	// Ends with ctx; if it does not, the process exits without it.
	go func() { drained <- r.drain(ctx, limit/2) }()
	for {
		select {
		case err := <-drained:
			if err != nil {
				logger.Warn("stopped by force: not everything could be sent in time", "err", err)
			}
			r.logSummary(logger)
			return code
		case <-hard.C:
			logger.Warn("stopped by force: the time is over")
			r.logSummary(logger)
			return code
		case s := <-signals:
			if s == syscall.SIGHUP || time.Since(began) < sameSignal {
				continue // a closing terminal sends several, others two at once
			}
			logger.Warn("stopped at once by a second signal", "signal", s.String())
			return exitFailed
		}
	}
}

// drain lets pushes under way finish, which takes at most forPushes, then
// sends what was accepted and closes every client.
func (r *relay) drain(ctx context.Context, forPushes time.Duration) error {
	pushes, cancel := context.WithTimeout(ctx, forPushes)
	defer cancel()
	err := r.server.Shutdown(pushes)
	err = errors.Join(err, r.engine.Shutdown(ctx), r.closeStore())
	select {
	case served := <-r.served:
		return errors.Join(err, served)
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// closeStore makes the disk know what was sent.
func (r *relay) closeStore() error {
	if r.store == nil {
		return nil
	}
	return r.store.Close()
}

// logSummary is the last line of a run: what came of everything. A count that
// is not there is zero.
func (r *relay) logSummary(logger *slog.Logger) {
	pushes := r.server.Stats()
	attrs := append([]slog.Attr{
		slog.Uint64("pushes", pushes.Accepted),
		slog.Uint64("refused", pushes.Refused),
		slog.Uint64("replayed", pushes.Replayed),
		slog.Uint64("lost_receipts", pushes.LostReceipts),
		slog.Uint64("push_panics", pushes.Panics),
	}, r.engine.Stats().Attrs()...)
	logger.LogAttrs(context.Background(), slog.LevelInfo, "stopped", slices.DeleteFunc(attrs, isZero)...)
}

func isZero(a slog.Attr) bool {
	switch v := a.Value; v.Kind() {
	case slog.KindInt64:
		return v.Int64() == 0
	case slog.KindUint64:
		return v.Uint64() == 0
	case slog.KindAny:
		counts, ok := v.Any().(map[string]int64)
		return ok && len(counts) == 0
	}
	return false
}

// logCapacity says what the open-file limit means for this relay.
func logCapacity(c Config, m machine, files budget, logger *slog.Logger) {
	logger.Info(fmt.Sprintf("the open-file limit of %d serves %d connections; %d files are kept for pushes, handshakes and the relay itself",
		m.files, files.connections, files.reserve))
	if c.MaxConnections > files.connections {
		logger.Warn(fmt.Sprintf("max_connections is %d, which the open-file limit does not serve: %d is used; %s",
			c.MaxConnections, files.connections, raiseHint(c.MaxConnections+files.reserve)))
	}
}

// engineOptions translates a settled Config for the engine.
func engineOptions(c Config, files budget, logger *slog.Logger) engine.Options {
	o := engine.DefaultOptions()
	o.Addr = net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	o.Loops = c.Loops
	o.Shards = c.Shards
	o.MaxConns = c.MaxConnections
	o.MaxHandshakes = c.MaxHandshakes
	o.MaxHTTPConns = files.http
	o.MaxMessageBytes = c.MaxMessageBytes
	o.MaxMessageRate = c.MaxMessageRate
	o.MaxPendingBytes = c.MaxPendingBytes
	o.MaxTotalPendingBytes = c.MaxTotalPendingBytes
	o.HandshakeTimeout = c.HandshakeTimeout
	o.WriteTimeout = c.WriteTimeout
	o.PingInterval = c.PingInterval
	o.PongTimeout = c.PongTimeout
	o.MaxDelayed = c.MaxDelayed
	o.MissedRate = c.MissedRate
	o.MissedGrace = c.MissedGrace
	if c.OnMissed == missedDrop {
		o.OnMissed = engine.MissedDrop
	}
	o.Logger = logger
	return o
}

// apiOptions translates a Config for the push API and the client protocol.
func apiOptions(c Config, logger *slog.Logger) api.Options {
	o := api.DefaultOptions()
	o.WSPath = wirePath(c.WSPath)
	o.PushPath = wirePath(c.PushPath)
	o.APIKey = c.APIKey
	o.MaxPushBytes = c.MaxPushBytes
	o.MaxDelay = c.MaxDelay
	o.AllowedOrigins = c.AllowedOrigins
	o.RequireExplicitBroadcast = c.RequireExplicitBroadcast
	o.Window = c.IdempotencyWindow
	o.MaxIdempotencyBytes = int64(c.MaxIdempotencyBytes)
	o.Logger = logger
	return o
}

// wirePath is the path as a browser sends it: what is not ASCII is
// percent-encoded (RFC 3986 section 2.5), all else stays as it is written.
func wirePath(p string) string {
	var b strings.Builder
	for i := range len(p) {
		if p[i] < utf8.RuneSelf {
			b.WriteByte(p[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", p[i])
		}
	}
	return b.String()
}

// openProblem turns an error of open into a line that says what to do.
func openProblem(err error, c Config) string {
	switch storage := (storageError{}); {
	case errors.As(err, &storage):
		return storageProblem(storage, c)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("port %d is taken: another program, perhaps another relay, listens there; stop it, or choose another port (\"port\" in the config file, or PORT)", c.Port)
	case errors.Is(err, syscall.EACCES) && c.Port < 1024:
		return fmt.Sprintf("port %d may not be opened: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; choose another port or a proxy in front", c.Port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("host %q is no address of this machine", c.Host)
	}
	if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) {
		return fmt.Sprintf("host %q cannot be looked up: %s; choose an address of this machine (\"host\" in the config file, or RELAY_HOST), or leave it empty for all", c.Host, unknown.Err)
	}
	return fmt.Sprintf("cannot listen on port %d: %v", c.Port, err)
}

// displayAddr is the host and port that reach the relay from this machine.
func displayAddr(host string, bound net.Addr) string {
	name := "localhost"
	if a, err := netip.ParseAddr(host); host != "" && (err != nil || !a.IsUnspecified() && !a.IsLoopback()) {
		name = host
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return name
	}
	return net.JoinHostPort(name, port)
}
