package test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// The size of the test of power losses.
const (
	powerPublishers = 8
	powerFewest     = 20 // pushes of a round that are accepted before the cut
	powerMost       = 500
	powerSpread     = 3 * time.Millisecond // from then to the cut, at most: longer than a commit takes
	powerRefusals   = 3                    // how many each publisher takes before it gives up
	powerLines      = 12                   // what the log may say of a dead disk, in lines
)

// Texts that must not get into the log.
const (
	powerToken = "power-user-"
	powerDue   = powerToken + "due-" // of what fires while there is no disk
	powerFill  = "power-body-"
)

// powerRounds is how many times the power is cut.
func powerRounds() int {
	if testing.Short() {
		return 3
	}
	return 6
}

// powerRun is one run of the test.
type powerRun struct {
	t      *testing.T
	dir    string // the relay's, on a disk that is well
	disk   *loopDisk
	relay  *relaytest.Relay
	random *rand.Rand
	ledger powerLedger

	taken atomic.Int64 // pushes of the round that were accepted
	cut   atomic.Bool  // the power is gone for certain
}

// TestPowerLoss cuts the power of the disk again and again under a load of
// delayed pushes. While it is gone they are refused, and everything else goes
// on. When it is back, all that was accepted is there, and nothing else.
//
// What is cut off is the file system: what the kernel has handed to the device
// is kept. So a disk that breaks its word would not be found out, nor a sync
// that asks the kernel, but not the disk.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	r := &powerRun{t: t, dir: dir, disk: newLoopDisk(t, dir), random: rand.New(rand.NewPCG(4, 4))}
	r.ledger.safe = map[string]bool{}
	r.start()
	for n := range powerRounds() {
		due := fmt.Sprint(powerDue, n)
		c := r.relay.Dial(t, "/ws?token="+due)
		settle(t, c)
		pushed(t, r.relay.Publisher(t), body("due", toToken(due), at(time.Now().Add(700*time.Millisecond))))
		r.round(n)
		wantEvent(t, c, "due")
		r.live()
		if n%2 == 0 {
			r.relay.Kill()
		} else {
			r.stop()
		}
		r.disk.unmount()
		if err := r.disk.mount(); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.ledger.judge(t, r.relay.Publisher(t))
	}
	l := &r.ledger
	t.Logf("%d power losses: %d pushes accepted, %d of them taken back; %d refused as the power went, of which %d are there; "+
		"%d refused without it; %d repeated with their keys and replayed, %d accepted then",
		powerRounds(), l.accepted, l.cancelled, l.cutOff, l.kept, l.refused, l.replayed, l.anew)
	if l.accepted < powerFewest*powerRounds() || l.cancelled == 0 || l.replayed == 0 || l.anew == 0 {
		t.Error("that shows nothing")
	}
}

func (r *powerRun) start() {
	r.t.Helper()
	r.cut.Store(false)
	r.taken.Store(0)
	config := relaytest.Config{"data_dir": filepath.Join(r.disk.dir, "data"), "missed_grace": "0"}
	r.relay = relaytest.StartRelay(r.t, relaytest.Setup{Dir: r.dir, Config: config})
	r.relay.Secret(powerToken, powerFill)
}

