package main

import (
	"testing"
	"time"
)

// TestDelayOf: whenever a push is sent, it is due in its client's second.
func TestDelayOf(t *testing.T) {
	const due = int64(90e9)
	for _, within := range []time.Duration{time.Second, 3 * time.Second} {
		used := make(map[int64]bool)
		for client := range 10 {
			for _, now := range []int64{0, 1, 999_999_999, 1e9, 1e9 + 1, 89_500_000_000, due - 1, due} {
				at := now + int64(delayOf(client, within, due, now))*1e9 - due
				if second := at / 1e9; at < 0 || second != int64(client)%int64(within/time.Second) {
					t.Errorf("client %d, sent at %d: due %d ns after the begin of %v", client, now, at, within)
				}
				used[at/1e9] = true
			}
		}
		if len(used) != int(within/time.Second) {
			t.Errorf("%d seconds have pushes, want all of %v", len(used), within)
		}
	}
}
