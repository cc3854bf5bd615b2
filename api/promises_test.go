package api

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// oracle is promises at its plainest: a list that is searched.
type oracle struct {
	window, most int64
	kept         []oracleEntry
}

type oracleEntry struct {
	key, request digest
	expires      int64
	answer       string
	running      bool
	room         int64
}

// begin returns "before", "twin", "own", "reused" or "full".
func (o *oracle) begin(key, request digest, now int64, answer int) (string, *oracleEntry) {
	for i := range o.kept {
		e := &o.kept[i]
		switch {
		case e.key != key || !e.running && e.expires <= now:
		case e.request != request:
			return "reused", nil
		case e.running:
			return "twin", nil
		default:
			return "before", e
		}
	}
	var bytes int64
	live := o.kept[:0]
	for _, e := range o.kept {
		if e.running || e.expires > now {
			live = append(live, e)
			bytes += e.room
		}
	}
	o.kept = live
	room := costOf(answer)
	if bytes+room > o.most {
		return "full", nil
	}
	o.kept = append(o.kept, oracleEntry{key: key, request: request, expires: now + o.window, running: true, room: room})
	return "own", nil
}

func (o *oracle) end(key digest, answer string, kept bool) {
	for i := range o.kept {
		if e := &o.kept[i]; e.key == key && e.running {
			if !kept {
				o.kept = append(o.kept[:i], o.kept[i+1:]...)
				return
			}
			e.running, e.answer, e.room = false, answer, costOf(len(answer))
			return
		}
	}
}

func TestPromisesAgainstAnOracle(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		const most = 16 * promiseCost
		m := newPromises(50*time.Millisecond, most)
		o := &oracle{window: 50, most: most}
		running := map[digest]*attempt{}
		rooms := map[digest]int{} // for their answers
		now, served := int64(1000), map[string]int{}
		for step := range 20_000 {
			now += int64(random.IntN(4))
			key := digest{byte(random.IntN(30))}
			if a := running[key]; a != nil && random.IntN(2) == 0 {
				answer := strings.Repeat("x", random.IntN(rooms[key]+1))
				kept := random.IntN(3) > 0
				o.end(key, answer, kept)
				if kept {
					m.finish(a, outcome{id: pushID{1, uint64(step)}, answer: []byte(answer)})
				}
				m.abandon(a)
				select {
				case <-a.done:
				default:
					t.Fatalf("seed %d, step %d: twins are left waiting", seed, step)
				}
				delete(running, key)
				continue
			}
			request := digest{byte(random.IntN(5) / 4)}
			room := random.IntN(300)
			want, entry := o.begin(key, request, now, room)
			before, twin, own, refused := m.begin(key, request, now, room)
			got := "own"
			switch {
			case before != nil:
				got = "before"
			case twin != nil:
				got = "twin"
			case refused == refusedReused:
				got = "reused"
			case refused == refusedPromise:
				got = "full"
			}
			if got != want || got == "before" && string(before.answer) != entry.answer || got == "twin" && twin != running[key] {
				t.Fatalf("seed %d, step %d: %s, want %s", seed, step, got, want)
			}
			if own != nil {
				running[key], rooms[key] = own, room
			}
			served[got]++
			if m.bytes > most || m.bytes < 0 {
				t.Fatalf("seed %d, step %d: %d bytes", seed, step, m.bytes)
			}
		}
		for _, kind := range []string{"own", "before", "twin", "reused", "full"} {
			if served[kind] == 0 {
				t.Fatalf("seed %d: the test never saw %q", seed, kind)
			}
		}
		for _, a := range running {
			m.abandon(a)
		}
		now += 100
		m.forget(now, most)
		if m.bytes != 0 || len(m.kept)+len(m.answers)+len(m.expiry)+len(m.running) != 0 {
			t.Fatalf("seed %d: %d bytes, %d kept, %d answers, %d expiries are left", seed, m.bytes, len(m.kept), len(m.answers), len(m.expiry))
		}
	}
}

// Of all who bring one key at the same time, one request after another is
// made, until the first that comes to something.
func TestPromisesUnderContention(t *testing.T) {
	m := newPromises(time.Hour, 1<<20)
	const keys, publishers, failures = 20, 8, 3
	var tries [keys]int // each owned by the attempt that runs
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for k := range keys {
				for name := (digest{byte(k)}); ; {
					before, twin, own, refused := m.begin(name, name, 0, 0)
					if refused != nil {
						t.Error(refused)
						return
					}
					if twin != nil {
						<-twin.done
						continue
					}
					if before != nil {
						break
					}
					if tries[k]++; tries[k] > failures {
						m.finish(own, outcome{})
					}
					m.abandon(own)
				}
			}
		})
	}
	wg.Wait()
	for k, n := range tries {
		if n != failures+1 {
			t.Errorf("key %d: %d requests were made, want %d", k, n, failures+1)
		}
	}
}

// What a key is said to cost is not less than what it takes.
func TestPromisesCountHonestly(t *testing.T) {
	for _, answer := range []int{0, 1, 100, 1000} {
		t.Run(fmt.Sprintf("%d bytes", answer), func(t *testing.T) {
			heapBytes := func() uint64 {
				var s runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&s)
				return s.HeapAlloc
			}
			before := heapBytes()
			m := newPromises(time.Hour, 24<<20)
			n := 0
			for ; ; n++ {
				key := digestOf(fmt.Append(nil, n))
				_, _, own, refused := m.begin(key, key, int64(n), answer)
				if refused != nil {
					break
				}
				o := outcome{}
				if answer > 0 {
					o.answer = make([]byte, answer)
				}
				m.finish(own, o)
			}
			used := int64(heapBytes() - before)
			if used > m.most {
				t.Errorf("%d keys take %d bytes, %d each, and are counted as %d", n, used, used/int64(n), m.bytes)
			}
			t.Logf("%d keys take %d bytes each, counted as %d", n, used/int64(n), m.bytes/int64(n))
			runtime.KeepAlive(m)
		})
	}
}
