package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const wheelCentury = 100 * 365 * 24 * 3_600_000 // ticks

// wheelModel drives a wheel and a slow, obvious oracle side by side: a slice of
// what waits, sorted by deadline and, where those are equal, by insert.
type wheelModel struct {
	t       testing.TB
	wheel   *timerWheel[uint64]
	now     uint64
	waiting []wheelModelEntry
	gone    []timerHandle // handles of entries that have left
	next    uint64        // value of the next entry: inserts are numbered from 1
}

type wheelModelEntry struct {
	deadline uint64
	value    uint64
	handle   timerHandle
}

func newWheelModel(t testing.TB, now uint64) *wheelModel {
	return &wheelModel{t: t, wheel: newTimerWheel[uint64](now), now: now, next: 1}
}

func (m *wheelModel) insert(deadline uint64) {
	e := wheelModelEntry{deadline: max(deadline, m.now), value: m.next}
	m.next++
	e.handle = m.wheel.Insert(deadline, e.value)
	at, _ := slices.BinarySearchFunc(m.waiting, e, func(a, b wheelModelEntry) int {
		if a.deadline <= b.deadline {
			return -1
		}
		return 1
	})
	m.waiting = slices.Insert(m.waiting, at, e)
}

func (m *wheelModel) cancel(i int) {
	e := m.waiting[i]
	m.waiting = slices.Delete(m.waiting, i, i+1)
	if deadline, v, ok := m.wheel.Get(e.handle); !ok || v != e.value || deadline != e.deadline {
		m.t.Fatalf("Get of waiting entry %d = %d, %d, %v", e.value, deadline, v, ok)
	}
	if v, ok := m.wheel.Cancel(e.handle); !ok || v != e.value {
		m.t.Fatalf("Cancel of waiting entry %d = %d, %v", e.value, v, ok)
	}
	m.gone = append(m.gone, e.handle)
}

func (m *wheelModel) cancelGone(i int) {
	if _, v, ok := m.wheel.Get(m.gone[i]); ok {
		m.t.Fatalf("Get of a handle whose entry has left found entry %d", v)
	}
	if v, ok := m.wheel.Cancel(m.gone[i]); ok {
		m.t.Fatalf("Cancel of a handle whose entry has left removed entry %d", v)
	}
}

// scan visits all entries in steps of budget, with the wheel in use between
// them, and wants each that waited all the time once, and none that never did.
func (m *wheelModel) scan(budget int, between func()) {
	before := slices.Clone(m.waiting)
	seen := map[timerHandle]wheelModelEntry{}
	for cursor := uint32(0); ; between() {
		looked := 0
		cursor = m.wheel.Scan(cursor, budget, func(deadline uint64, h timerHandle, v uint64) {
			looked++
			if _, twice := seen[h]; twice {
				m.t.Fatalf("Scan visited entry %d twice", v)
			}
			seen[h] = wheelModelEntry{deadline: deadline, value: v, handle: h}
			if i := slices.Index(m.waiting, seen[h]); i < 0 {
				m.t.Fatalf("Scan visited %+v, which does not wait", seen[h])
			}
		})
		if looked > max(budget, 1) {
			m.t.Fatalf("Scan visited %d entries with a budget of %d", looked, budget)
		}
		if cursor == 0 {
			break
		}
	}
	for _, e := range before {
		if _, ok := seen[e.handle]; !ok && slices.Contains(m.waiting, e) {
			m.t.Fatalf("Scan left out entry %d", e.value)
		}
	}
}

// advance makes one call. inFire, if not nil, runs after each fired entry.
func (m *wheelModel) advance(now uint64, budget int, inFire func()) (more bool) {
	m.now = max(m.now, now)
	fired := 0
	more = m.wheel.Advance(now, budget, func(v uint64) {
		fired++
		if len(m.waiting) == 0 {
			m.t.Fatalf("fired entry %d, but none waits", v)
		}
		e := m.waiting[0]
		if e.value != v {
			m.t.Fatalf("fired entry %d, want %d", v, e.value)
		}
		if e.deadline > m.now {
			m.t.Fatalf("fired entry %d at %d, %d ticks early", v, m.now, e.deadline-m.now)
		}
		m.waiting = m.waiting[1:]
		m.gone = append(m.gone, e.handle)
		if inFire != nil {
			inFire()
		}
	})
	if fired > max(budget, 0) {
		m.t.Fatalf("fired %d entries with a budget of %d", fired, budget)
	}
	if !more && len(m.waiting) > 0 && m.waiting[0].deadline <= m.now {
		m.t.Fatalf("Advance(%d) is done, but entry %d is due at %d", now, m.waiting[0].value, m.waiting[0].deadline)
	}
	if at, ok := m.wheel.Next(); more != (ok && at <= m.now) {
		m.t.Fatalf("Advance(%d) = %v, but Next = %d, %v", now, more, at, ok)
	}
	return more
}

// advanceFully calls Advance until it is done, which it must be soon: an entry
// moves at most once a level.
func (m *wheelModel) advanceFully(now uint64, budget int) {
	for calls := m.wheel.entries.used*wheelLevels + 1; m.advance(now, budget, nil); calls-- {
		if calls == 0 {
			m.t.Fatalf("Advance(%d, %d) does not end", now, budget)
		}
		m.check()
	}
}

