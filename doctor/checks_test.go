package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// relay is one on two cores, with a reserve of 1,588 files and 256 MiB of
// waiting bytes.
func relay() Relay {
	return Relay{
		ConfigFile: "/srv/relay/config.json", ConfigState: "read",
		Port: 3000, Loops: 2, PendingBytes: 256 << 20, PingInterval: 25 * time.Second,
		Serves: func(files uint64) int { return max(int(files)-1588, 0) },
	}
}

// roomy is a server on which only what a test changes stops anything.
func roomy() map[string]string {
	return with(server(), map[string]string{
		"proc/sys/fs/nr_open":                       "1073741816\n",
		"proc/sys/fs/epoll/max_user_watches":        "100000000\n",
		"proc/sys/net/core/somaxconn":               "65535\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":     "65535\n",
		"proc/sys/net/ipv4/tcp_mem":                 "90000000 90000000 90000000\n",
		"proc/sys/net/netfilter/nf_conntrack_count": "",
		"proc/sys/net/netfilter/nf_conntrack_max":   "",
		"proc/meminfo":                              "MemTotal: 1073741824 kB\nMemAvailable: 1073741824 kB\n",
	})
}

func check(t *testing.T, r Report, name string) Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q", name)
	}
	return r.Checks[i]
}

// Each limit stops at the number that its row says, one more does not fit, and
// the line to apply mends it.
func TestEachLimit(t *testing.T) {
	const own = 32 // epoll entries of two loops
	for _, tc := range []struct {
		name    string
		changes map[string]string
		files   uint64
		relay   func(*Relay)
		check   string
		fits    int64
		apply   string // for ten more
	}{
		{name: "open files", files: 20000, check: "open files", fits: 18412, apply: "LimitNOFILE=21000"},
		{name: "in a container", files: 20000, changes: map[string]string{".dockerenv": "x"}, check: "open files", fits: 18412, apply: "docker run --ulimit nofile=21000"},
		{name: "no more files than nr_open grants", files: 1048570, changes: map[string]string{"proc/sys/fs/nr_open": "1048583"}, check: "open files", fits: 1046982, apply: "LimitNOFILE=1048583"},
		{name: "nr_open", changes: map[string]string{"proc/sys/fs/nr_open": "1048576"}, check: "fs.nr_open", fits: 1046988, apply: "sysctl -w fs.nr_open=1100000"},
		{name: "file-max", changes: map[string]string{"proc/sys/fs/file-max": "100000", "proc/sys/fs/file-nr": "5000 0 100000"}, check: "fs.file-max", fits: 93412, apply: "sysctl -w fs.file-max=110000"},
		{name: "epoll", changes: map[string]string{"proc/sys/fs/epoll/max_user_watches": "200000"}, check: "fs.epoll.max_user_watches", fits: 200000 - own, apply: "sysctl -w fs.epoll.max_user_watches=210000"},
		{name: "memory", changes: map[string]string{"proc/meminfo": "MemAvailable: 1048576 kB"}, check: "memory available",
			fits: (1<<30 - 2*256<<20 - userFixed) / connectionMemory, apply: `"max_total_pending_bytes": 267386880`},
		{name: "too little memory", changes: map[string]string{"proc/meminfo": "MemAvailable: 262144 kB"}, relay: func(r *Relay) { r.PendingBytes = 16 << 20 }, check: "memory available",
			fits: (1<<28 - 2*16<<20 - userFixed) / connectionMemory, apply: `a machine with 257M of free memory`},
		{name: "group memory", changes: map[string]string{"sys/fs/cgroup/system.slice/memory.max": "268435456"}, relay: func(r *Relay) { r.PendingBytes = 16 << 20 }, check: "control group memory",
			fits: (1<<28 - 2*16<<20 - userFixed) / connectionMemory, apply: "MemoryMax=257M"},
		{name: "tcp_mem", changes: map[string]string{"proc/sys/net/ipv4/tcp_mem": "9000 9000 9023"}, check: "net.ipv4.tcp_mem (max)", fits: 9000, apply: `sysctl -w net.ipv4.tcp_mem="9100 12000 14000"`},
		{name: "conntrack", changes: map[string]string{"proc/sys/net/netfilter/nf_conntrack_count": "12", "proc/sys/net/netfilter/nf_conntrack_max": "262144"},
			check: "net.netfilter.nf_conntrack_max", fits: 262132, apply: "sysctl -w net.netfilter.nf_conntrack_max=270000"},
		{name: "setting", relay: func(r *Relay) { r.MaxConnections = 500 }, check: "max_connections", fits: 500, apply: `"max_connections": 510`},
		{name: "pids", changes: map[string]string{"sys/fs/cgroup/system.slice/relay.service/pids.max": "20"}, check: "control group pids", fits: 0, apply: "TasksMax=28"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, r := fake(with(roomy(), tc.changes)), relay()
			if tc.files == 0 {
				tc.files = 1 << 31
			}
			m.Files = func() (uint64, uint64, error) { return 1024, tc.files, nil }
			if tc.relay != nil {
				tc.relay(&r)
			}
			f := m.Facts()
			free := Examine(f, r, 0)
			if n, _ := free.Fits.Get(); n != tc.fits || free.StoppedBy != tc.check || free.OK != (tc.fits > 0) || free.Connections != tc.fits {
				t.Fatalf("%d fit, stopped by %q, ok %v; want %d, %q", n, free.StoppedBy, free.OK, tc.fits, tc.check)
			}
			if tc.fits > 0 {
				if got := Examine(f, r, tc.fits); !got.OK || check(t, got, tc.check).Verdict == Short {
					t.Errorf("%d do not fit", tc.fits)
				}
			}
			more := Examine(f, r, tc.fits+1)
			if c := check(t, more, tc.check); more.OK || c.Verdict != Short {
				t.Errorf("%d fit: %+v", tc.fits+1, c)
			}
			c := check(t, Examine(f, r, tc.fits+10), tc.check)
			if !slices.Contains(c.Apply, tc.apply) {
				t.Errorf("apply %q, want %q", c.Apply, tc.apply)
			}
		})
	}
}

