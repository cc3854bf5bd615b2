package relaytest

import "testing"

func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"clean", "INFO listening port=3000\n", ""},
		{"panic", "panic: oh\n", `"panic"`},
		{"count of none", "stopped pings=0 panics=0 closed=0\n", ""},
		{"count of one", "stopped pings=0 panics=1 closed=0\n", `"panic"`},
		{"race", "WARNING: DATA RACE\n", `"DATA RACE"`},
		{"stack", "SIGQUIT: quit\n\ngoroutine 1 [running]:\n", `"\ngoroutine 1 ["`},
		{"first secret", "user=alice\n", "secret 0"},
		{"third secret", "key=hidden\n", "secret 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l logBuffer
			if _, err := l.Write([]byte(c.log)); err != nil {
				t.Fatal(err)
			}
			if got := l.faults([]string{"alice", "", "hidden"}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDumpIsNoFault(t *testing.T) {
	var l logBuffer
	l.Write([]byte("before\n"))
	mark := len(l.String())
	l.Write([]byte("SIGQUIT: quit\n\ngoroutine 1 [running]:\nmain.main()\n"))
	if dump := l.takeDump(mark); dump == "" || l.String() != "before\n" || l.faults(nil) != "" {
		t.Errorf("dump %q, rest %q", dump, l.String())
	}
}
