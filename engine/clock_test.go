package engine

import (
	"testing"
	"time"
)

// What is due in one millisecond of the wall clock is in one tick, though the two
// clocks are never read in quite the same instant.
func TestTicksBearApartClocks(t *testing.T) {
	start, due := time.UnixMilli(1_733_890_000_000), time.UnixMilli(1_733_890_005_000)
	for fraction := time.Duration(0); fraction < time.Millisecond; fraction += 50 * time.Microsecond {
		began := betweenTicks(start.Add(fraction))
		if off := began.Sub(start.Add(fraction)).Abs(); off > time.Millisecond/2 || began.UnixMilli() != start.UnixMilli() {
			t.Errorf("%v became %v", start.Add(fraction), began)
		}
		for apart := -400 * time.Microsecond; apart <= 400*time.Microsecond; apart += 100 * time.Microsecond {
			e := &Engine{began: began.Add(apart)}
			if got := e.tick(due); got != 5000 {
				t.Errorf("began %v late, clocks %v apart: tick %d", fraction, apart, got)
			}
		}
	}
}

// From one Now to another both clocks move by as much.
func TestNowReadsBothClocksAtOnce(t *testing.T) {
	began := Now()
	for range 2000 {
		now := Now()
		apart := now.Sub(began) - now.Round(0).Sub(began.Round(0))
		if apart.Abs() > 2*clocksApart {
			t.Fatalf("the clocks are %v apart", apart)
		}
	}
}
