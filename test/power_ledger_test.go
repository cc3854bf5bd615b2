package test

import (
	"maps"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// powerPush is one push of a power loss, and what was answered. Each has a
// token of its own, by which it is found again.
type powerPush struct {
	token  string
	key    string // Idempotency-Key, "" for none
	body   string
	late   bool // it was sent when the power was gone
	answer *wsclient.Response

	removal     *wsclient.Response // the answer to its DELETE, nil if there was none
	lateRemoval bool
}

func (p *powerPush) accepted() bool { return p.answer.Status == 200 }

// post sends the push, as often as it is called.
func (p *powerPush) post(pub *relaytest.Publisher) (*wsclient.Response, error) {
	lines := []string{"X-API-KEY: " + pub.Key}
	if p.key != "" {
		lines = append(lines, key(p.key))
	}
	return pub.Do("POST", relaytest.PushPath, []byte(p.body), lines...)
}

// powerLedger is the account of all rounds.
type powerLedger struct {
	round []*powerPush    // since the last start
	safe  map[string]bool // tokens of the pushes that have to be there, from then on

	accepted  int // 200
	cancelled int // 200 to a DELETE
	refused   int // 503, sent when the power was gone
	cutOff    int // 503, sent before
	kept      int // of these, what is there nevertheless
	replayed  int // by an Idempotency-Key, after the restart
	anew      int // the same, where it had been refused
}

// judge compares what waits after a restart with what was answered before the
// cut. What is neither safe nor gone has been retried when it returns.
func (l *powerLedger) judge(t *testing.T, pub *relaytest.Publisher) {
	t.Helper()
	there := map[string]int{}
	for _, s := range list(t, pub, "", 1000) {
		there[*s.Target]++
	}
	for _, p := range l.round {
		n := there[p.token]
		switch {
		case n > 1:
			t.Errorf("%s is there %d times", p.token, n)
		case p.accepted() && p.removal == nil:
			l.accepted++
			l.safe[p.token] = true
			if p.key != "" {
				l.replayed++
				wantReplay(t, p.answer, l.again(t, pub, p))
			}
			continue
		case p.accepted() && p.removal.Status == 200:
			l.accepted++
			l.cancelled++
			if n > 0 {
				t.Errorf("%s was cancelled, and is there", p.token)
			}
		case p.accepted(): // taking it back was refused, as the power went, or after
			l.accepted++
			if n == 0 && p.lateRemoval {
				t.Errorf("%s could not be cancelled, and is gone", p.token)
			}
		case p.late:
			l.refused++
			if n > 0 {
				t.Errorf("%s was refused without a disk, and is there", p.token)
			}
		default: // the commit that the power met may be whole
			l.cutOff++
			l.kept += n
		}
		if n > 0 {
			l.safe[p.token] = true
		}
		if p.key != "" && !p.accepted() {
			l.anew++
			if again := l.again(t, pub, p); replayed(t, again) != (n > 0) {
				t.Errorf("%s was refused, is there %d times, and replayed: %v", p.token, n, replayed(t, again))
			}
			l.safe[p.token] = true
		}
	}
	l.round = nil
	l.wantSafe(t, pub)
}

// again sends a push once more, which must be accepted.
func (l *powerLedger) again(t *testing.T, pub *relaytest.Publisher, p *powerPush) *wsclient.Response {
	t.Helper()
	answer, err := p.post(pub)
	if err != nil {
		t.Fatal(err)
	}
	wantData(t, answer)
	return answer
}

// wantSafe wants exactly the safe pushes to wait, each of them once.
func (l *powerLedger) wantSafe(t *testing.T, pub *relaytest.Publisher) {
	t.Helper()
	missing := maps.Clone(l.safe)
	for _, s := range list(t, pub, "", 1000) {
		if !missing[*s.Target] && !strings.HasPrefix(*s.Target, powerDue) { // those may be about to fire again
			t.Errorf("%s is there, and should not, or twice", *s.Target)
		}
		delete(missing, *s.Target)
	}
	for token := range missing {
		t.Errorf("%s was accepted, and is lost", token)
	}
}
