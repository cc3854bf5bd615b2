package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"gorelay/doctor"
)

func TestBudgetSpendsEveryFile(t *testing.T) {
	for _, tc := range []struct {
		files         uint64
		loops, shards int
		want          budget
	}{
		{20000, 2, 8, budget{connections: 20000 - 1024 - 512 - 56, http: 1024, reserve: 1024 + 512 + 56}},
		{1024, 2, 8, budget{connections: 1024 - 64 - 64 - 56, http: 64, reserve: 64 + 64 + 56}},
		{64, 1, 4, budget{connections: 0, http: 8, reserve: 8 + 8 + 48}},
		{math.MaxUint64, 1, 4, budget{connections: math.MaxInt32 - 1024 - 512 - 48, http: 1024, reserve: 1024 + 512 + 48}},
		{1024, 2, 2000, budget{connections: 0, http: 64, reserve: 64 + 64 + 48 + 2000}},
	} {
		if got := newBudget(tc.files, tc.loops, tc.shards); got != tc.want {
			t.Errorf("%d files, %d loops, %d shards: %+v, want %+v", tc.files, tc.loops, tc.shards, got, tc.want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	m, err := thisMachine()
	if err != nil || m.files == 0 || m.cores < 1 || m.memory <= 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMemoryOf(t *testing.T) {
	const meminfo = "MemTotal:       1000 kB\nMemFree:        10 kB\n"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing is known", nil, 0},
		{"the machine's", map[string]string{"proc/meminfo": meminfo}, 1000 << 10},
		{"version 2, own group", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "5000\n"}, 5000},
		{"version 2, a group above", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "4000\n"}, 4000},
		{"version 2, in a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000},
		{"version 1", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2000\n"}, 2000},
		{"version 1, no limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 1000 << 10},
		{"nonsense", map[string]string{"proc/meminfo": "MemTotal: x kB\n", "proc/self/cgroup": "what\n"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tc.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryOf(doctor.Machine{Root: root}); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

// Where the settings are what takes the files, they are named, and what is
// advised is enough.
func TestTooFewFilesNamesTheCause(t *testing.T) {
	for _, c := range []struct {
		files         uint64
		loops, shards int
		want          string
	}{
		{64, 2, 4, "64 leaves none for connections; raise it with: ulimit -n 1024 "},
		{20000, 2, 65536, "20000 leaves none for connections: loops (2) and shards (65536) take 65544 of it; choose fewer, or raise it with: ulimit -n 68144 "},
	} {
		text := tooFewFiles(c.files, c.loops, c.shards).Error()
		if !strings.Contains(text, c.want) {
			t.Errorf("%q, want %q in it", text, c.want)
		}
		var enough uint64
		if _, err := fmt.Sscanf(text[strings.Index(text, "-n ")+3:], "%d", &enough); err != nil || newBudget(enough, c.loops, c.shards).connections < 1 {
			t.Errorf("%q: %d are not enough, %v", text, enough, err)
		}
	}
}
