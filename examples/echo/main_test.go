package main

import (
	"os"
	"strings"
	"testing"

	"gorelay/internal/relaytest"
)

func TestMain(m *testing.M) { os.Exit(relaytest.Main(m)) }

// An address without its flag would otherwise listen somewhere else.
func TestArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"127.0.0.1:0"}, {"-addr", "127.0.0.1:0", "more"}, {"-nope"}} {
		p := relaytest.Run(t, relaytest.Command{File: relaytest.Build(t, "gorelay/examples/echo"), Args: args, Dir: t.TempDir()})
		if code := p.Wait(); code != 2 || !strings.Contains(p.Log(), "-max-message") || strings.Contains(p.Log(), "listening") {
			t.Errorf("%q: exit %d:\n%s", args, code, p.Log())
		}
	}
}