// Advice never makes a number not fit.
func TestAdvice(t *testing.T) {
	for _, tc := range []struct {
		name    string
		changes map[string]string
		relay   func(*Relay)
		check   string
		verdict Verdict
		apply   string
	}{
		{"short accept queue", map[string]string{"proc/sys/net/core/somaxconn": "128"}, nil, "net.core.somaxconn", Advice, "sysctl -w net.core.somaxconn=6900"},
		{"in a container", map[string]string{"proc/sys/net/core/somaxconn": "128", ".dockerenv": "x"}, nil, "net.core.somaxconn", Advice, "docker run --sysctl net.core.somaxconn=6900"},
		{"long accept queue", nil, nil, "net.core.somaxconn", OK, ""},
		{"syn backlog with cookies", map[string]string{"proc/sys/net/ipv4/tcp_max_syn_backlog": "128"}, nil, "net.ipv4.tcp_max_syn_backlog", OK, ""},
		{"syn backlog without", map[string]string{"proc/sys/net/ipv4/tcp_max_syn_backlog": "128", "proc/sys/net/ipv4/tcp_syncookies": "0"}, nil, "net.ipv4.tcp_max_syn_backlog", Advice, "sysctl -w net.ipv4.tcp_max_syn_backlog=6900"},
		{"ports", nil, nil, "net.ipv4.ip_local_port_range", Note, ""},
		{"own port among them", map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "1024 65535"}, nil, "net.ipv4.ip_local_port_range", Advice, "sysctl -w net.ipv4.ip_local_reserved_ports=3000"},
		{"own port reserved", map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "1024 65535", "proc/sys/net/ipv4/ip_local_reserved_ports": "80,2990-3010"}, nil, "net.ipv4.ip_local_port_range", Note, ""},
		{"other ports reserved", map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "1024 65535", "proc/sys/net/ipv4/ip_local_reserved_ports": "80,3001-3010,-,x"}, nil, "net.ipv4.ip_local_port_range", Advice, "sysctl -w net.ipv4.ip_local_reserved_ports=3000"},
		{"tcp_mem past pressure", map[string]string{"proc/sys/net/ipv4/tcp_mem": "1 900000 90000000"}, nil, "net.ipv4.tcp_mem (max)", Advice, `sysctl -w net.ipv4.tcp_mem="1100000 1300000 1600000"`},
		{"pings in good measure", nil, nil, "cores", Note, ""},
		{"too many pings", nil, func(r *Relay) { r.PingInterval = 10 * time.Second }, "cores", Advice, `"ping_interval": "21s"`},
		{"no pings", nil, func(r *Relay) { r.PingInterval = 0 }, "cores", Note, ""},
		{"conntrack idle", map[string]string{"proc/sys/net/netfilter/nf_conntrack_count": "0", "proc/sys/net/netfilter/nf_conntrack_max": "10"}, nil, "net.netfilter.nf_conntrack_max", OK, ""},
		{"bbr", map[string]string{"proc/sys/net/ipv4/tcp_congestion_control": "bbr"}, nil, "net.ipv4.tcp_congestion_control", Note, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, r := fake(with(roomy(), tc.changes)), relay()
			m.Files = func() (uint64, uint64, error) { return 1 << 31, 1 << 31, nil }
			if tc.relay != nil {
				tc.relay(&r)
			}
			report := Examine(m.Facts(), r, 1_000_000)
			c := check(t, report, tc.check)
			if !report.OK || c.Verdict != tc.verdict || strings.Join(c.Apply, "\n") != tc.apply {
				t.Errorf("ok %v, %s, apply %q", report.OK, c.Verdict, c.Apply)
			}
		})
	}
}

