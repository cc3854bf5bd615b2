package test

import (
	"fmt"
	"testing"

	"gorelay/internal/relaytest"
	"gorelay/internal/wsclient"
)

// TestMoveDuringPush changes the tokens of all connections in the very moment
// of a push, again and again. Nothing else is sent, so that a message which
// stays behind in a move is not carried on by the next one: it is missed.
func TestMoveDuringPush(t *testing.T) {
	const movers = 48
	rounds := 200
	if relaytest.Race {
		rounds = 60
	}
	r := relaytest.StartRelay(t, relaytest.Setup{Config: relaytest.Config{"max_message_rate": 1_000_000}})
	p := r.Publisher(t)
	var conns []*wsclient.Conn
	for i := range movers {
		c := r.Dial(t, fmt.Sprintf("/ws?token=start-%d", i))
		settle(t, c)
		conns = append(conns, c)
	}
	for round := range rounds {
		moved := make(chan error, 1)
		go func() { // ends with the round
			for i, c := range conns {
				if err := c.SendText(fmt.Sprintf(`{"event":"identify","data":{"token":"r%d-%d"}}`, round, i%7)); err != nil {
					moved <- err
					return
				}
			}
			moved <- nil
		}()
		event := fmt.Sprintf("all-%d", round)
		push(t, p, `{"event_name":"`+event+`","subject":1}`)
		for _, c := range conns {
			wantEvent(t, c, event)
		}
		if err := <-moved; err != nil {
			t.Fatal(err)
		}
	}
	// All moves count, the last ones too.
	for i, c := range conns {
		settle(t, c)
		push(t, p, fmt.Sprintf(`{"event_name":"one","subject":%d,"token":"r%d-%d"}`, i, rounds-1, i%7))
		push(t, p, `{"event_name":"end","subject":1}`)
		wantEvent(t, c, "one")
		wantEvent(t, c, "end")
		for _, other := range conns[i+1:] { // in step again
			for {
				if e, _ := readEnvelope(t, other); e.Event == "end" {
					break
				}
			}
		}
	}
}