// round publishes until the power is cut and all publishers have noticed.
func (r *powerRun) round(n int) {
	r.t.Helper()
	var publishers sync.WaitGroup
	var mu sync.Mutex // guards the ledger's round
	for id := range powerPublishers {
		name, random := fmt.Sprintf("%s%d-%d", powerToken, n, id), rand.New(rand.NewPCG(r.random.Uint64(), 1))
		publishers.Go(func() {
			pushes, err := r.publish(name, random)
			if err != nil {
				r.t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.ledger.round = append(r.ledger.round, pushes...)
		})
	}
	enough := powerFewest + r.random.Int64N(powerMost-powerFewest)
	err := relaytest.WaitFor(func() bool { return r.taken.Load() >= enough })
	time.Sleep(time.Duration(r.random.Int64N(int64(powerSpread)))) // the moment of the cut is the point
	r.disk.cut()
	r.cut.Store(true)
	publishers.Wait()
	if err != nil {
		r.t.Fatalf("%d of %d pushes were accepted: %v", r.taken.Load(), enough, err)
	}
}

// publish pushes, and takes some back, until the relay has refused enough.
func (r *powerRun) publish(name string, random *rand.Rand) (pushes []*powerPush, err error) {
	pub := &relaytest.Publisher{Addr: r.relay.Addr, Key: relaytest.Key}
	defer pub.Close()
	for n, refused := 0, 0; refused < powerRefusals; n++ {
		p := &powerPush{token: fmt.Sprintf("%s-%d", name, n), late: r.cut.Load()}
		if random.IntN(2) == 0 {
			p.key = "power-" + p.token
		}
		p.body = fmt.Sprintf(`{"event_name":"e","subject":%s,%s,%s}`,
			quote(powerFill+repeat("f", random.IntN(1500))), inSeconds(anHour+random.IntN(anHour)), toToken(p.token))
		if p.answer, err = p.post(pub); err != nil {
			return pushes, err
		}
		pushes = append(pushes, p)
		if p.accepted() {
			r.taken.Add(1)
		}
		switch {
		case p.accepted() && p.late:
			return pushes, nil // live judges that
		case p.accepted() && random.IntN(5) == 0:
			p.lateRemoval = r.cut.Load()
			if p.removal, err = pub.Do("DELETE", pathOf(p), nil, "X-API-KEY: "+pub.Key); err != nil {
				return pushes, err
			}
		case !p.accepted() && p.late:
			refused++
		}
	}
	return pushes, nil
}

// pathOf is where an accepted push is looked up.
func pathOf(p *powerPush) string {
	_, rest, _ := strings.Cut(string(p.answer.Body), `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return relaytest.PushPath + "/" + id
}

// live looks at the answers of a round, and at what a relay without its disk
// still does.
func (r *powerRun) live() {
	t := r.t
	t.Helper()
	var waits *powerPush
	for _, p := range r.ledger.round {
		switch {
		case p.accepted() && p.late:
			t.Errorf("%s was accepted without a disk", p.token)
		case !p.accepted():
			wantNoDisk(t, p)
		case p.removal == nil:
			waits = p
		case p.lateRemoval || p.removal.Status != 200:
			wantRefusal(t, p.removal, 503)
		}
	}
	p := r.relay.Publisher(t)
	c := r.relay.Dial(t, "/ws?token="+powerToken)
	settle(t, c)
	push(t, p, body("at once", toToken(powerToken)))
	wantEvent(t, c, "at once")
	answer := call(t, p, "POST", batchPath, `{"items":[`+body("of a batch", toToken(powerToken))+`,`+body("e", inSeconds(anHour))+`]}`)
	wantMember(t, wantData(t, answer), "accepted", "1")
	wantEvent(t, c, "of a batch")
	wantHealthy(t, r.relay)
	if waits != nil {
		wantRefusal(t, call(t, p, "DELETE", pathOf(waits), ""), 503)
		if answer := call(t, p, "GET", pathOf(waits), ""); answer.Status != 200 { // the kernel may still have it
			wantRefusal(t, answer, 503)
		}
		answer := call(t, p, "GET", relaytest.PushPath+"?token="+url.QueryEscape(waits.token), "")
		if answer.Status != 200 {
			wantRefusal(t, answer, 503)
		} else if n := len(get[[]scheduled](t, wantData(t, answer), "items")); n != 1 {
			t.Errorf("%d pushes are shown where 1 waits", n)
		}
	}
	_, said, _ := strings.Cut(r.relay.Log(), "Push API path")
	if n := strings.Count(said, "\n"); n > powerLines {
		t.Errorf("the log has %d lines:\n%.2000s", n, said)
	}
}

// wantNoDisk wants a refusal that names the disk.
func wantNoDisk(t *testing.T, p *powerPush) {
	t.Helper()
	if msg := wantRefusal(t, p.answer, 503); !strings.HasPrefix(msg, "cannot store delayed pushes: the disk ") {
		t.Errorf("%q does not say that it is the disk", msg)
	}
	wantRetryAfter(t, p.answer)
}

// stop stops a relay that has no disk any more.
func (r *powerRun) stop() {
	r.t.Helper()
	if code := r.relay.Stop(); code != 0 {
		r.t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"delayed messages wait on disk for the next start", "INFO stopped"} {
		if !strings.Contains(r.relay.Log(), want) {
			r.t.Errorf("no %q in the log", want)
		}
	}
}
