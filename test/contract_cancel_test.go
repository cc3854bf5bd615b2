package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gorelay/internal/relaytest"
)

// TestCancel: what was taken back never fires, what fired cannot be taken
// back, and what was never given out is unknown.
func TestCancel(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	other := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	path := func(id string) string { return relaytest.PushPath + "/" + id }

	var gone []string
	for n := range 40 {
		kind := [][]string{{toToken("a")}, {}, {`"tokens":["a","b"]`}}[n%3]
		id := pushed(t, p, body(fmt.Sprintf("cancelled-%d", n), append(kind, inSeconds(1))...))
		pushed(t, p, body(fmt.Sprintf("kept-%d", n), append(kind, inSeconds(1))...))
		d := wantData(t, call(t, p, "DELETE", path(id), ""))
		wantMember(t, d, "id", quote(id))
		wantMember(t, d, "status", `"cancelled"`)
		gone = append(gone, id)
	}
	for n := range 40 {
		wantEvent(t, c, fmt.Sprintf("kept-%d", n)) // and no cancelled one
	}
	for _, id := range gone[:5] {
		for _, method := range []string{"GET", "DELETE"} {
			if msg := wantRefusal(t, call(t, p, method, path(id), ""), 404); !strings.Contains(msg, "cancel") {
				t.Errorf("%s: %q does not say that it was cancelled", method, msg)
			}
		}
	}

	sent := pushed(t, p, body("sent", toToken("a")))
	fired := pushed(t, p, body("fired", toToken("a"), inSeconds(1)))
	wantEvent(t, c, "sent")
	wantEvent(t, c, "fired")
	for _, id := range []string{sent, fired, strings.ToUpper(fired)} {
		wantRefusal(t, call(t, p, "DELETE", path(id), ""), 409)
		wantRefusal(t, call(t, p, "GET", path(id), ""), 404)
	}

	foreign := pushed(t, other.Publisher(t), body("foreign", inSeconds(anHour)))
	mine := pushed(t, p, body("mine", inSeconds(anHour)))
	flip := func(at int) string {
		b := []byte(mine)
		if b[at] == '0' {
			b[at] = '1'
		} else {
			b[at] = '0'
		}
		return string(b)
	}
	for _, id := range []string{foreign, flip(0), flip(12), flip(22), flip(30), flip(35), "1", "x" + mine, mine + "0", strings.ReplaceAll(mine, "-", ""), "%2e%2e", "00000000-0000-7000-8000-000000000000"} {
		for _, method := range []string{"GET", "DELETE"} {
			wantRefusal(t, call(t, p, method, path(id), ""), 404)
		}
	}
	wantData(t, call(t, p, "DELETE", path(strings.ToUpper(mine)), ""))
}

// TestCancelAtTheMoment races the firing: what was answered with 200 does not
// come, what was answered with 409 does.
func TestCancelAtTheMoment(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	due := time.Now().Add(1500 * time.Millisecond)
	const pushes = 300
	var pushedIDs []string
	for n := range pushes {
		pushedIDs = append(pushedIDs, pushed(t, p, body(fmt.Sprintf("n%d", n), toToken("a"), at(due.Add(time.Duration(n)*time.Millisecond)))))
	}
	var want []string
	eventually(t, "the moment", func() bool { return time.Now().After(due) })
	cancelled := 0
	for n := range pushes { // from the far end towards what is firing
		n = pushes - 1 - n
		switch answer := call(t, p, "DELETE", relaytest.PushPath+"/"+pushedIDs[n], ""); answer.Status {
		case 200:
			cancelled++
		case 409:
			want = append(want, fmt.Sprintf("n%d", n))
		default:
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	slices.Reverse(want)
	for _, event := range want {
		wantEvent(t, c, event)
	}
	eventually(t, "the last moment", func() bool { return time.Now().After(due.Add(pushes * time.Millisecond)) })
	push(t, p, body("last", toToken("a")))
	wantEvent(t, c, "last")
	t.Logf("%d cancelled, %d fired", cancelled, len(want))
}

// TestPushPathMethods: which methods each path knows.
func TestPushPathMethods(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	id := pushed(t, p, body("e", inSeconds(anHour)))
	for target, allow := range map[string]string{
		relaytest.PushPath: "POST", relaytest.PushPath + "?status=scheduled": "GET, POST", batchPath: "POST", onlinePath: "GET, POST", disconnectPath: "POST", relaytest.PushPath + "/" + id: "GET, DELETE",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if strings.Contains(allow, method) {
				continue
			}
			answer, err := p.Do(method, target, nil) // without a key: the method is judged first
			if err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, answer, 405)
			if got := answer.Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, target, got, allow)
			}
		}
	}
	wantData(t, call(t, p, "GET", relaytest.PushPath+"/"+id, "")) // none of these took it back
}

// TestHead: HEAD is answered like GET, without the body.
func TestHead(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	id := pushed(t, p, body("e", inSeconds(anHour)))
	for target, status := range map[string]int{
		relaytest.PushPath: 405, relaytest.PushPath + "?status=scheduled": 200, relaytest.PushPath + "/" + id: 200, relaytest.PushPath + "/x": 404,
		onlinePath + "?token=a": 200, relaytest.PushPath + "?limit=0": 400, batchPath: 405, "/nowhere": 404,
	} {
		request, err := http.NewRequest("HEAD", "http://"+r.Addr+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-KEY", relaytest.Key)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		answer.Body.Close()
		if answer.StatusCode != status || answer.ContentLength <= 0 || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD %s: %d, length %d, %v; want %d and the headers of a GET", target, answer.StatusCode, answer.ContentLength, answer.Header, status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
