package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Examine(fake(server()).Facts(), relay(), 500_000).WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CHECK  ", "open files  ", "hard 20000 (soft 1024)", "501588", "18412 <", "short",
		"\nConfig file: /srv/relay/config.json\n500000 connections do not fit: open files stops at 18412.",
		"\nApply:\n  LimitNOFILE=510000\n  ulimit -n 510000\n",
		`  sysctl -w net.ipv4.tcp_mem="510000 630000 760000"`,
		"\nWhy:\n  open files: a connection is one descriptor",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	for _, tc := range []struct {
		files map[string]string
		n     int64
		want  string
	}{
		{server(), 0, "18412 connections fit; open files stops there."},
		{server(), 18412, "18412 connections fit. The first limit is open files, at 18412."},
	} {
		b.Reset()
		if err := Examine(fake(tc.files).Facts(), relay(), tc.n).WriteTable(&b); err != nil || !strings.Contains(b.String(), tc.want) {
			t.Errorf("lacks %q (%v):\n%s", tc.want, err, b.String())
		}
	}
	b.Reset()
	if err := Examine(Facts{Cores: 1}, relay(), 5).WriteTable(&b); err != nil || !strings.Contains(b.String(), "No limit could be read") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// The keys, their types and null for what is not known are what programs rely
// on.
func TestJSONKeepsItsShape(t *testing.T) {
	kinds := func(v map[string]any) string {
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(v)) {
			kind := "null"
			switch v[k].(type) {
			case string:
				kind = "string"
			case bool:
				kind = "bool"
			case float64:
				kind = "number"
			case []any:
				kind = "array"
			}
			b.WriteString(k + ":" + kind + " ")
		}
		return strings.TrimSpace(b.String())
	}
	const check = "apply:array fits:number name:string needed:string value:string verdict:string why:string"
	for _, tc := range []struct {
		name   string
		facts  Facts
		n      int64
		report string
		check  string
	}{
		{"asked", fake(server()).Facts(), 500_000, "asked:number checks:array config_file:string config_state:string connections:number container:bool costs:array fits:number ok:bool schema:number stopped_by:string", check},
		{"not asked", fake(server()).Facts(), 0, "asked:null checks:array config_file:string config_state:string connections:number container:bool costs:array fits:number ok:bool schema:number stopped_by:string", check},
		{"unknown", Facts{Cores: 1}, 1, "asked:number checks:array config_file:string config_state:string connections:number container:bool costs:array fits:null ok:bool schema:number stopped_by:string", strings.Replace(check, "fits:number", "fits:null", 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b strings.Builder
			if err := Examine(tc.facts, relay(), tc.n).WriteJSON(&b); err != nil {
				t.Fatal(err)
			}
			var v map[string]any
			if err := json.Unmarshal([]byte(b.String()), &v); err != nil {
				t.Fatal(err)
			}
			if got := kinds(v); got != tc.report {
				t.Errorf("report %s\nwant   %s", got, tc.report)
			}
			checks := v["checks"].([]any)
			if got := kinds(checks[0].(map[string]any)); got != tc.check {
				t.Errorf("check %s\nwant  %s", got, tc.check)
			}
			names := map[string]bool{}
			for _, c := range checks {
				c := c.(map[string]any)
				if name := c["name"].(string); name == "" || names[name] || c["apply"] == nil || c["why"] == "" || c["value"] == "" {
					t.Errorf("check %v", c)
				}
				names[c["name"].(string)] = true
			}
			for _, c := range v["costs"].([]any) {
				if got := kinds(c.(map[string]any)); got != "measured_by:string name:string unit:string value:number" {
					t.Errorf("cost %s", got)
				}
			}
		})
	}
}

// The machine that runs the tests has a /proc: its limits are found, and what
// fits by one report fits by the next.
func TestThisMachine(t *testing.T) {
	f := ThisMachine().Facts()
	if _, known := f.HardFiles.Get(); !known || f.Cores < 1 {
		t.Fatalf("%+v", f)
	}
	r := Examine(f, relay(), 0)
	n, known := r.Fits.Get()
	if !known || r.StoppedBy == "" {
		t.Fatalf("nothing stops here: %+v", r)
	}
	if n > 0 && !Examine(f, relay(), n).OK || Examine(f, relay(), n+1).OK {
		t.Errorf("%d is not the limit", n)
	}
	if open := check(t, r, "open files"); open.Verdict == Unknown {
		t.Errorf("%+v", open)
	}
}

// The guide names the figures that the checks compute with.
func TestGuideAgreesWithTheModel(t *testing.T) {
	text, err := os.ReadFile("../tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	thousands := func(n int64) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	for _, want := range []string{
		"counts " + thousands(connectionMemory) + " bytes a connection",
		"leaves " + thousands(burst(1)) + " waiting",
		fmt.Sprintf("`relay doctor` reckons with %d", userPending),
		fmt.Sprintf("at most %d %%", bbrPercent),
		fmt.Sprintf("1 KiB of content | %.1f KB", diskPending/1e3),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("tuning.md lacks %q", want)
		}
	}
}
