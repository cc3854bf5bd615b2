package test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

func key(name string) string { return "Idempotency-Key: " + name }

// replayed says whether the answer is that of an earlier push, and fails if
// the header has another value than it may.
func replayed(t testing.TB, r *wsclient.Response) bool {
	t.Helper()
	values := r.Header.Values("Idempotency-Replayed")
	if len(values) > 1 || len(values) == 1 && values[0] != "true" {
		t.Errorf("Idempotency-Replayed %q", values)
	}
	return len(values) == 1
}

// wantReplay sends the same again and wants the first answer, byte for byte.
func wantReplay(t testing.TB, first, again *wsclient.Response) {
	t.Helper()
	if again.Status != first.Status || !bytes.Equal(again.Body, first.Body) || !replayed(t, again) {
		t.Errorf("again: %d %s, replayed %v; first: %d %s", again.Status, again.Body, replayed(t, again), first.Status, first.Body)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	for _, row := range []struct{ name, path, body string }{
		{"user", relaytest.PushPath, body("x", toToken("a"))},
		{"nobody there", relaytest.PushPath, body("x", toToken("b"))},
		{"everybody", relaytest.PushPath, body("x")},
		{"raw token", relaytest.PushPath, body("x", `"token": { "id" : "a" , "z":1.50 }`, `"delay_seconds":-3`)},
		{"escaped event", relaytest.PushPath, `{"event_name":"\u0078\/","subject":1,"token":"a"}`},
		{"several", relaytest.PushPath, body("x", `"tokens":["a","b","a"]`)},
		{"delayed", relaytest.PushPath, body("x", toToken("a"), inSeconds(anHour))},
		{"at", relaytest.PushPath, body("x", `"tokens":["a"]`, at(time.Now().Add(time.Hour)))},
		{"batch", batchPath, `{"items":[` + body("x", toToken("a")) + `,{},` + body("x", inSeconds(anHour)) + `]}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := key("replay/" + strings.ReplaceAll(row.name, " ", "-"))
			first := call(t, p, "POST", row.path, row.body, name)
			wantData(t, first)
			if replayed(t, first) {
				t.Error("the first answer is called a replay")
			}
			if !strings.Contains(row.body, "3600") && strings.Contains(string(first.Body), `"matched":1`) || row.name == "batch" {
				readEnvelope(t, c)
			}
			for range 3 {
				wantReplay(t, first, call(t, p, "POST", row.path, row.body, name))
			}
			wantRefusal(t, call(t, p, "POST", row.path, row.body+" ", name), 409)
			wantRefusal(t, call(t, p, "POST", row.path, strings.Replace(row.body, `"x"`, `"y"`, 1)+"\n", name), 409)
			wantReplay(t, first, call(t, p, "POST", row.path, row.body, name)) // the 409 changed nothing
		})
	}
	if got := len(list(t, p, "", 0)); got != 3 {
		t.Errorf("%d pushes wait, want 3", got)
	}
	push(t, p, body("last", toToken("a")))
	wantEvent(t, c, "last") // and nothing twice before
}

// TestReplayScope: a key stands for one request, path and body, and only what
// was accepted is remembered.
func TestReplayScope(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	p := r.Publisher(t)
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	text := `{"event_name":"n1","subject":1,"token":"a","items":[` + body("n2", toToken("a")) + `]}`
	first := call(t, p, "POST", relaytest.PushPath, text, key("same"))
	wantData(t, first)
	wantRefusal(t, call(t, p, "POST", batchPath, text, key("same")), 409)
	wantReplay(t, first, call(t, p, "POST", relaytest.PushPath+"?x=1", text, key("same")))
	wantEvent(t, c, "n1")
	for _, name := range []string{"SAME", "same/2"} { // keys are compared as they are
		push := call(t, p, "POST", relaytest.PushPath, body("n3", toToken("a")), key(name))
		if push.Status != 200 || replayed(t, push) {
			t.Errorf("%s: %d %s", name, push.Status, push.Body)
		}
		wantEvent(t, c, "n3")
	}

	wantRefusal(t, call(t, p, "POST", relaytest.PushPath, `{"event_name":"e"}`, key("again")), 400)
	if retry := call(t, p, "POST", relaytest.PushPath, body("n4", toToken("a")), key("again")); retry.Status != 200 || replayed(t, retry) {
		t.Errorf("after a refusal: %d %s", retry.Status, retry.Body)
	}
	wantEvent(t, c, "n4")

	for _, wrong := range []string{"", " ", "a b", "ü", repeat("k", 129), "a\tb"} {
		wantRefusal(t, call(t, p, "POST", relaytest.PushPath, body("wrong", toToken("a")), key(wrong)), 400)
	}
	for _, right := range []string{repeat("k", 128), `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` + "`"} {
		first := call(t, p, "POST", relaytest.PushPath, body("right", toToken("a")), key(right))
		wantData(t, first)
		wantReplay(t, first, call(t, p, "POST", relaytest.PushPath, body("right", toToken("a")), key(right)))
		wantEvent(t, c, "right")
	}
	push(t, p, body("last", toToken("a")))
	wantEvent(t, c, "last")
}

// TestTwins sends the same push many times at the same moment: one is sent,
// all get its answer.
func TestTwins(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{})
	c := r.Dial(t, "/ws?token=a")
	settle(t, c)
	const twins = 12
	publishers := make([]*relaytest.Publisher, twins)
	for i := range publishers {
		publishers[i] = r.Publisher(t)
		call(t, publishers[i], "GET", onlinePath+"?token=a", "") // is connected
	}
	delayed := 0
	for round := range 60 {
		path, text := relaytest.PushPath, body(fmt.Sprintf("n%d", round), toToken("a"))
		switch round % 3 {
		case 1:
			text = body("later", toToken("b"), inSeconds(anHour))
			delayed++
		case 2:
			path, text = batchPath, `{"items":[`+text+`]}`
		}
		answers, errs := make([]*wsclient.Response, twins), make([]error, twins)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i, p := range publishers {
			wg.Go(func() {
				<-start
				answers[i], errs[i] = p.Do("POST", path, []byte(text), "X-API-KEY: "+p.Key, key(fmt.Sprintf("twins-%d", round)))
			})
		}
		close(start)
		wg.Wait()
		firsts := 0
		for i, answer := range answers {
			if errs[i] != nil || answer.Status != 200 || !bytes.Equal(answer.Body, answers[0].Body) {
				t.Fatalf("round %d: %+v %v", round, answer, errs[i])
			}
			if !replayed(t, answer) {
				firsts++
			}
		}
		if firsts != 1 {
			t.Errorf("round %d: %d of %d twins were sent", round, firsts, twins)
		}
		if round%3 != 1 {
			wantEvent(t, c, fmt.Sprintf("n%d", round))
		}
	}
	if got := len(list(t, publishers[0], "", 0)); got != delayed {
		t.Errorf("%d pushes wait, want %d", got, delayed)
	}
	push(t, publishers[0], body("last", toToken("a")))
	wantEvent(t, c, "last")
}

// TestTwinOfARefused: a twin that waited for a push that was refused is judged
// by itself; nothing is sent twice, nothing hangs.
func TestTwinOfARefused(t *testing.T) {
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_delayed": 1}})
	const twins = 8
	for round := range 20 {
		var wg sync.WaitGroup
		statuses := make([]int, twins)
		for i := range twins {
			wg.Go(func() {
				p := &relaytest.Publisher{Addr: r.Addr, Key: relaytest.Key}
				defer p.Close()
				answer, err := p.Do("POST", relaytest.PushPath, []byte(body("e", fmt.Sprintf(`"delay_seconds":%d`, anHour+round))),
					"X-API-KEY: "+p.Key, key(fmt.Sprintf("refused-%d", round)))
				if err == nil {
					statuses[i] = answer.Status
				}
			})
		}
		wg.Wait()
		want := slices.Repeat([]int{503}, twins)
		if round == 0 { // the one place is taken by the first
			want = slices.Repeat([]int{200}, twins)
		}
		if !slices.Equal(statuses, want) {
			t.Fatalf("round %d: %v", round, statuses)
		}
	}
}

// TestIdempotencyWindow: after the window the key is free again.
func TestIdempotencyWindow(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"idempotency_window": "2s"}})
	p := r.Publisher(t)
	for _, path := range []string{relaytest.PushPath, batchPath} {
		text := `{"event_name":"n","subject":1,"items":[` + body("n") + `]}`
		began := time.Now()
		first := call(t, p, "POST", path, text, key("window"+path))
		wantData(t, first)
		eventually(t, "the end of the window", func() bool {
			again := call(t, p, "POST", path, text, key("window"+path))
			if replayed(t, again) {
				wantReplay(t, first, again)
				return false
			}
			if early := time.Since(began); early < 2*time.Second-2*time.Millisecond { // it counts in milliseconds
				t.Errorf("%s: forgotten after %v", path, early)
			}
			return again.Status == 200 && !bytes.Equal(first.Body, again.Body)
		})
	}
}

