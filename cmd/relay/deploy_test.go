package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gorelay/doctor"
)

// million is what the files in deploy/ are made for.
const million = 1_000_000

func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found returns the pattern's group in the text, which must match once.
func found(t *testing.T, text, pattern string) string {
	t.Helper()
	all := regexp.MustCompile("(?m)"+pattern).FindAllStringSubmatch(text, -1)
	if len(all) != 1 {
		t.Fatalf("%d matches of %q", len(all), pattern)
	}
	return all[0][1]
}

func foundNumber(t *testing.T, text, pattern string) int {
	t.Helper()
	n, err := strconv.Atoi(found(t, text, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sysctls are the settings of 99-relay.conf as files of /proc/sys.
func sysctls(t *testing.T) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{}
	for line := range strings.Lines(deployed(t, "99-relay.conf")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "-"), " = ")
		if !ok {
			t.Fatalf("no setting: %q", line)
		}
		root["proc/sys/"+strings.ReplaceAll(key, ".", "/")] = &fstest.MapFile{Data: []byte(value)}
	}
	return root
}

func TestServiceAndImageAgreeWithTheRelay(t *testing.T) {
	service, image := deployed(t, "relay.service"), deployed(t, "Dockerfile")
	c := Default()
	stop, err := time.ParseDuration(found(t, service, `^TimeoutStopSec=(.*)$`))
	if err != nil {
		t.Fatal(err)
	}
	if stop <= c.ShutdownTimeout {
		t.Errorf("TimeoutStopSec is %v, shutdown_timeout %v", stop, c.ShutdownTimeout)
	}
	if s := time.Duration(foundNumber(t, image, `--stop-timeout (\d+)`)) * time.Second; s <= c.ShutdownTimeout {
		t.Errorf("--stop-timeout is %v, shutdown_timeout %v", s, c.ShutdownTimeout)
	}
	files := foundNumber(t, service, `^LimitNOFILE=(\d+)$`)
	if n := foundNumber(t, image, `--ulimit nofile=(\d+)`); n != files {
		t.Errorf("%d open files in the image, %d in the service", n, files)
	}
	if n := newBudget(uint64(files), 64, 256).connections; n < million {
		t.Errorf("%d open files serve %d connections", files, n)
	}
	if port := foundNumber(t, image, `^EXPOSE (\d+)$`); port != c.Port {
		t.Errorf("the image exposes %d, the relay listens on %d", port, c.Port)
	}
	if port := string(sysctls(t)["proc/sys/net/ipv4/ip_local_reserved_ports"].Data); port != fmt.Sprint(c.Port) {
		t.Errorf("port %s is reserved, the relay listens on %d", port, c.Port)
	}
}

// The check before the start looks at what the start will read.
func TestServiceChecksWhatItStarts(t *testing.T) {
	service := deployed(t, "relay.service")
	check := strings.Fields(found(t, service, `^ExecStartPre=(.*)$`))
	i := slices.Index(check, "-check")
	if i < 0 {
		t.Fatalf("%q checks nothing", check)
	}
	if begin := strings.Fields(found(t, service, `^ExecStart=(.*)$`)); !slices.Equal(slices.Delete(check, i, i+1), begin) {
		t.Errorf("it checks with %q and starts with %q", check, begin)
	}
}

// The image is built from every folder that the relay needs, and from none
// that can hold a key.
func TestImageGetsTheSourcesAlone(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	all := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		all = all || line == "*"
		if name, ok := strings.CutPrefix(line, "!"); ok {
			if !all {
				t.Errorf("%s stands before *, which takes it away again", line)
			}
			allowed[name] = true
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if !allowed[name] {
			t.Errorf("%s is left out", name)
		}
	}
	packages, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	needed := map[string]bool{"go.mod": true, "go.sum": true}
	for name := range strings.FieldsSeq(string(packages)) {
		folder := strings.Split(name, "/")[1]
		if needed[folder] = true; !allowed[folder] {
			t.Errorf("%s is left out, and %s is in it", folder, name)
		}
	}
	for name := range allowed {
		if !needed[name] {
			t.Errorf("%s is sent, and nothing of it is needed", name)
		}
	}
	for _, secret := range []string{"**/config.json", "**/config.json.broken-*", "**/data"} {
		if !strings.Contains(string(text), "\n"+secret+"\n") {
			t.Errorf("%s is not left out of the folders that are sent", secret)
		}
	}
}

// Without .git the toolchain knows no commit: the build says it.
func TestImageKnowsItsCommit(t *testing.T) {
	name := found(t, deployed(t, "Dockerfile"), `-X (\S+)=\$COMMIT"`)
	file := filepath.Join(t.TempDir(), "relay")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-X "+name+"=5cd0a1", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(file, "-version").Output(); err != nil || !strings.Contains(string(out), ", commit 5cd0a1, ") {
		t.Errorf("%q, %v", out, err)
	}
}

