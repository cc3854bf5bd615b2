package doctor

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

// tree is a file system's root made of texts.
func tree(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

// fake is a machine with those files, an open-file limit of 1024 to 20000 and
// two cores.
func fake(files map[string]string) Machine {
	return Machine{
		Root:  tree(files),
		Files: func() (uint64, uint64, error) { return 1024, 20000, nil },
		Cores: 2,
	}
}

// server is an ordinary machine of 16 GiB.
func server() map[string]string {
	return map[string]string{
		"proc/sys/fs/nr_open":                                   "1048576\n",
		"proc/sys/fs/file-max":                                  "9223372036854775807\n",
		"proc/sys/fs/file-nr":                                   "1216\t0\t9223372036854775807\n",
		"proc/sys/fs/epoll/max_user_watches":                    "3600000\n",
		"proc/sys/net/core/somaxconn":                           "4096\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":                 "1024\n",
		"proc/sys/net/ipv4/tcp_syncookies":                      "1\n",
		"proc/sys/net/ipv4/ip_local_port_range":                 "32768\t60999\n",
		"proc/sys/net/ipv4/tcp_mem":                             "190000\t250000\t380000\n",
		"proc/sys/net/ipv4/tcp_rmem":                            "4096\t131072\t6291456\n",
		"proc/sys/net/ipv4/tcp_wmem":                            "4096\t16384\t4194304\n",
		"proc/sys/net/ipv4/tcp_congestion_control":              "cubic\n",
		"proc/sys/net/netfilter/nf_conntrack_count":             "12\n",
		"proc/sys/net/netfilter/nf_conntrack_max":               "262144\n",
		"proc/meminfo":                                          "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   15728640 kB\n",
		"proc/net/sockstat":                                     "sockets: used 17\nTCP: inuse 4 orphan 0 tw 0 alloc 5 mem 23\nUDP: inuse 0 mem 9\n",
		"proc/self/cgroup":                                      "0::/system.slice/relay.service\n",
		"sys/fs/cgroup/system.slice/relay.service/pids.max":     "4096\n",
		"sys/fs/cgroup/system.slice/relay.service/pids.current": "8\n",
		"sys/fs/cgroup/system.slice/relay.service/memory.max":   "max\n",
	}
}

// with returns the files with some changed; an empty text takes one away.
func with(files map[string]string, changes map[string]string) map[string]string {
	for name, text := range changes {
		if files[name] = text; text == "" {
			delete(files, name)
		}
	}
	return files
}

func TestFactsOfAServer(t *testing.T) {
	f := fake(server()).Facts()
	for _, tc := range []struct{ name, got, want string }{
		{"soft", f.SoftFiles.String(), "1024"},
		{"hard", f.HardFiles.String(), "20000"},
		{"nr_open", f.NrOpen.String(), "1048576"},
		{"file-max", f.FileMax.String(), "no limit"},
		{"file-nr", f.FilesOpen.String(), "1216"},
		{"watches", f.EpollWatches.String(), "3600000"},
		{"somaxconn", f.Somaxconn.String(), "4096"},
		{"syn backlog", f.SynBacklog.String(), "1024"},
		{"low port", f.LowPort.String(), "32768"},
		{"high port", f.HighPort.String(), "60999"},
		{"tcp_mem", f.TCPMem.String(), "190000 250000 380000"},
		{"tcp_mem used", f.TCPMemUsed.String(), "23"},
		{"rmem", f.TCPRmem.String(), "4096 131072 6291456"},
		{"wmem", f.TCPWmem.String(), "4096 16384 4194304"},
		{"congestion", f.Congestion, "cubic"},
		{"tracked", f.Tracked.String(), "12"},
		{"total", f.MemTotal.String(), "17179869184"},
		{"available", f.MemAvailable.String(), "16106127360"},
		{"group memory", f.GroupMemory.String(), "unknown"},
		{"pids", f.MaxPids.String() + " " + f.Pids.String(), "4096 8"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if f.Container {
		t.Error("taken for a container")
	}
}

func TestFactsOfGroups(t *testing.T) {
	for _, tc := range []struct {
		name         string
		files        map[string]string
		memory, pids string
		container    bool
	}{
		{"nothing", nil, "unknown", "unknown", false},
		{"version 2, a group above is smaller", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "5000\n", "sys/fs/cgroup/a/memory.max": "4000\n",
			"sys/fs/cgroup/a/b/pids.max": "max\n", "sys/fs/cgroup/a/pids.max": "70\n"}, "4000", "70", false},
		{"version 2, in a container", map[string]string{
			".dockerenv": "", "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n", "sys/fs/cgroup/pids.max": "60\n"}, "3000", "60", true},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:pids:/x\n4:memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2000\n", "sys/fs/cgroup/pids/x/pids.max": "50\n"}, "2000", "50", false},
		{"version 1, the path of the host", map[string]string{
			"proc/self/cgroup": "4:memory:/docker/0123\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n"}, "1000", "unknown", false},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, "unknown", "unknown", false},
		{"both versions", map[string]string{
			"proc/self/cgroup": "8:pids:/\n0::/\n", "sys/fs/cgroup/unified/memory.max": "900\n"}, "900", "unknown", false},
		{"the nearest limit counts, not the smallest", map[string]string{
			"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/pids.max": "100\n", "sys/fs/cgroup/a/pids.current": "1\n",
			"sys/fs/cgroup/pids.max": "200\n", "sys/fs/cgroup/pids.current": "190\n"}, "unknown", "200", false},
		{"podman", map[string]string{"run/.containerenv": ""}, "unknown", "unknown", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := fake(tc.files).Facts()
			if f.GroupMemory.String() != tc.memory || f.MaxPids.String() != tc.pids || f.Container != tc.container {
				t.Errorf("memory %s, pids %s, container %v", f.GroupMemory, f.MaxPids, f.Container)
			}
		})
	}
}

// broken is a file system where nothing can be read.
type broken struct{}

func (broken) Open(string) (fs.File, error) { return nil, errors.New("no") }

// Whatever stands in the files, reading them ends, and what makes no sense is
// unknown.
func TestNonsenseIsUnknown(t *testing.T) {
	junk := map[string]string{}
	for name := range server() {
		junk[name] = "x -1 1e9 99999999999999999999999\n::\n:::\nTCP: mem\nTCP: x mem y\nMemTotal: -5 kB\nMemAvailable: 99999999999999999 kB"
	}
	empty := map[string]string{}
	for name := range server() {
		empty[name] = ""
	}
	failing := func() (uint64, uint64, error) { return 0, 0, errors.New("no") }
	for name, m := range map[string]Machine{
		"junk":       {Root: tree(junk), Files: failing, Cores: 1},
		"empty":      {Root: tree(empty), Files: failing},
		"unreadable": {Root: broken{}, Files: failing},
		"no syscall": {Root: tree(nil)},
	} {
		f := m.Facts()
		for _, v := range append([]Number{f.SoftFiles, f.HardFiles, f.NrOpen, f.FileMax, f.EpollWatches, f.Somaxconn, f.LowPort,
			f.MaxTracked, f.MemTotal, f.MemAvailable, f.GroupMemory, f.MaxPids, f.TCPMemUsed}, f.TCPMem[:]...) {
			if n, known := v.Get(); known {
				t.Errorf("%s: %d is taken for known", name, n)
			}
		}
		for _, n := range []int64{0, 1, 1 << 30} {
			if r := Examine(f, relay(), n); !r.OK || r.StoppedBy != "" {
				t.Errorf("%s, %d connections: ok %v, stopped by %q", name, n, r.OK, r.StoppedBy)
			}
		}
	}
}
