package engine

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzTimerWheel reads the input as operations on a wheel, three bytes each:
// what to do, and a number of ticks or an index as mantissa and exponent. The
// wheel is compared with the oracle and looked into after each.
func FuzzTimerWheel(f *testing.F) {
	f.Add(uint64(0), []byte{0, 1, 0, 0, 130, 0, 3, 129, 0, 0, 131, 0, 4, 255, 0})
	for _, border := range []uint64{1 << 24, 1 << 32, 1 << 40, 3 << 40, 1 << 56} {
		// A crowd beyond 2^32 ticks and one beyond 2^40, some cancelled, in steps.
		far := []byte{242, 3, 32, 242, 5, 40, 240, 9, 31, 6, 7, 0, 6, 21, 0, 51, 2, 31, 36, 3, 32, 6, 2, 0, 99, 9, 39, 9, 50, 0, 84, 1, 40}
		f.Add(border-2, far)
		f.Add(border-1<<31, far)
	}
	f.Fuzz(func(t *testing.T, epoch uint64, ops []byte) {
		m := newWheelModel(t, epoch)
		for ; len(ops) >= 3 && m.next < 500; ops = ops[3:] {
			arg := uint64(ops[1]) << (ops[2] % 48)
			budget := int(ops[0]>>4) * 3
			switch ops[0] % 10 {
			case 0:
				m.insert(addTicks(m.now, arg))
			case 1: // a tick before the border
				m.insert(addTicks(m.now, max(arg, 1)-1))
			case 2: // a crowd, past the length of a block
				for range int(ops[0]>>4) + 1 {
					m.insert(addTicks(m.now, arg))
				}
			case 3:
				m.advance(addTicks(m.now, arg), budget, nil)
			case 4:
				m.advanceFully(addTicks(m.now, arg), budget+1)
			case 5:
				m.advance(addTicks(m.now, arg), budget, func() { m.insert(addTicks(m.now, arg%(wheelSlots+1))) })
			case 6:
				if n := len(m.waiting); n > 0 {
					m.cancel(int(binary.LittleEndian.Uint16(ops[1:])) % n)
				}
			case 7:
				if n := len(m.gone); n > 0 {
					m.cancelGone(int(binary.LittleEndian.Uint16(ops[1:])) % n)
				}
			case 8:
				for range arg % (2 * slabChunk) {
					m.wheel.sweep()
				}
			case 9:
				m.scan(int(arg%slabChunk), func() { m.advance(addTicks(m.now, uint64(budget)), 1, nil) })
			}
			m.check()
		}
		m.advanceFully(math.MaxUint64, 7)
		if m.check(); len(m.waiting) > 0 {
			t.Fatalf("%d entries outlived the end of time", len(m.waiting))
		}
	})
}

// addTicks is a+b, at most the end of time.
func addTicks(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