// TestIdempotencyMemory: past its bound new keys are refused and none that was
// promised is forgotten.
func TestIdempotencyMemory(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_idempotency_bytes": 64 << 10}})
	p := r.Publisher(t)
	text := body("e", toToken("a"))
	var first []*wsclient.Response
	for n := 0; ; n++ {
		answer := call(t, p, "POST", relaytest.PushPath, text, key(fmt.Sprintf("memory-%d", n)))
		if answer.Status != 200 {
			wantRefusal(t, answer, 503)
			wantRetryAfter(t, answer)
			break
		}
		if first = append(first, answer); n > 4096 {
			t.Fatal("64 KiB hold more than 4096 keys")
		}
	}
	t.Logf("64 KiB hold %d keys", len(first))
	if len(first) < 64 {
		t.Errorf("64 KiB hold only %d keys", len(first))
	}
	for n, answer := range first {
		wantReplay(t, answer, call(t, p, "POST", relaytest.PushPath, text, key(fmt.Sprintf("memory-%d", n))))
	}
	wantRefusal(t, call(t, p, "POST", batchPath, `{"items":[`+text+`]}`, key("batch")), 503)
	push(t, p, text) // without a key it goes on
}

// TestReplayAfterACrash: the keys of delayed pushes are as safe as these.
func TestReplayAfterACrash(t *testing.T) {
	t.Parallel()
	r := relaytest.StartRelay(t, relaytest.Setup{})
	texts := map[string]string{
		"user":    body("e", `"token":{ "id" : 7 }`, inSeconds(anHour)),
		"all":     body("e", inSeconds(anHour)),
		"several": body("e", `"tokens":["a",7,"a"]`, at(time.Now().Add(time.Hour))),
		"batch":   `{"items":[` + body("e", toToken("a"), inSeconds(anHour)) + `,5,` + body("e", `"tokens":["a"]`, inSeconds(anHour)) + `]}`,
		"mixed":   `{"items":[` + body("e", toToken("a")) + `,` + body("e", inSeconds(anHour)) + `]}`,
	}
	path := func(name string) string {
		if strings.Contains(texts[name], "items") {
			return batchPath
		}
		return relaytest.PushPath
	}
	first := map[string]*wsclient.Response{}
	p := r.Publisher(t)
	for name, text := range texts {
		first[name] = call(t, p, "POST", path(name), text, key("crash-"+name))
		wantData(t, first[name])
	}
	waiting := ids(list(t, p, "", 0))
	for range 2 { // a start reads what a start kept
		r.Kill()
		r = restart(t, r, nil)
		p = r.Publisher(t)
		for name, text := range texts {
			wantReplay(t, first[name], call(t, p, "POST", path(name), text, key("crash-"+name)))
			wantRefusal(t, call(t, p, "POST", path(name), text+" ", key("crash-"+name)), 409)
		}
		if got := ids(list(t, p, "", 0)); !slices.Equal(got, waiting) {
			t.Errorf("waiting: %v, want %v", got, waiting)
		}
	}
}