// Less pings are advised as far as proxies bear the silence, then more cores.
func TestAdviceOnPingsEndsWhereProxiesDo(t *testing.T) {
	for _, tc := range []struct {
		n     int64
		every time.Duration
		apply string
	}{
		{1_000_000, time.Second, `"ping_interval": "21s"`},
		{2_400_000, 25 * time.Second, `"ping_interval": "49s"`},
		{2_600_000, 25 * time.Second, `"ping_interval": "50s",a machine with 3 cores`},
		{100_000_000, 25 * time.Second, `"ping_interval": "50s",a machine with 80 cores`},
		{100_000_000, 50 * time.Second, "a machine with 80 cores"},
		{100_000_000, 200 * time.Second, "a machine with 20 cores"}, // its user knows what is on the way
	} {
		r := relay()
		r.PingInterval = tc.every
		c := check(t, Examine(fake(roomy()).Facts(), r, tc.n), "cores")
		if got := strings.Join(c.Apply, ","); c.Verdict != Advice || got != tc.apply {
			t.Errorf("%d at %v: %s, apply %q, want %q", tc.n, tc.every, c.Verdict, got, tc.apply)
		}
	}
}

// connectionsIn and pendingIn undo memoryFor.
func TestMemoryModel(t *testing.T) {
	for _, n := range []int64{0, 1, 20000, 1_000_000, 1 << 30} {
		for _, pending := range []int64{0, 16 << 20, 1 << 34} {
			m := memoryFor(n, pending)
			if got := connectionsIn(m, pending); got != n {
				t.Errorf("%d bytes, %d pending: %d connections, want %d", m, pending, got, n)
			}
			if got := pendingIn(m, n); got != pending {
				t.Errorf("%d bytes, %d connections: %d pending, want %d", m, n, got, pending)
			}
		}
	}
	if connectionsIn(0, 0) != 0 || pendingIn(0, 5) != 0 {
		t.Error("less than nothing fits")
	}
}

func TestRounded(t *testing.T) {
	for n, want := range map[int64]int64{0: 0, 7: 7, 99: 99, 100: 100, 101: 110, 21588: 22000, 1_001_588: 1_100_000} {
		if got := rounded(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}
