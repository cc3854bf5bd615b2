package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// TestUnreadableFile takes the content of the file of delayed pushes away under
// the running relay, and brings it back. Meanwhile nothing is answered as if it
// were known, what falls due waits, and then it fires, late.
func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"missed_grace": "0"}})
	path := filepath.Join(r.Dir, "data", "delayed.db")
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	pushed(t, p, body("late", toToken("a"), at(time.Now().Add(4*time.Second))))
	hour := pushed(t, p, body("hour", toToken("b"), inSeconds(anHour)))
	back := pushed(t, p, body("back", toToken("b"), inSeconds(anHour)))
	wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+back, ""))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}

	for _, target := range []string{"/" + hour, "/" + back, "?status=scheduled", "?token=b"} {
		answer := call(t, p, "GET", relaytest.PushPath+target, "")
		if msg := wantRefusal(t, answer, 503); msg != "cannot read delayed pushes: the disk fails" {
			t.Errorf("GET %s: %q", target, msg)
		}
		wantRetryAfter(t, answer)
	}
	for _, id := range []string{hour, back} { // whether one was taken back is in the file
		wantRefusal(t, call(t, p, "DELETE", relaytest.PushPath+"/"+id, ""), 503)
	}
	wantRefusal(t, call(t, p, "POST", relaytest.PushPath, body("none", toToken("a"), inSeconds(1))), 503)
	r.WaitLog("cannot read delayed messages from disk")
	push(t, p, body("at once", toToken("a")))
	wantEvent(t, c, "at once")

	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(whole); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, c, "late")
	if shown := ids(list(t, p, "", 0)); !slices.Equal(shown, []string{hour}) {
		t.Errorf("waiting: %v, want %s", shown, hour)
	}
	wantRefusal(t, call(t, p, "POST", relaytest.PushPath, body("none", toToken("a"), inSeconds(1))), 503) // until a restart
	if n := strings.Count(r.Log(), "cannot read delayed messages"); n != 1 {
		t.Errorf("the log says %d times that it cannot read", n)
	}
	r.Kill()
	r = restart(t, r, nil)
	p = r.Publisher(t)
	wantData(t, call(t, p, "DELETE", relaytest.PushPath+"/"+hour, ""))
	pushed(t, p, body("again", toToken("a"), inSeconds(anHour)))
}
