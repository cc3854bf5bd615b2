package engine

import (
	"math/rand/v2"
	"testing"
)

// A deque does what a slice that is cut at its front does.
func TestDequeAgainstSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var d deque[int]
		var model []int
		pushes := 3 + round%3 // of 8: shrinks, balances, grows
		for i := range 20_000 {
			if rng.IntN(8) < pushes {
				d.push(i)
				model = append(model, i)
			} else if len(model) > 0 {
				d.pop()
				model = model[1:]
			}
			x, ok := d.front()
			if ok != (len(model) > 0) || ok && x != model[0] || d.len() != len(model) {
				t.Fatalf("step %d: front %d, %v, len %d; want %d items", i, x, ok, d.len(), len(model))
			}
		}
	}
}

// A queue that is long lived and never empty stays as small as what is in it.
func TestDequeGivesMemoryBack(t *testing.T) {
	var d deque[*int]
	d.push(new(int))
	for range 100_000 {
		d.push(new(int))
		d.pop()
	}
	if cap(d.items) > 4096 {
		t.Errorf("room for %d items with one in the queue", cap(d.items))
	}
	for _, p := range d.items[:d.head] {
		if p != nil {
			t.Fatal("a popped item is still referenced")
		}
	}
	d.pop()
	if d.head != 0 || len(d.items) != 0 {
		t.Errorf("empty: head %d, %d items", d.head, len(d.items))
	}
}
