package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beRelay in the environment makes this test binary the relay itself, so the
// processes below are what was just compiled, under -race too.
const beRelay = "GORELAY_TEST_PROCESS=1"

func TestMain(m *testing.M) {
	name, value, _ := strings.Cut(beRelay, "=")
	if os.Getenv(name) == value {
		main()
	}
	// Under nohup the hangup signal is ignored, and every child inherits that.
	// One that is caught is back at its default in a child.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

// process is a relay in a folder of its own.
type process struct {
	dir string
	cmd *exec.Cmd

	mu   sync.Mutex
	log  strings.Builder
	more chan struct{} // closed and made anew with every line
	done chan struct{} // closed when the log has ended
}

// patience is for a machine that is very busy; nothing waits it out.
const patience = 60 * time.Second

// start runs the relay in dir, under a bare environment.
func start(t *testing.T, dir string, environ ...string) *process {
	t.Helper()
	return startCommand(t, dir, environ, os.Args[0])
}

// startCommand is start through another command, which ends up as the relay.
func startCommand(t *testing.T, dir string, environ []string, name string, args ...string) *process {
	t.Helper()
	p := &process{dir: dir, more: make(chan struct{}), done: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{beRelay, "RELAY_HOST=127.0.0.1", "GORACE=" + os.Getenv("GORACE")}, environ...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.done)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.mu.Lock()
			p.log.WriteString(s.Text() + "\n")
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		p.cmd.Wait()
	})
	return p
}

// wantLine waits until the log has a match, and returns its last group.
func (p *process) wantLine(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	late := time.After(patience)
	for ended := false; ; {
		p.mu.Lock()
		m, more := re.FindStringSubmatch(p.log.String()), p.more
		p.mu.Unlock()
		if m != nil {
			return m[len(m)-1]
		}
		if ended {
			t.Fatalf("ended without %q in its log:\n%s", pattern, p.text())
		}
		select {
		case <-more:
		case <-p.done:
			ended = true
		case <-late:
			t.Fatalf("no %q in the log:\n%s", pattern, p.text())
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// wantExit waits for the end and wants this code, and no trace of a crash.
func (p *process) wantExit(t *testing.T, code int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("still running:\n%s", p.text())
	}
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code || strings.Contains(p.text(), "goroutine ") {
		t.Errorf("exit %d, want %d:\n%s", got, code, p.text())
	}
}

const stamp = `^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d INFO `

// wantPort waits for the first start line and returns the port in it.
func (p *process) wantPort(t *testing.T) string {
	t.Helper()
	return p.wantLine(t, stamp+`Go Relay server listening on http://localhost:(\d+)$`)
}

func TestStartServeStop(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, t.TempDir(), "PORT=0", "RELAY_API_KEY=geheim")
			port := p.wantPort(t)
			p.wantLine(t, stamp+`WebSocket path = /ws$`)
			p.wantLine(t, stamp+`Push API path = /api/push$`)
			p.wantLine(t, `serves \d+ connections`)
			wantFile(t, filepath.Join(p.dir, "config.json"), "{\n  \"port\": \"0\",\n  \"api_key\": \"geheim\",\n  \"ws_path\": \"/ws\",\n  \"push_path\": \"/api/push\"\n}\n", 0o600)
			answer, err := http.Get("http://127.0.0.1:" + port + "/health")
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("/health: %s", answer.Status)
			}
			http.DefaultClient.CloseIdleConnections()
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			p.wantExit(t, exitOK)
			p.wantLine(t, `INFO stopped`)
			if strings.Contains(p.text(), "geheim") {
				t.Errorf("the log shows the key:\n%s", p.text())
			}
		})
	}
}

// nohup ignores the signal of a closing terminal before the relay starts, and
// the relay leaves it so.
func TestHangupUnderNohup(t *testing.T) {
	t.Parallel()
	sh := fmt.Sprintf("trap '' HUP; exec %q", os.Args[0])
	p := startCommand(t, t.TempDir(), []string{"PORT=0"}, "/bin/sh", "-c", sh)
	p.wantPort(t)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	p.wantExit(t, exitOK)
	p.wantLine(t, `stopping signal=terminated`)
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := fmt.Sprint(other.Addr().(*net.TCPAddr).Port)
	p := start(t, t.TempDir(), "PORT="+port)
	p.wantExit(t, exitFailed)
	p.wantLine(t, "ERROR port "+port+" is taken")
}

func TestTwoRelaysOnOnePort(t *testing.T) {
	t.Parallel()
	port := start(t, t.TempDir(), "PORT=0").wantPort(t)
	second := start(t, t.TempDir(), "PORT="+port)
	second.wantExit(t, exitFailed)
	second.wantLine(t, "ERROR port "+port+" is taken")
}