// check compares Len and Next with the oracle and looks into the wheel.
func (m *wheelModel) check() {
	m.t.Helper()
	if got := m.wheel.Len(); got != len(m.waiting) {
		m.t.Fatalf("Len = %d, want %d", got, len(m.waiting))
	}
	at, ok := m.wheel.Next()
	if ok != (len(m.waiting) > 0) {
		m.t.Fatalf("Next reports %v with %d entries", ok, len(m.waiting))
	}
	if ok {
		first := m.waiting[0].deadline
		if at > first {
			m.t.Fatalf("Next = %d, past the first deadline %d", at, first)
		}
		if m.wheel.opened == noSlot && first/wheelSlots == m.wheel.elapsed/wheelSlots && at != first {
			m.t.Fatalf("Next = %d, want the near deadline %d", at, first)
		}
	}
	if err := checkTimerWheel(m.wheel); err != nil {
		m.t.Fatal(err)
	}
}

// randomWheelDelay favours no magnitude: from one tick to centuries, and often a
// tick beside the borders between slots and levels.
func randomWheelDelay(rng *rand.Rand) uint64 {
	d := rng.Uint64N(1<<rng.UintN(44)) + 1
	if rng.UintN(3) == 0 {
		d = 1<<(wheelDigit*rng.UintN(6)) + rng.Uint64N(3) - 1
	}
	return min(d, 5*wheelCentury)
}

func TestTimerWheelAgainstModel(t *testing.T) {
	seeds, steps := uint64(60), 200
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 64))
			epoch := rng.Uint64N(1 << rng.UintN(42))
			if border := rng.UintN(wheelLevels); seed%2 == 1 { // a little before one
				epoch = (rng.Uint64N(100)+1)<<(wheelDigit*border) - 1
				epoch -= min(epoch, rng.Uint64N(1<<rng.UintN(30)))
			}
			m := newWheelModel(t, epoch)
			burst := 1 << rng.UintN(7)
			for range steps {
				switch rng.UintN(12) {
				case 0, 1, 2:
					for range rng.IntN(burst) + 1 {
						m.insert(m.now + randomWheelDelay(rng))
					}
				case 3: // equal deadlines, inserted at different distances
					if n := len(m.waiting); n > 0 {
						m.insert(m.waiting[rng.IntN(n)].deadline)
					}
				case 4: // the past
					m.insert(m.now - min(m.now, rng.Uint64N(200)))
				case 5:
					for range min(len(m.waiting), rng.IntN(burst)+1) {
						m.cancel(rng.IntN(len(m.waiting)))
					}
				case 6:
					if n := len(m.gone); n > 0 {
						m.cancelGone(rng.IntN(n))
					}
				case 7: // part of a sweep, used from inside as well
					m.advance(m.now+randomWheelDelay(rng), rng.IntN(2*burst), func() {
						switch n := len(m.waiting); rng.UintN(3) {
						case 0:
							m.insert(m.now + rng.Uint64N(100))
						case 1:
							if n > 0 {
								m.cancel(rng.IntN(n))
							}
						}
					})
				case 8:
					if at, ok := m.wheel.Next(); ok {
						m.advanceFully(at, rng.IntN(burst)+1)
					}
				case 9: // no test waits for wheelDebris
					for range rng.IntN(slabChunk / 4) {
						m.wheel.sweep()
					}
				case 10:
					m.scan(rng.IntN(500), func() {
						m.insert(m.now + randomWheelDelay(rng))
						m.cancel(rng.IntN(len(m.waiting)))
						m.advance(m.now+rng.Uint64N(3), burst, nil)
					})
				case 11:
					m.advanceFully(m.now+randomWheelDelay(rng), rng.IntN(burst)+1)
				}
				m.check()
			}
			m.advanceFully(math.MaxUint64, 100)
			if m.check(); len(m.waiting) > 0 {
				t.Fatalf("%d entries outlived the end of time", len(m.waiting))
			}
		})
	}
}

// TestTimerWheelBoundaries fires one entry a wheel for the deadlines beside
// every border of slots and levels, from epochs on and beside such borders.
func TestTimerWheelBoundaries(t *testing.T) {
	var marks []uint64
	for level := range wheelLevels {
		p := uint64(1) << (level * wheelDigit)
		marks = append(marks, p-1, p, p+1, (wheelSlots-1)*p-1, (wheelSlots-1)*p, wheelSlots*p-1)
	}
	marks = append(marks, math.MaxUint64)
	for _, epoch := range marks {
		for _, deadline := range marks {
			w := newTimerWheel[int](epoch)
			w.Insert(deadline, 1)
			fired := 0
			fire := func(int) { fired++ }
			if deadline > epoch {
				for w.Advance(deadline-1, 1, fire) {
				}
				if fired != 0 {
					t.Fatalf("epoch %d: fired before its deadline %d", epoch, deadline)
				}
			}
			for w.Advance(deadline, 1, fire) {
			}
			if fired != 1 || w.Len() != 0 {
				t.Fatalf("epoch %d: fired %d times at its deadline %d", epoch, fired, deadline)
			}
			if err := checkTimerWheel(w); err != nil {
				t.Fatalf("epoch %d, deadline %d: %v", epoch, deadline, err)
			}
		}
	}
}
