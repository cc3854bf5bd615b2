package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// TestCancelByTwo: of those who take a push back or look at it while it is
// being taken back, one gets 200 and nobody is told that it has fired.
func TestCancelByTwo(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"data", "none"} {
		t.Run("data_dir "+dir, func(t *testing.T) {
			t.Parallel()
			r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"data_dir": dir}})
			methods := []string{"DELETE", "DELETE", "DELETE", "GET", "GET"}
			publishers := make([]*relaytest.Publisher, len(methods))
			for i := range methods {
				publishers[i] = r.Publisher(t)
			}
			for n := range 60 {
				id := pushed(t, publishers[0], body(fmt.Sprintf("n%d", n), toToken("a"), inSeconds(anHour)))
				answers := make([]*wsclient.Response, len(methods))
				var all sync.WaitGroup
				for i, method := range methods {
					all.Go(func() {
						p := publishers[i]
						answer, err := p.Do(method, relaytest.PushPath+"/"+id, nil, "X-API-KEY: "+p.Key)
						if err != nil {
							t.Error(err)
						}
						answers[i] = answer
					})
				}
				all.Wait()
				if t.Failed() {
					return
				}
				cancelled := 0
				for i, answer := range answers {
					switch {
					case answer.Status == 200 && methods[i] == "DELETE":
						cancelled++
					case answer.Status == 200 && strings.Contains(string(answer.Body), `"scheduled"`):
					case answer.Status == 404 && strings.Contains(string(answer.Body), "it was cancelled"):
					default:
						t.Fatalf("push %d, %s: %d %s", n, methods[i], answer.Status, answer.Body)
					}
				}
				if cancelled != 1 {
					t.Fatalf("push %d: %d were told that they took it back", n, cancelled)
				}
			}
		})
	}
}

// TestUnreadable: a push that waits but cannot be read is not said to have
// fired.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := relaytest.StartRelay(t, relaytest.Setup{Dir: dir, Config: relaytest.Config{"data_dir": "data"}})
	p := r.Publisher(t)
	id := pushed(t, p, body("later", toToken("a"), at(time.Now().Add(anHour*time.Second))))
	if err := os.Truncate(filepath.Join(dir, "data", "delayed.db"), 0); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "DELETE", "GET"} {
		answer := call(t, p, method, relaytest.PushPath+"/"+id, "")
		if msg := wantRefusal(t, answer, 503); !strings.Contains(msg, "the disk fails") {
			t.Errorf("%s: %q does not say that the disk fails", method, msg)
		}
		wantRetryAfter(t, answer)
	}
	wantHealthy(t, r)
}