// The guide counts the files as the relay does, on two cores.
func TestGuideAgreesWithTheBudget(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "tuning.md"))
	if err != nil {
		t.Fatal(err)
	}
	for files, want := range map[uint64]string{
		1024: "| %s | 1,024 open files", 20000: "| %s | 20,000 open files", 1048576: "| %s | `fs.nr_open` 1048576",
	} {
		if want = fmt.Sprintf(want, thousands(newBudget(files, 2, 4).connections)); !strings.Contains(string(text), want) {
			t.Errorf("tuning.md lacks %q", want)
		}
	}
	most := thousands(newBudget(1048576, 2, 4).connections)
	for _, want := range []string{"1048576 serves " + most + " connections", "an untouched kernel grants: " + most + " connections"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("tuning.md lacks %q", want)
		}
	}
}

// thousands is n as the guide writes it.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Both run the relay in a folder that is its own, outlives it and can be
// written to: there the default data_dir lies, beside config.json.
func TestServiceAndImageKeepTheDataFolder(t *testing.T) {
	service, image := deployed(t, "relay.service"), deployed(t, "Dockerfile")
	c := Default()
	if c.DataDir == noDataDir || !filepath.IsLocal(c.DataDir) {
		t.Fatalf("data_dir is %q, not a folder beside config.json", c.DataDir)
	}

	// The state directory is writable under ProtectSystem=strict.
	state := "/var/lib/" + found(t, service, `^StateDirectory=(.*)$`)
	if dir := found(t, service, `^WorkingDirectory=(.*)$`); dir != state {
		t.Errorf("the service runs in %s, its state is in %s", dir, state)
	}
	if mode := found(t, service, `^StateDirectoryMode=(.*)$`); mode != "0700" {
		t.Errorf("the state directory has mode %s: the bodies of pushes are nobody else's business", mode)
	}

	_, final, ok := strings.Cut(image, "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image has no final stage from scratch")
	}
	dir := found(t, final, `^WORKDIR (.*)$`)
	if volume := found(t, final, `^VOLUME (.*)$`); volume != dir {
		t.Errorf("the image runs in %s, its volume is %s", dir, volume)
	}
	if mount := found(t, image, `-v [a-z-]+:(\S+)`); mount != dir {
		t.Errorf("the image runs in %s, the volume is mounted at %s", dir, mount)
	}
	// A new volume takes mode and owner from the folder in the image.
	if made := found(t, image, `mkdir -p -m 0700 /out/root(\S+)$`); made != dir {
		t.Errorf("the image runs in %s, the build makes %s", dir, made)
	}
	user := found(t, final, `^USER (.*)$`)
	if owner := found(t, final, `^COPY .*--chown=(\S+) /out/root/ /$`); owner != user || strings.HasPrefix(user, "0") {
		t.Errorf("the image runs as %s, its folder belongs to %s", user, owner)
	}

	readOnly, err := resolve([]string{found(t, image, `-e (\S+) --read-only`)}, nil, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	if readOnly.config.DataDir != noDataDir {
		t.Errorf("a read-only container gets data_dir %s, not %s", readOnly.config.DataDir, noDataDir)
	}
}

// On a large enough machine the shipped settings hold a million connections,
// and the doctor finds nothing to add to them.
func TestShippedSettingsHoldAMillion(t *testing.T) {
	root := sysctls(t)
	for name, text := range map[string]string{
		"proc/meminfo":        "MemTotal: 33554432 kB\nMemAvailable: 32505856 kB\n",
		"proc/sys/fs/file-nr": "2000 0 0\n",
		"proc/sys/net/netfilter/nf_conntrack_count": "500\n",
	} {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	files := uint64(foundNumber(t, deployed(t, "relay.service"), `^LimitNOFILE=(\d+)$`))
	m := doctor.Machine{Root: root, Cores: 8, Files: func() (uint64, uint64, error) { return files, files, nil }}
	report := doctor.Examine(m.Facts(), examined(Default(), m), million)
	if !report.OK {
		t.Errorf("%s stops at %s", report.StoppedBy, report.Fits)
	}
	judged := 0
	for _, c := range report.Checks {
		switch c.Verdict {
		case doctor.OK:
			judged++
		case doctor.Short, doctor.Advice:
			t.Errorf("%s: %s, apply %q", c.Name, c.Value, c.Apply)
		}
	}
	if judged < 8 {
		t.Errorf("only %d checks found their setting", judged)
	}
}
