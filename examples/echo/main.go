// Echo is a WebSocket server on the relay's engine that sends every message
// back as it came. Protocol conformance suites run against it; it is also the
// smallest complete use of the engine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"gorelay/engine"
)

const (
	// stopTimeout bounds a graceful stop.
	stopTimeout = 10 * time.Second

	// pendingMessages is how many messages of the largest size may wait for a
	// peer that writes first and reads later, as conformance suites do.
	pendingMessages = 4

	// headTimeout bounds the head of a request that is no handshake. Such a
	// request has only a 404 to wait for.
	headTimeout = 5 * time.Second

	// headBytes bounds that head, as the engine bounds a handshake's.
	headBytes = 8 << 10
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "`host:port` to listen on; port 0 picks a free one")
	path := flag.String("path", "/", "`path` of the WebSocket")
	maxMessage := flag.Int("max-message", 32<<20, "largest message in `bytes`")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "echo: unexpected argument %q\n", flag.Arg(0))
		flag.Usage()
		os.Exit(2) // as the flag package does for what it cannot read
	}

	if err := run(*addr, *path, *maxMessage); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until SIGINT or SIGTERM.
func run(addr, path string, maxMessage int) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	eng, err := engine.Listen(echoOptions(addr, maxMessage), echo{path: path})
	if err != nil {
		return err
	}
	if err := eng.Start(); err != nil {
		return err
	}

	// Whatever is no handshake for the path gets a 404. Serve ends when the
	// engine's shutdown closes its listener.
	other := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: headTimeout, MaxHeaderBytes: headBytes}
	served := make(chan error, 1)
	go func() { served <- other.Serve(eng.HTTP()) }()

	fmt.Fprintf(os.Stderr, "echo: listening on ws://%s%s\n", eng.Addr(), path)
	<-ctx.Done()
	cancel() // a second signal ends the program at once

	stop, release := context.WithTimeout(context.Background(), stopTimeout)
	defer release()
	err = errors.Join(eng.Shutdown(stop), other.Shutdown(stop))
	<-served
	return err
}

// echoOptions has room for the largest messages that suites send, and no
// limit or ping of its own that a suite could take for a fault.
func echoOptions(addr string, maxMessage int) engine.Options {
	opts := engine.DefaultOptions()
	opts.Addr = addr
	opts.MaxMessageBytes = maxMessage
	opts.MaxPendingBytes = max(opts.MaxPendingBytes, pendingMessages*maxMessage)
	opts.MaxMessageRate = 0
	opts.PingInterval = 0
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	return opts
}

// echo is the engine's handler.
type echo struct{ path string }

// Claims takes every request for the path, whatever its query.
func (e echo) Claims(target []byte) bool {
	n := len(e.path)
	return len(target) >= n && string(target[:n]) == e.path && (len(target) == n || target[n] == '?')
}

// Open lets everyone in, under no token.
func (e echo) Open(*engine.Request) (string, error) { return "", nil }

// Message sends the message back.
func (e echo) Message(c *engine.Conn, op ws.OpCode, payload []byte) { c.Reply(op, payload) }
