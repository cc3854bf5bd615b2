package engine

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Pages are in due order, miss nothing and repeat nothing, while messages lie
// in both wheels and on the way between them.
func TestListWaiting(t *testing.T) {
	d := serveDurable(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	base := time.Now().Add(time.Minute).Truncate(time.Second)
	var all []Delayed
	for range 500 {
		m := Delayed{Key: d.NewKey(), Created: time.Now(), Frame: textFrame("x"), Stamp: -1}
		m.Due = base.Add(time.Duration(rnd.IntN(100)) * time.Duration(1<<rnd.IntN(30)) * time.Millisecond)
		for _, token := range []string{"a", "b", "c"} {
			if rnd.IntN(3) == 0 {
				m.Tokens = append(m.Tokens, token)
			}
		}
		all = append(all, m)
	}
	if err := d.Schedule(all, nil); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		i := rnd.IntN(len(all))
		if err := d.Cancel(all[i].Key); err != nil {
			t.Fatal(err)
		}
		all = slices.Delete(all, i, i+1)
	}
	slices.SortFunc(all, func(a, b Delayed) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key)) })
	for _, token := range []string{"", "a", "b", "nobody"} {
		for _, limit := range []int{1, 7, 100, 1000} {
			var want, got []uint64
			for _, m := range all {
				if token == "" || slices.Contains(m.Tokens, token) {
					want = append(want, m.Key)
				}
			}
			for at, more := (Place{}), true; more; {
				page, next, err := d.ListWaiting(token, at, limit)
				if err != nil || len(page) > limit {
					t.Fatal(len(page), err)
				}
				for _, m := range page {
					got = append(got, m.Key)
				}
				at, more = next, !next.IsZero()
			}
			if !slices.Equal(got, want) {
				t.Errorf("token %q, limit %d: %d of %d, or another order", token, limit, len(got), len(want))
			}
		}
	}
}
