package test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// The size of the order test.
const (
	orderPublishers = 16
	orderTokens     = 6
	stayersAToken   = 2
	wildMovers      = 4 // move at any time
	carefulMovers   = 3 // move when nothing to their token is under way
	comers          = 4 // connect and leave again and again
)

func orderPushes() int {
	if relaytest.Race {
		return 120
	}
	return 300
}

func orderToken(i int) string { return fmt.Sprintf("order-%d", i%orderTokens) }

// orderRun is one run of the order test.
type orderRun struct {
	relay *relaytest.Relay
	account
	stop  chan struct{}             // closed when the publishers are done
	gates [orderTokens]sync.RWMutex // a push to a token holds its gate for reading
}

func (o *orderRun) dial(token string) (*inbox, error) {
	c, err := wsclient.Dialer{Addr: o.relay.Addr}.Dial("/ws?token=" + url.QueryEscape(token))
	if err != nil {
		return nil, err
	}
	in := newInbox(c, orderPublishers)
	if err := in.roundTrip(); err != nil {
		c.Close()
		return nil, err
	}
	return in, nil
}

// publish sends the messages of one publisher, every third to everybody, and
// the end mark.
func (o *orderRun) publish(p int) error {
	pub := &relaytest.Publisher{Addr: o.relay.Addr, Key: relaytest.Key}
	defer pub.Close()
	for n := range orderPushes() {
		m := message{publisher: p, number: n}
		if n%3 != 0 {
			m.token = orderToken(p + n)
		}
		if err := o.publishOne(pub, m, p+n); err != nil {
			return err
		}
	}
	return nil
}

func (o *orderRun) publishOne(pub *relaytest.Publisher, m message, i int) error {
	body := `{"event_name":"` + m.event() + `","subject":null}`
	if m.token != everybody {
		body = `{"event_name":"` + m.event() + `","subject":null,"token":"` + m.token + `"}`
		gate := &o.gates[i%orderTokens]
		gate.RLock()
		defer gate.RUnlock()
	}
	m.began = o.tick()
	o.pushed[m.publisher] = append(o.pushed[m.publisher], m)
	answer, err := pub.Push([]byte(body))
	if err != nil || answer.Status != 200 {
		return fmt.Errorf("push %s: %+v %v", m.event(), answer, err)
	}
	o.accept(m)
	return nil
}

// ends tells every client that this was all.
func (o *orderRun) ends() error {
	pub := &relaytest.Publisher{Addr: o.relay.Addr, Key: relaytest.Key}
	defer pub.Close()
	for p := range orderPublishers {
		answer, err := pub.Push(fmt.Appendf(nil, `{"event_name":"%s%d","subject":null}`, endEvent, p))
		if err != nil || answer.Status != 200 {
			return fmt.Errorf("end: %+v %v", answer, err)
		}
	}
	return nil
}

func (o *orderRun) stopped() bool {
	select {
	case <-o.stop:
		return true
	default:
		return false
	}
}

// stay is one stretch of a connection under one token: what was sent to it
// within is owed to the connection.
type stay struct {
	token    string
	from, to int64 // event numbers: settled, about to move; 0 is never
}

// moveWildly identifies again and again while pushes are under way.
func (o *orderRun) moveWildly(in *inbox, seed int) error {
	for i := seed; !o.stopped(); i++ {
		if err := in.identify(orderToken(i)); err != nil {
			return err
		}
	}
	return nil
}

// moveCarefully stays under a token until all that was accepted for it has
// arrived, with nothing to it under way, and only then moves on. It returns
// its stays; what was sent during one must have come.
func (o *orderRun) moveCarefully(in *inbox, seed int) ([]stay, error) {
	at := seed
	stays := []stay{{token: orderToken(at), from: o.tick()}}
	for !o.stopped() {
		last := &stays[len(stays)-1]
		enough := in.count() + 50 // so that stays mean something
		if err := relaytest.WaitFor(func() bool { return o.stopped() || in.count() >= enough }); err != nil {
			return stays, err
		}
		gate := &o.gates[at%orderTokens]
		gate.Lock()
		owed := o.acceptedFor(last.token, last.from)
		err := relaytest.WaitFor(func() bool { return in.has(owed) })
		if err != nil {
			err = fmt.Errorf("of %d messages to %s some never came: %w", len(owed), last.token, err)
		} else {
			last.to = o.tick()
			at++
			err = in.identify(orderToken(at))
		}
		gate.Unlock()
		if err != nil {
			return stays, err
		}
		stays = append(stays, stay{token: orderToken(at), from: o.tick()})
	}
	return stays, nil
}

// comeAndGo opens connections one after the other and returns their inboxes.
func (o *orderRun) comeAndGo(token string) ([]*inbox, error) {
	var lives []*inbox
	for !o.stopped() {
		in, err := o.dial(token)
		if err != nil {
			return lives, err
		}
		lives = append(lives, in)
		enough := in.count() + 20
		err = relaytest.WaitFor(func() bool { return o.stopped() || in.count() >= enough })
		in.conn.Close()
		<-in.done
		if err != nil {
			return lives, err
		}
	}
	return lives, nil
}

