package main

import (
	"slices"
	"sync"
	"time"
)

// sample is a moment of a server and its clients.
type sample struct {
	Type      string  `json:"type"` // "sample"
	Workload  string  `json:"workload"`
	Server    string  `json:"server"`
	Seconds   float64 `json:"seconds"` // since the server was first looked at
	Open      int     `json:"open"`
	Opened    int64   `json:"opened"`      // handshakes so far
	Delivered int64   `json:"delivered"`   // messages so far
	CPU       float64 `json:"cpu_seconds"` // so far
	usage
	// Of a soak: the latencies in microseconds since the sample before.
	P50 float64 `json:"p50,omitempty"`
	P99 float64 `json:"p99,omitempty"`
	Max float64 `json:"max,omitempty"`
}

// sampler looks at a server at regular times. It costs the server nothing:
// the bench's core reads /proc.
type sampler struct {
	server *server
	began  time.Time
	quit   chan struct{}
	gone   chan struct{}

	mu     sync.Mutex
	fleets []*fleet
	past   status // of fleets that are gone
}

// maxSamples bounds the samples of one server; the timeline then ends.
const maxSamples = 20_000

// sample begins to look at a server; end must be called.
func (b *bench) sample(s *server) *sampler {
	w := &sampler{server: s, began: time.Now(), quit: make(chan struct{}), gone: make(chan struct{})}
	go func() { // ends by quit; end waits for it
		defer close(w.gone)
		tick := time.NewTicker(b.every)
		defer tick.Stop()
		for range maxSamples {
			b.report.sampled(w.look(nil))
			select {
			case <-w.quit:
				b.report.sampled(w.look(nil))
				return
			case <-tick.C:
			}
		}
		<-w.quit
	}()
	return w
}

func (w *sampler) end() {
	close(w.quit)
	<-w.gone
}

func (w *sampler) add(f *fleet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fleets = append(w.fleets, f)
}

// remove forgets a fleet whose last state is given.
func (w *sampler) remove(f *fleet, last status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fleets = slices.DeleteFunc(w.fleets, func(o *fleet) bool { return o == f })
	last.Open = 0
	w.past.add(last)
}

// look is the sample of this moment, with the latencies of a lap if given.
func (w *sampler) look(lap *latencies) sample {
	w.mu.Lock()
	sum := w.past
	for _, f := range w.fleets {
		st, _ := f.state()
		sum.add(st)
	}
	w.mu.Unlock()
	v := sample{Type: "sample", Server: w.server.name, Seconds: time.Since(w.began).Seconds(),
		Open: sum.Open, Opened: sum.Opened, Delivered: sum.Delivered}
	cpu, _ := w.server.cpu() // a server that has ended shows elsewhere
	v.CPU = cpu.Seconds()
	v.usage, _ = w.server.usage()
	if lap != nil {
		v.P50, v.P99, v.Max = lap.Unicast.at(50), lap.Unicast.at(99), lap.Unicast.at(100)
	}
	return v
}
