package test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gorelay/internal/wsclient"
)

// everybody is the token of a broadcast in the account.
const everybody = ""

// message is one push of the order test. Events of the test are numbered by
// one counter, so that "before" and "after" are facts and not times.
type message struct {
	publisher, number int
	token             string // everybody for a broadcast
	began             int64  // event number just before it was sent
}

// event names the message on the wire.
func (m message) event() string { return fmt.Sprintf("%d/%d", m.publisher, m.number) }

// account is what was pushed: written by the publishers, each in its own row.
type account struct {
	clock  atomic.Int64
	pushed [][]message // by publisher, in order

	mu       sync.Mutex
	accepted map[string][]message // by token, those with an answer
}

func (a *account) tick() int64 { return a.clock.Add(1) }

func (a *account) accept(m message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accepted[m.token] = append(a.accepted[m.token], m)
}

// acceptedFor lists what was accepted for a token and sent after an event.
func (a *account) acceptedFor(token string, after int64) []message {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []message
	for _, m := range a.accepted[token] {
		if m.began > after {
			list = append(list, m)
		}
	}
	return list
}

// inbox is what one connection received, in order. Its reader goroutine ends
// with the connection, or with the last "end" message of the publishers.
type inbox struct {
	conn *wsclient.Conn
	done chan struct{} // closed when the reader has ended
	pong chan struct{} // one for each pong

	mu   sync.Mutex
	got  []message // token and began are not filled in
	seen map[string]bool
	err  error
}

// endEvent is the prefix of each publisher's last broadcast.
const endEvent = "end/"

func newInbox(c *wsclient.Conn, publishers int) *inbox {
	in := &inbox{conn: c, done: make(chan struct{}), pong: make(chan struct{}, 1), seen: make(map[string]bool)}
	go in.read(publishers)
	return in
}

func (in *inbox) read(publishers int) {
	defer close(in.done)
	for ends := 0; ends < publishers; {
		_, raw, err := in.conn.ReadMessage()
		if err != nil {
			in.fail(err)
			return
		}
		switch event, isEvent := eventOf(string(raw)); {
		case !isEvent:
			in.pong <- struct{}{}
		case strings.HasPrefix(event, endEvent):
			ends++
		default:
			in.add(event)
		}
	}
}

// eventOf cuts the event out of an envelope.
func eventOf(raw string) (event string, ok bool) {
	rest, ok := strings.CutPrefix(raw, `{"event":"`)
	if !ok {
		return "", false
	}
	event, _, ok = strings.Cut(rest, `"`)
	return event, ok
}

func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.err = errors.Join(in.err, err)
}

func (in *inbox) add(event string) {
	var m message
	_, err := fmt.Sscanf(event, "%d/%d", &m.publisher, &m.number)
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case err != nil:
		in.err = errors.Join(in.err, fmt.Errorf("event %q: %w", event, err))
	case in.seen[event]:
		in.err = errors.Join(in.err, fmt.Errorf("message %s came twice", event))
	}
	in.seen[event] = true
	in.got = append(in.got, m)
}

// has reports whether all of these have come.
func (in *inbox) has(list []message) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, m := range list {
		if !in.seen[m.event()] {
			return false
		}
	}
	return true
}

// count is the number of messages so far.
func (in *inbox) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.got)
}

// roundTrip waits until the relay has handled what the connection sent.
func (in *inbox) roundTrip() error {
	if err := in.conn.SendText(`{"type":"ping","ts":1}`); err != nil {
		return err
	}
	select {
	case <-in.pong:
		return nil
	case <-in.done:
		return fmt.Errorf("ended before the pong: %w", in.err)
	}
}

// identify moves the connection, and returns when the move counts.
func (in *inbox) identify(token string) error {
	if err := in.conn.SendText(`{"event":"identify","data":{"token":` + quote(token) + `}}`); err != nil {
		return err
	}
	return in.roundTrip()
}

// byPublisher sorts what came; it also checks that each publisher's numbers
// only grow. Call it when the reader has ended.
func (in *inbox) byPublisher(publishers int) ([][]int, error) {
	all := make([][]int, publishers)
	for _, m := range in.got {
		list := all[m.publisher]
		if n := len(list); n > 0 && list[n-1] >= m.number {
			return nil, fmt.Errorf("publisher %d: message %d came after %d", m.publisher, m.number, list[n-1])
		}
		all[m.publisher] = append(list, m.number)
	}
	return all, nil
}

// filter lists the numbers of a publisher's messages that satisfy want.
func filter(list []message, want func(message) bool) []int {
	var numbers []int
	for _, m := range list {
		if want(m) {
			numbers = append(numbers, m.number)
		}
	}
	return numbers
}
