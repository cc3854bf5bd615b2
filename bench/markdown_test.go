package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	var r report
	r.run = runInfo{Type: "run", Workload: "mixed", build: build{"0123abc", true, "go1.26"}, Machine: "a machine",
		Flags: []string{"-rounds", "2", "-json", "x.json", "-relay=./relay", "--report", "y.html", "-conns=5"}}
	r.add("relay push alone p99", "µs", lower, 2000)
	r.add("relay push alone p99", "µs", lower, 3000)
	r.add("relay push beside broadcasts p99 ÷ goroutine", "", lower, 0.5)
	r.add("nobody asks for this", "", lower, 1)
	r.count(underTest, tally{Expected: 7, Delivered: 6, Lost: 1})
	r.count(besideRoutine, tally{Expected: 7, Delivered: 5, Lost: 2})
	d := document{runs: []runInfo{r.run}, figures: r.figures, accounts: r.accounts}
	var text strings.Builder
	if err := writeMarkdown(&text, d); err != nil {
		t.Fatal(err)
	}
	const command = "`go run ./bench mixed -rounds 2 -conns=5`"
	for _, want := range []string{
		"| p99 of a push | 2.500 ms | 2.000 to 3.000 | " + command + " |\n",
		"| the same ÷ a goroutine a socket | 0.500 × | 0.500 to 0.500 | " + command + " |\n",
		"Of 7 messages that the relay had to deliver: 1 lost, 0 duplicated",
		"Commit 0123abc (dirty), go1.26, a machine",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if rows := strings.Count(text.String(), command); rows != 2 {
		t.Errorf("%d rows, want 2:\n%s", rows, text.String())
	}
}

// TestHighlights: every figure of the table is one that its workload has.
func TestHighlights(t *testing.T) {
	relay := buildRelay(t)
	for workload, args := range map[string][]string{
		"idle":             {"idle", "-small", "5", "-large", "105"}, // so many that the goroutine design grows by pages
		"broadcast":        {"broadcast", "-conns", "5", "-broadcasts", "1", "-bursts", "1"},
		"push":             {"push", "-conns", "5", "-publishers", "1", "-pushes", "5"},
		"mixed":            {"mixed", "-conns", "5", "-publishers", "2", "-probes", "2", "-rate", "50", "-time", "100ms"},
		"mixed -all-cores": {"mixed", "-all-cores", "-conns", "5", "-publishers", "2", "-probes", "2", "-rate", "50", "-time", "100ms"},
		"soak -all-cores":  {"soak", "-all-cores", "-conns", "5", "-publishers", "2", "-time", "500ms", "-sample", "1m"},
		"delay":            {"delay", "-conns", "5", "-publishers", "1", "-delayed", "5", "-ahead", "1s"},
		"delay -restart":   {"delay", "-restart", "-conns", "5", "-publishers", "1", "-delayed", "5", "-ahead", "6s"},
		"storm":            {"storm", "-conns", "5", "-storms", "1"},
	} {
		t.Run(workload, func(t *testing.T) {
			t.Parallel()
			if args = append(args, "-relay", relay); args[0] != "soak" { // that has samples instead: one here
				args = append(args, "-rounds", "1")
			}
			o := runJSON(t, args...)
			if o.code != exitOK {
				t.Fatal(o.notes)
			}
			found := 0
			for _, h := range highlights() {
				if h.workload != workload {
					continue
				}
				found++
				if o.rounds[h.figure] != 1 {
					t.Errorf("no %q in %v", h.figure, o.rounds)
				}
			}
			if found == 0 {
				t.Error("nothing of it is in the table")
			}
		})
	}
}

func TestStamp(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []debug.BuildSetting
		want     string
	}{
		{"none", nil, "unknown"},
		{"of a commit", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "false"}}, "0123456789ab"},
		{"of a commit and changes", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}, "0123456789ab (dirty)"},
		{"short", []debug.BuildSetting{{Key: "vcs.revision", Value: "01"}}, "01"},
	} {
		b := build{Commit: unknownCommit}
		if b.stamp(c.settings); b.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, b, c.want)
		}
	}
}