// TestOrderAndOnce keeps an exact account of every message while clients
// join, leave and change their tokens.
func TestOrderAndOnce(t *testing.T) {
	o := &orderRun{
		relay:   relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_pending_bytes": 8 << 20, "max_message_rate": 1_000_000}}),
		account: account{pushed: make([][]message, orderPublishers), accepted: make(map[string][]message)},
		stop:    make(chan struct{}),
	}
	must := func(in *inbox, err error) *inbox {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.conn.Close(); <-in.done })
		return in
	}
	var stayers, wild, careful []*inbox
	for i := range orderTokens * stayersAToken {
		stayers = append(stayers, must(o.dial(orderToken(i))))
	}
	for i := range wildMovers {
		wild = append(wild, must(o.dial(orderToken(i))))
	}
	for i := range carefulMovers {
		careful = append(careful, must(o.dial(orderToken(i))))
	}

	errs := make(chan error, orderPublishers+wildMovers+carefulMovers+comers)
	stays := make([][]stay, carefulMovers)
	lives := make([][]*inbox, comers)
	var clients, publishers sync.WaitGroup
	for i, in := range wild {
		clients.Go(func() { errs <- o.moveWildly(in, i) })
	}
	for i, in := range careful {
		clients.Go(func() {
			var err error
			stays[i], err = o.moveCarefully(in, i)
			errs <- err
		})
	}
	for i := range comers {
		clients.Go(func() {
			var err error
			lives[i], err = o.comeAndGo(orderToken(i))
			errs <- err
		})
	}
	for p := range orderPublishers {
		publishers.Go(func() { errs <- o.publish(p) })
	}
	publishers.Wait()
	close(o.stop)
	clients.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := o.ends(); err != nil {
		t.Fatal(err)
	}
	o.judge(t, stayers, wild, careful, stays, lives)
}

func (o *orderRun) judge(t *testing.T, stayers, wild, careful []*inbox, stays [][]stay, lives [][]*inbox) {
	for i, in := range stayers {
		o.judgeStayer(t, fmt.Sprintf("stayer %d", i), in, orderToken(i))
	}
	for i, in := range wild {
		o.judgeMover(t, fmt.Sprintf("wild mover %d", i), in, nil)
	}
	for i, in := range careful {
		o.judgeMover(t, fmt.Sprintf("careful mover %d", i), in, stays[i])
		if len(stays[i]) < 2 {
			t.Errorf("careful mover %d never moved", i)
		}
	}
	for i, list := range lives {
		if len(list) < 2 {
			t.Errorf("comer %d came only %d times", i, len(list))
		}
		for n, in := range list {
			o.judgeLife(t, fmt.Sprintf("comer %d, life %d", i, n), in, orderToken(i))
		}
	}
}

// finished waits for the reader and returns what came from each publisher.
func (o *orderRun) finished(t *testing.T, name string, in *inbox) [][]int {
	t.Helper()
	<-in.done // its reads have deadlines
	got, err := in.byPublisher(orderPublishers)
	if err := errors.Join(in.err, err); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return got
}

// judgeStayer wants every broadcast and every message of the token, no other.
func (o *orderRun) judgeStayer(t *testing.T, name string, in *inbox, token string) {
	t.Helper()
	got := o.finished(t, name, in)
	for p, list := range o.pushed {
		want := filter(list, func(m message) bool { return m.token == everybody || m.token == token })
		if !slices.Equal(got[p], want) {
			t.Errorf("%s, publisher %d:\n got %v\nwant %v", name, p, got[p], want)
		}
	}
}

// judgeMover wants every broadcast, all that its stays owe it, nothing twice.
func (o *orderRun) judgeMover(t *testing.T, name string, in *inbox, stays []stay) {
	t.Helper()
	got := o.finished(t, name, in)
	for p, list := range o.pushed {
		owed := filter(list, func(m message) bool {
			return m.token == everybody || slices.ContainsFunc(stays, func(s stay) bool {
				return s.token == m.token && m.began > s.from && (s.to == 0 || m.began < s.to)
			})
		})
		came := make(map[int]bool)
		for _, n := range got[p] {
			came[n] = true
		}
		for _, n := range owed {
			if !came[n] {
				t.Errorf("%s: message %d/%d to %q was lost", name, p, n, list[n].token)
			}
		}
	}
}

// judgeLife wants, from each publisher, an unbroken run of what goes to
// everybody and to the token: a connection that was open misses nothing.
func (o *orderRun) judgeLife(t *testing.T, name string, in *inbox, token string) {
	t.Helper()
	got, err := in.byPublisher(orderPublishers) // its end is its own close
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for p, list := range o.pushed {
		if len(got[p]) == 0 {
			continue
		}
		all := filter(list, func(m message) bool { return m.token == everybody || m.token == token })
		at := slices.Index(all, got[p][0])
		if at < 0 || at+len(got[p]) > len(all) || !slices.Equal(got[p], all[at:at+len(got[p])]) {
			t.Errorf("%s, publisher %d: %v is no run of %v", name, p, got[p], all)
		}
	}
}
