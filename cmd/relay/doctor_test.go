package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"gorelay/doctor"
)

// small is a machine with that many open files and 1 GiB of memory.
func small(files uint64) doctor.Machine {
	return doctor.Machine{
		Root:  fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 1048576 kB\nMemAvailable: 1048576 kB\n")}},
		Files: func() (uint64, uint64, error) { return 1024, files, nil },
		Cores: 2,
	}
}

func TestDoctorAnswersWithItsExitCode(t *testing.T) {
	serves := newBudget(20000, 2, 4).connections
	for _, tc := range []struct {
		name   string
		config string
		args   []string
		code   int
		says   string
	}{
		{"how many", `{}`, nil, exitOK, "18412 connections fit; open files stops there."},
		{"fits", `{}`, []string{"-connections", "18412"}, exitOK, "18412 connections fit."},
		{"one too many", `{}`, []string{"-connections", "18413"}, exitFailed, "18413 connections do not fit: open files stops at 18412."},
		{"own limit", `{"max_connections":7}`, []string{"-connections=8"}, exitFailed, "max_connections stops at 7."},
		{"loops cost files", `{"loops":12}`, nil, exitOK, "18372 connections fit"},
		{"no folder", `{"data_dir":"none"}`, nil, exitOK, "data_dir: delayed pushes are kept in memory"},
		{"own folder", `{"data_dir":"/nowhere/data","max_delayed":5}`, nil, exitOK, "data_dir: delayed pushes are in /nowhere/data; max_delayed (5)"},
		{"config file", `{}`, nil, exitOK, "config.json\n18412 connections fit"},
		{"own bound of waiting bytes", `{"max_total_pending_bytes":520000000}`, nil, exitOK, "memory available stops there."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, err strings.Builder
			path := put(t, tc.config)
			code := runDoctor(append([]string{"-config", path}, tc.args...), nil, small(20000), &out, &err)
			if code != tc.code || err.String() != "" || !strings.Contains(out.String(), tc.says) {
				t.Errorf("exit %d, %q:\n%s", code, err.String(), out.String())
			}
			wantNames(t, path, "config.json")
		})
	}
	if serves != 18412 {
		t.Errorf("20000 files serve %d", serves)
	}
}

func TestDoctorMistakesAreOneLine(t *testing.T) {
	for _, args := range [][]string{{"-nope"}, {"-connections", "0"}, {"-connections", "-1"}, {"-connections", "many"},
		{"-connections", "2000000000"}, {"-config", ""}, {"now"}, {"-config", put(t, `{"port":70000}`)}} {
		var out, err strings.Builder
		code := run(append([]string{doctorName}, args...), nil, &out, &err)
		if code != exitFailed || out.String() != "" || strings.Count(err.String(), "\n") != 1 {
			t.Errorf("%q: exit %d, %q, %q", args, code, out.String(), err.String())
		}
	}
	for _, n := range []string{"1e6", "1,000,000", "1_000", ""} {
		var out, err strings.Builder
		code := run([]string{doctorName, "-connections", n}, nil, &out, &err)
		if code != exitFailed || !strings.Contains(err.String(), "a whole number, such as 1000000 (relay doctor -h shows") {
			t.Errorf("%q: exit %d, %q", n, code, err.String())
		}
	}
	var out, err strings.Builder
	if code := run([]string{doctorName, "-h"}, nil, &out, &err); code != exitOK || !strings.HasPrefix(out.String(), "relay doctor [-connections N]") || strings.Contains(out.String(), "ping_interval") {
		t.Errorf("-h: exit %d, %q", code, out.String())
	}
}

// On the machine at hand: JSON on standard output, a broken file only on
// standard error, and nothing written.
func TestDoctorHere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "config.json")
	for _, path := range []string{missing, put(t, `{"api_key":"geheim"`)} {
		before, _ := os.ReadDir(filepath.Dir(path))
		var out, err strings.Builder
		code := run([]string{doctorName, "-json", "-config", path}, nil, &out, &err)
		var v struct {
			Schema int
			File   string `json:"config_file"`
			State  string `json:"config_state"`
			OK     bool
			Checks []struct{ Name string }
		}
		if e := json.Unmarshal([]byte(out.String()), &v); e != nil || v.Schema != 1 || len(v.Checks) < 10 || v.File != path {
			t.Errorf("%v:\n%s", e, out.String())
		}
		// What fits without the file that its user wrote is no answer.
		state, want := "missing", exitOK
		if path != missing {
			state = "broken"
		}
		if path != missing || !v.OK {
			want = exitFailed
		}
		if v.State != state || code != want {
			t.Errorf("%s: state %q, exit %d", path, v.State, code)
		}
		if (err.String() != "") != (path != missing) || strings.Contains(err.String(), "geheim") {
			t.Errorf("%s: %q", path, err.String())
		}
		if after, _ := os.ReadDir(filepath.Dir(path)); len(after) != len(before) {
			t.Errorf("it wrote a file: %v", after)
		}
	}
}
