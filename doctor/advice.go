package doctor

import (
	"fmt"
	"time"
)

// These checks bound no connections. They tell what makes many of them slow to
// come, or dear.

// advise is a check of a number that should be at least needed.
func (e examiner) advise(c Check, value Number, needed int64, apply string) Check {
	c.Value, c.Needed = value.String(), Known(needed).String()
	switch {
	case !value.known:
		c.Verdict = Unknown
	case value.n < needed:
		c.Verdict, c.Apply = Advice, []string{apply}
	default:
		c.Verdict = OK
	}
	return c
}

// arrivals is how many connections may come while a loop is busy.
func (e examiner) arrivals() int64 { return min(max(e.n, 1), burst(e.f.Cores), 65535) }

func (e examiner) somaxconn() Check {
	need := e.arrivals()
	return e.advise(Check{Name: "net.core.somaxconn", Why: "connections that wait to be accepted when everybody reconnects; past it a client waits a second and tries again"},
		e.f.Somaxconn, need, e.ours("net.core.somaxconn", rounded(need)))
}

func (e examiner) synBacklog() Check {
	need := e.arrivals()
	c := e.advise(Check{Name: "net.ipv4.tcp_max_syn_backlog", Why: "handshakes of TCP under way, and connections that have said nothing yet"},
		e.f.SynBacklog, need, e.ours("net.ipv4.tcp_max_syn_backlog", rounded(need)))
	if c.Verdict == Advice && e.f.SynCookies.known && e.f.SynCookies.n > 0 {
		c.Verdict, c.Apply = OK, nil
		c.Why += "; not enforced while tcp_syncookies is on"
	}
	return c
}

func (e examiner) ports() Check {
	c := Check{Name: "net.ipv4.ip_local_port_range", Value: "unknown", Verdict: Unknown,
		Why: "no limit for clients from elsewhere; a proxy or bench on this machine has so many ports to one address of the relay"}
	low, high := e.f.LowPort, e.f.HighPort
	if !low.known || !high.known || high.n < low.n {
		return c
	}
	ports := high.n - low.n + 1
	c.Value, c.Verdict = fmt.Sprintf("%d %d", low.n, high.n), Note
	if e.n > ports {
		c.Why += fmt.Sprintf("; for %d connections give it %d addresses (127.0.0.2, ...)", e.n, (e.n+ports-1)/ports)
	}
	if port := int64(e.r.Port); port >= low.n && port <= high.n && !e.f.reserves(port) {
		c.Verdict, c.Apply = Advice, []string{e.ours("net.ipv4.ip_local_reserved_ports", port)}
		c.Why += "; the relay's own port is among them, so an outgoing connection can take it while the relay is down"
	}
	return c
}

func (e examiner) sendBuffers() Check {
	return Check{Name: "net.ipv4.tcp_wmem", Value: e.f.TCPWmem.String(), Verdict: noteIf(e.f.TCPWmem[2].known),
		Why: fmt.Sprintf("a client that takes nothing holds up to %s in the kernel: the relay lets only 128 KiB stand unsent in a socket", size(stalled))}
}

func (e examiner) receiveBuffers() Check {
	return Check{Name: "net.ipv4.tcp_rmem", Value: e.f.TCPRmem.String(), Verdict: noteIf(e.f.TCPRmem[2].known),
		Why: "grows only as data arrives, and the relay reads at once: an idle connection has none"}
}

func (e examiner) congestion() Check {
	c := Check{Name: "net.ipv4.tcp_congestion_control", Value: e.f.Congestion, Verdict: noteIf(e.f.Congestion != ""), Why: "how fast a connection may send"}
	switch e.f.Congestion {
	case "":
		c.Value = "unknown"
	case "bbr":
		c.Why = fmt.Sprintf("a small send costs at most %d %% more processor time than under cubic (measured on loopback); bbr pays on lossy lines", bbrPercent)
	}
	return c
}

// processors says what the connections cost in time; advice where pings alone
// would keep half of the cores busy: to ping less, as far as proxies bear it,
// and past that more cores.
func (e examiner) processors() Check {
	cores := time.Duration(e.f.Cores)
	took := func(each time.Duration) string {
		return (time.Duration(e.n) * each / cores).Round(10 * time.Millisecond).String()
	}
	c := Check{Name: "cores", Value: fmt.Sprint(e.f.Cores), Verdict: Note,
		Why: fmt.Sprintf("with all of them, a broadcast takes %s and everybody's handshakes %s; up to twice that where other work slows the machine", took(deliveryTime), took(handshakeTime))}
	if e.r.PingInterval <= 0 || e.n == 0 {
		return c
	}
	busy := float64(e.n) * pingTime.Seconds() / e.r.PingInterval.Seconds() // cores
	c.Why += fmt.Sprintf("; pings keep %.2f of them busy", busy)
	if busy <= float64(e.f.Cores)/2 {
		return c
	}
	c.Verdict = Advice
	longer := time.Duration(2*busy/float64(e.f.Cores)*float64(e.r.PingInterval)).Truncate(time.Second) + time.Second
	most := max(e.r.PingInterval, longestPing)
	if interval := min(longer, most); interval > e.r.PingInterval {
		c.Apply = append(c.Apply, fmt.Sprintf(`"ping_interval": "%ds"`, int64(interval.Seconds())))
	}
	if longer > most {
		need := (2*time.Duration(e.n)*pingTime + most - 1) / most
		c.Why += fmt.Sprintf("; many proxies bear no silence longer than %s, so what helps is more cores", longestPing)
		c.Apply = append(c.Apply, fmt.Sprintf("a machine with %d cores", need))
	}
	return c
}

func noteIf(known bool) Verdict {
	if known {
		return Note
	}
	return Unknown
}

// ours is the line that sets a sysctl of the relay's own network namespace.
func (e examiner) ours(name string, value any) string {
	if e.f.Container {
		return fmt.Sprintf("docker run --sysctl %s=%v", name, value)
	}
	return fmt.Sprintf("sysctl -w %s=%v", name, value)
}
