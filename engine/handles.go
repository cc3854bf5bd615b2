package engine

// handles finds the wheel's entry of a delayed message by its key. It is many
// small maps instead of a large one: a Go map never gives memory back, so one
// that has shrunk is copied, and that must not take long. Its owner's lock
// guards it.
type handles [handleMaps]handleMap

const (
	handleMaps = 256
	handleMin  = 64 // below this a map is not worth copying
)

type handleMap struct {
	m    map[uint64]handle
	peak int // the most that m has held
}

// handle is where a delayed message waits.
type handle struct {
	index uint32 // of a timerHandle; nearBit is set if it is the near wheel's
	gen   uint32
}

const nearBit = 1 << 31 // above every index of a wheel

// beingLoaded is the handle of a message between the wheels: it has left the
// far one and its body is on its way from the disk.
var beingLoaded = handle{index: 0, gen: 0}

// beingHeld is the handle of a message that is due and held back.
var beingHeld = handle{index: 1, gen: 0}

func farHandle(h timerHandle) handle  { return handle(h) }
func nearHandle(h timerHandle) handle { return handle{h.index | nearBit, h.gen} }

// isNear reports whether the message is in the near wheel.
func (h handle) isNear() bool { return h.index&nearBit != 0 }

// timer is the handle in the message's wheel.
func (h handle) timer() timerHandle { return timerHandle{h.index &^ nearBit, h.gen} }

func (t *handles) of(key uint64) *handleMap { return &t[key%handleMaps] }

func (t *handles) get(key uint64) (handle, bool) {
	h, ok := t.of(key).m[key]
	return h, ok
}

func (t *handles) put(key uint64, h handle) {
	s := t.of(key)
	if s.m == nil {
		s.m = make(map[uint64]handle)
	}
	s.m[key] = h
	s.peak = max(s.peak, len(s.m))
}

func (t *handles) remove(key uint64) {
	s := t.of(key)
	delete(s.m, key)
	if s.peak < handleMin || len(s.m) > s.peak/4 {
		return
	}
	m := make(map[uint64]handle, len(s.m))
	for k, h := range s.m {
		m[k] = h
	}
	s.m, s.peak = m, max(len(m), handleMin)
	if len(m) == 0 {
		s.m = nil
	}
}
