package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// fleet is the clients of one server: one swarm in this process, or several in
// worker processes where one may not open as many files.
type fleet struct {
	plan  plan
	bar   *progress
	parts []part

	mu      sync.Mutex
	latest  []status // by part
	laps    []*latencies
	failure error // of the first part that ended by itself

	changed chan struct{} // something under mu has
	orders  int           // given so far; owned by the caller
}

// part is one swarm, wherever it runs.
type part interface {
	obey(order)
	end(expected int64) result
}

// stuckAfter is how long nothing may come before what is missing is lost.
const stuckAfter = 10 * time.Second

// startFleet begins to open the connections, in so many processes of their own;
// with 0 in this one. end must be called.
func startFleet(p plan, workers int, self string, bar *progress) (*fleet, error) {
	f := &fleet{plan: p, bar: bar, changed: make(chan struct{}, 1)}
	n := max(1, workers)
	f.latest = make([]status, n)
	for i := range n {
		mine := p
		begin := p.Count * i / n
		mine.First, mine.Count = p.First+begin, p.Count*(i+1)/n-begin
		mine.Dialing = max(1, p.Dialing/n)
		f.latest[i].Waiting = mine.Count
	}
	for i := range n {
		mine := p
		begin := p.Count * i / n
		mine.First, mine.Count = p.First+begin, p.Count*(i+1)/n-begin
		mine.Dialing = max(1, p.Dialing/n)
		publish := func(st status, failure error) { f.publish(i, st, failure) }
		var one part
		var err error
		if workers == 0 {
			one, err = startLocal(mine, publish)
		} else {
			one, err = startWorker(self, mine, publish)
		}
		if err != nil {
			f.end(0)
			return nil, err
		}
		f.parts = append(f.parts, one)
	}
	return f, nil
}

// publish takes what a part says.
func (f *fleet) publish(i int, st status, failure error) {
	f.mu.Lock()
	if failure == nil {
		if st.Lap != nil {
			f.laps = append(f.laps, st.Lap)
			st.Lap = nil
		}
		f.latest[i] = st
	} else if f.failure == nil {
		f.failure = failure
	}
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// state is the sum of all parts; obeyed is how many orders all have carried
// out.
func (f *fleet) state() (sum status, failure error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum.Obeyed = f.latest[0].Obeyed
	for _, st := range f.latest {
		sum.add(st)
		sum.Obeyed = min(sum.Obeyed, st.Obeyed)
	}
	return sum, f.failure
}

// until waits until done holds. It gives up when nothing has changed for
// stuckAfter.
func (f *fleet) until(done func(status) bool) (status, error) {
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	for before := (status{}); ; {
		st, failure := f.state()
		if failure != nil {
			return st, failure
		}
		if done(st) {
			return st, nil
		}
		select {
		case <-f.changed:
		case <-tick.C:
			if st == before {
				return st, errStuck
			}
			before = st
		}
	}
}

var errStuck = fmt.Errorf("nothing has come for %v", stuckAfter)

// connected waits until every client has shaken hands or, in a tolerant
// fleet, has failed to.
func (f *fleet) connected() (status, error) {
	defer f.bar.begin("connecting", int64(f.plan.Count), func() int64 {
		st, _ := f.state()
		return int64(f.plan.Count - st.Waiting)
	})()
	st, err := f.until(func(st status) bool { return st.Obeyed >= f.orders && st.Waiting == 0 })
	if errors.Is(err, errStuck) {
		err = errors.New("the handshakes do not come to an end")
	}
	if err != nil {
		err = fmt.Errorf("connect %v: %w", f.plan, err)
	}
	return st, err
}

// await waits until the clients have got total messages: the rest counts as
// lost when nothing comes any more.
func (f *fleet) await(total int64) error {
	st, err := f.until(func(st status) bool { return st.Delivered >= total })
	if errors.Is(err, errStuck) {
		return fmt.Errorf("%d of %d messages of %s have not come", total-st.Delivered, total, f.plan.Server)
	}
	return err
}

// tell gives an order and waits until it has been carried out.
func (f *fleet) tell(o order) error {
	f.order(o)
	_, err := f.until(func(st status) bool { return st.Obeyed >= f.orders })
	return err
}

// order gives an order and does not wait.
func (f *fleet) order(o order) {
	f.orders++
	for _, p := range f.parts {
		p.obey(o)
	}
}

// lap returns the latencies since the last lap.
func (f *fleet) lap() (*latencies, error) {
	if err := f.tell(order{Do: orderLap}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	all := newLatencies()
	for _, l := range f.laps {
		all.merge(l)
	}
	f.laps = nil
	return all, nil
}

// end drops all connections and returns the account of the messages, of which
// so many were expected. An error is what ended a part before.
func (f *fleet) end(expected int64) (t tally, err error) {
	for _, p := range f.parts {
		r := p.end(0)
		t.add(r.Tally)
		if r.Failure != "" && err == nil {
			err = errors.New(r.Failure)
		}
	}
	if !f.plan.Lives { // each part knows only its own share
		t.Expected, t.Lost = expected, expected-t.Delivered
	}
	return t, err
}

// local is a swarm in this process.
type local struct{ *swarm }

func startLocal(p plan, publish func(status, error)) (part, error) {
	s, err := startSwarm(p, func(st status) { publish(st, nil) })
	if err != nil {
		return nil, err
	}
	go func() { // ends with the swarm, which end waits for
		<-s.done
		if s.failure != nil {
			publish(status{}, s.failure)
		}
	}()
	return local{s}, nil
}
