package main

const (
	fullCore = 85 // percent: one that is busier has no room left

	// behind is how late the publishers may be, by their 99th percentile, in
	// microseconds, before that is worth a note.
	behind = 1000
)

// judge notes when the clients were what limited a measurement.
func (b *bench) judge(s *server, w work) {
	if b.clientCPU >= 0 && s.known() && w.clients > fullCore && w.busy < fullCore {
		b.report.warn("%s: the bench was the bottleneck: its core was more than %d %% busy, the server's was not. Rates are the bench's own; CPU figures hold", s.name, fullCore)
	}
	if w.others > 10 {
		b.report.warn("other programs used a tenth or more of the server's core: look at the ratios, and run it again on a machine at rest")
	}
}

// judgeLag says how late the publishers were, and notes when that is much of
// what was measured.
func (b *bench) judgeLag(s *server, t *traffic, l *latencies) {
	lag, reply := t.lag()
	b.report.timed(s.name, "of the answer to a push", reply)
	b.report.timed(s.name, "of the bench's own publishers", lag)
	if lag.at(99) > behind && lag.at(99) > l.Unicast.at(99)/2 {
		b.report.warn("%s: half of the p99 or more is the bench's own: its publishers woke late, see their line. Take a lower -rate, or give the bench more cores", s.name)
	}
}

// quantiles are the latencies of one round by server, to be compared.
type quantiles struct {
	p50, p99, p999, most []reading
}

func (q *quantiles) add(server string, s *spread) {
	q.p50 = append(q.p50, reading{server, s.at(50)})
	q.p99 = append(q.p99, reading{server, s.at(99)})
	q.p999 = append(q.p999, reading{server, s.at(99.9)})
	q.most = append(q.most, reading{server, s.at(100)})
}

func (q *quantiles) enter(b *bench, what string) {
	b.report.compare(what+" p50", "µs", lower, q.p50)
	b.report.compare(what+" p99", "µs", lower, q.p99)
	b.report.compare(what+" p99.9", "µs", lower, q.p999)
	b.report.compare(what+" max", "µs", lower, q.most)
}