// Two relays in one folder: the port is what its user knows.
func TestTwoRelaysInOneFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(put(t, `{"api_key":"k"}`))
	port := start(t, dir, "PORT=0").wantPort(t)
	second := start(t, dir, "PORT="+port)
	second.wantExit(t, exitFailed)
	second.wantLine(t, "ERROR port "+port+" is taken")
	third := start(t, dir, "PORT=0")
	third.wantExit(t, exitFailed)
	third.wantLine(t, "ERROR data_dir "+regexp.QuoteMeta(filepath.Join(dir, "data"))+" is in use by another relay; ")
}

// Where delayed pushes are kept, and a folder that does not do.
func TestDataDir(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, value, line string }{
		{"beside the config file", `"data"`, `INFO delayed pushes are kept in \S+/data \(0 waiting\)$`},
		{"deeper", `"a/b"`, `INFO delayed pushes are kept in \S+/a/b \(0 waiting\)$`},
		{"not to be made", `"/sys/b"`, `ERROR data_dir /sys/b cannot be written to: (operation not permitted|permission denied|read-only file system); give the relay the right to, `},
		{"empty", `""`, `INFO delayed pushes are kept in memory alone`},
		{"none", `"none"`, `INFO delayed pushes are kept in memory alone`},
		{"a file", `"config.json"`, `ERROR data_dir \S+/config.json is no folder; `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := put(t, `{"port":"0","api_key":"k","data_dir":`+tc.value+`}`)
			p := startCommand(t, t.TempDir(), nil, os.Args[0], "-config", path)
			p.wantLine(t, tc.line)
			if strings.HasPrefix(tc.line, "ERROR") {
				p.wantExit(t, exitFailed)
				wantNames(t, path, "config.json")
			} else {
				p.wantPort(t)
			}
		})
	}
}

// A mistyped path of the config file is no relay with defaults, and makes no
// folder.
func TestConfigFileInNoFolder(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"-check"}, {doctorName}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "nowhere", "config.json")
		p := startCommand(t, dir, []string{"PORT=0"}, os.Args[0], append(args, "-config", path)...)
		p.wantExit(t, exitFailed)
		if want := "relay: cannot read " + path + ": its folder does not exist\n"; p.text() != want {
			t.Errorf("%q: %q, want %q", args, p.text(), want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%q left %v, %v", args, left, err)
		}
	}
}

// A name that is none is known without asking anybody.
func TestHostThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "PORT=0", "RELAY_HOST=no..host")
	p.wantExit(t, exitFailed)
	p.wantLine(t, `ERROR host "no\.\.host" cannot be looked up: no such host; .*RELAY_HOST`)
}

func TestBrokenFileAndJSONLog(t *testing.T) {
	t.Parallel()
	path := put(t, `{"api_key":"geheim"`)
	p := start(t, filepath.Dir(path), "PORT=0", "RELAY_LOG_FORMAT=json", "RELAY_MAX_CONNECTIONS=100000000")
	p.wantLine(t, `"msg":"Go Relay server listening on http://localhost:\d+"}$`)
	p.wantLine(t, `"level":"WARN","msg":"config.json was not used: .* kept as \S*config.json.broken-\d{8}T\d{6}Z`)
	p.wantLine(t, `"level":"WARN","msg":"max_connections is 100000000, .*ulimit -n 1000`)
	if strings.Contains(p.text(), "geheim") || strings.Contains(p.text(), defaultAPIKey) {
		t.Errorf("the log shows a key:\n%s", p.text())
	}
	wantFile(t, wantNames(t, path, "config.json", "config.json.broken-", "data")[1], `{"api_key":"geheim"`, 0o600)
}

func TestShadowedVariableIsNamed(t *testing.T) {
	t.Parallel()
	path := put(t, `{"port":"0","api_key":"k","unheard_of":1}`)
	p := start(t, filepath.Dir(path), "PORT=1", "RELAY_API_KEY=geheim")
	p.wantPort(t)
	p.wantLine(t, `WARN environment variable PORT has no effect`)
	p.wantLine(t, `WARN environment variable RELAY_API_KEY has no effect`)
	p.wantLine(t, `WARN unknown key "unheard_of"`)
	if strings.Contains(p.text(), "geheim") {
		t.Errorf("the log shows a key:\n%s", p.text())
	}
}

func TestTooFewFiles(t *testing.T) {
	t.Parallel()
	p := startCommand(t, t.TempDir(), []string{"PORT=0"}, "/bin/sh", "-c", fmt.Sprintf("ulimit -n 40; exec %q", os.Args[0]))
	p.wantExit(t, exitFailed)
	p.wantLine(t, `^relay: the open-file limit of 40 .*ulimit -n 1024`)
}
