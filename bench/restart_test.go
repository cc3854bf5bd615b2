package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestartThatLoses: a relay that forgets what waits when it starts again
// is found out, and so is one that does not come back.
func TestRestartThatLoses(t *testing.T) {
	relay := buildRelay(t)
	const pushes = 40
	for _, c := range []struct {
		name   string
		script string // before the relay begins
		says   string
	}{
		{"the folder is emptied", "rm -rf data", fmt.Sprintf("%d messages or connections went wrong", pushes)},
		{"it does not start again", "test ! -e data || exit 3", "it ended at once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "forgetful")
			script := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", c.script, relay)
			if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			o := runJSON(t, "delay", "-restart", "-rounds", "1", "-delayed", fmt.Sprint(pushes), "-ahead", "6s", "-conns", "10", "-publishers", "2", "-relay", file)
			if o.code != exitFailed || !strings.Contains(o.notes, c.says) {
				t.Errorf("exit code %d, want %d; %q, want %q in it", o.code, exitFailed, o.notes, c.says)
			}
			if got, want := o.accounts["relay"], (tally{Expected: pushes, Lost: pushes}); got != want {
				t.Errorf("account %+v, want %+v", got, want)
			}
		})
	}
}
