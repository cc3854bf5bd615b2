package main

import (
	"flag"
	"fmt"
	"time"
)

// workload is one thing that can be measured.
type workload struct {
	name    string
	summary string
	flags   func(*flag.FlagSet, *options)
	run     func(*bench) error
}

func workloads() []workload {
	return []workload{
		{"connect", "handshakes a second, their latency and failures", func(f *flag.FlagSet, o *options) {
			o.connsFlag(f, 15_000)
			o.roundsFlag(f, 3)
		}, (*bench).ramps},
		{"idle", "memory of an idle connection, CPU of a handshake", func(f *flag.FlagSet, o *options) {
			o.roundsFlag(f, 3)
			f.IntVar(&o.small, "small", 2_000, "`number` of connections of the small size")
			f.IntVar(&o.large, "large", 15_000, "`number` of connections of the large size")
		}, (*bench).idle},
		{"broadcast", "CPU of a delivery when everybody gets a message", func(f *flag.FlagSet, o *options) {
			o.connsFlag(f, 15_000)
			o.payloadFlag(f, 128)
			o.roundsFlag(f, 5)
			f.IntVar(&o.broadcasts, "broadcasts", 20, "`number` of broadcasts one at a time in a round")
			f.IntVar(&o.bursts, "bursts", 5, fmt.Sprintf("`number` of bursts of %d broadcasts in a round", burst))
		}, (*bench).broadcast},
		{"push", "CPU and rate of pushes to single clients; with -rate their latency", func(f *flag.FlagSet, o *options) {
			o.connsFlag(f, 15_000)
			o.payloadFlag(f, 128)
			o.roundsFlag(f, 5)
			o.publishersFlag(f, 16)
			f.IntVar(&o.pushes, "pushes", 40_000, "`number` of pushes in a round of the closed loop; rounded down, so that publishers and turns have as many each")
			o.rateFlag(f, 0)
			o.timeFlag(f, 10*time.Second)
		}, (*bench).push},
		{"mixed", "latency of pushes to single clients while broadcasts run", func(f *flag.FlagSet, o *options) {
			o.trafficFlags(f, 15_000, 128, 1000, 3)
			o.roundsFlag(f, 3)
			o.timeFlag(f, 10*time.Second)
		}, (*bench).mixed},
		{"delay", "delayed pushes: rate, memory, lateness when all are due at once; with -restart over a crash", func(f *flag.FlagSet, o *options) {
			o.connsFlag(f, 15_000)
			o.payloadFlag(f, 128)
			o.roundsFlag(f, 2)
			o.publishersFlag(f, 64) // they share the syncs of the disk
			f.IntVar(&o.delayed, "delayed", 200_000, "`number` of delayed pushes that wait at once")
			f.DurationVar(&o.within, "within", time.Second, "`time`, in whole seconds, that they are due over")
			f.DurationVar(&o.ahead, "ahead", 30*time.Second, "`time` from the first push until the first is due")
			f.BoolVar(&o.restart, "restart", false, "kill the relay when all are accepted, and start it again on the same data before the first is due")
		}, (*bench).delay},
		{"churn", "clients that come and go under pushes; what they leave behind", func(f *flag.FlagSet, o *options) {
			o.trafficFlags(f, 5_000, 128, 500, 5)
			o.moversFlag(f, 2_000, "`number` of connections that come and go, besides -conns")
			o.comingsFlag(f, 1000)
			o.roundsFlag(f, 3)
			o.timeFlag(f, 10*time.Second)
		}, (*bench).churn},
		{"slow", "what readers that have stalled do to the others", func(f *flag.FlagSet, o *options) {
			o.trafficFlags(f, 500, 8192, 200, 50)
			o.moversFlag(f, 50, "`number` of connections that stall, besides -conns")
			o.roundsFlag(f, 2)
			o.timeFlag(f, 20*time.Second)
		}, (*bench).slow},
		{"storm", "everybody drops and returns at once", func(f *flag.FlagSet, o *options) {
			o.connsFlag(f, 10_000) // twice as many at once, until the old ones are gone
			o.payloadFlag(f, 128)
			o.roundsFlag(f, 3)
			f.IntVar(&o.storms, "storms", 3, "`number` of storms in a round")
		}, (*bench).storm},
		{"soak", "all of it for a long time, with a sample a minute", func(f *flag.FlagSet, o *options) {
			o.trafficFlags(f, 5_000, 128, 500, 0.5)
			o.moversFlag(f, 1_000, "`number` of connections that come and go, besides -conns")
			o.comingsFlag(f, 50)
			o.timeFlag(f, time.Hour)
			f.Float64Var(&o.delayRate, "delay-rate", 100, fmt.Sprintf("pushes a second that are delayed by %d s", delaySeconds))
			f.DurationVar(&o.sampling, "sample", time.Minute, "`time` between two samples with latencies")
			o.rounds = 1
		}, (*bench).soak},
	}
}
