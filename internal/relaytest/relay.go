package relaytest

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"gorelay/internal/wsclient"
)

// Key is the api_key of relays that Start configures.
const Key = "relaytest-key-5cd0a1"

// Config is a config.json in the making. Start fills in "port" and "api_key".
type Config map[string]any

// Setup says how to start a relay. The zero value is a relay with defaults on
// a free port.
type Setup struct {
	Config      Config
	File        []byte   // config.json as it is; Config is not used then
	NoFile      bool     // start in a folder without config.json
	Dir         string   // working directory; "" is a new one
	Env         []string // NAME=value
	Args        []string
	Descriptors int // limit of open files; 0 inherits
}

// Relay is a running relay.
type Relay struct {
	*Process
	Dir  string // its working directory
	Port string
	Addr string // "127.0.0.1:port"
}

var startLine = regexp.MustCompile(`Go Relay server listening on http://localhost:(\d+)`)

// StartRelay starts a relay and waits until it listens.
func StartRelay(t testing.TB, s Setup) *Relay {
	t.Helper()
	p, dir := s.run(t)
	p.WaitLog("Push API path")
	m := startLine.FindStringSubmatch(p.Log())
	if m == nil {
		t.Fatalf("no start line with a port in the log:\n%s", p.Log())
	}
	return &Relay{Process: p, Dir: dir, Port: m[1], Addr: net.JoinHostPort("127.0.0.1", m[1])}
}

// RunRelay starts a relay that must end by itself, and returns its exit code
// and its output.
func RunRelay(t testing.TB, s Setup) (code int, log string) {
	t.Helper()
	p, _ := s.run(t)
	code = p.Wait()
	return code, p.Log()
}

func (s Setup) run(t testing.TB) (*Process, string) {
	t.Helper()
	dir := s.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	if !s.NoFile {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), s.file(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Run(t, Command{
		File:        Build(t, "gorelay/cmd/relay"),
		Args:        s.Args,
		Dir:         dir,
		Env:         s.Env,
		Descriptors: s.Descriptors,
	})
	p.Secret(Key)
	return p, dir
}

func (s Setup) file(t testing.TB) []byte {
	t.Helper()
	if s.File != nil {
		return s.File
	}
	full := Config{"port": "0", "api_key": Key}
	for k, v := range s.Config {
		full[k] = v
	}
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Dial opens a WebSocket, by a path and query such as "/ws?token=a". It is
// closed when the test ends.
func (r *Relay) Dial(t testing.TB, target string, lines ...string) *wsclient.Conn {
	t.Helper()
	c, err := wsclient.Dialer{Addr: r.Addr}.Dial(target, lines...)
	if err != nil {
		t.Fatalf("dial %s: %v", target, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
