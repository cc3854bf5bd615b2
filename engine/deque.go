package engine

// deque is a first-in, first-out queue. The zero value is empty. It gives its
// memory back when it runs empty.
type deque[T any] struct {
	items []T
	head  int
}

func (d *deque[T]) push(x T) { d.items = append(d.items, x) }

// front returns the oldest item.
func (d *deque[T]) front() (x T, ok bool) {
	if d.head == len(d.items) {
		return x, false
	}
	return d.items[d.head], true
}

// pop drops the oldest item.
func (d *deque[T]) pop() {
	var zero T
	d.items[d.head] = zero
	d.head++
	switch {
	case d.head == len(d.items):
		d.head, d.items = 0, d.items[:0]
		if cap(d.items) > 64 {
			d.items = nil
		}
	case d.head >= 1024 && 2*d.head >= len(d.items):
		n := copy(d.items, d.items[d.head:])
		clear(d.items[n:])
		d.head, d.items = 0, d.items[:n]
	}
}

func (d *deque[T]) len() int { return len(d.items) - d.head }
