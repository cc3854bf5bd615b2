// Command relay is the WebSocket push relay: it reads its settings, opens one
// port, and serves until a signal stops it.
//
// The package is the wiring around two others. Package api speaks the wire
// formats, package engine moves frames; neither knows of a config file, a
// flag or a signal. Exit codes: 0 for a clean stop, 1 for everything a user
// has to mend.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"gorelay/doctor"
)

const (
	exitOK     = 0
	exitFailed = 1
)

// flags are the command line.
type flags struct {
	config  string // path of the config file
	check   bool
	version bool
}

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole program but for the exit itself, and returns its code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == doctorName {
		return runDoctor(args[1:], environ, doctor.ThisMachine(), stdout, stderr)
	}
	f, err := parseFlags(args)
	if err != nil {
		return explain(err, "relay", printUsage, stdout, stderr)
	}
	if f.version {
		fmt.Fprintln(stdout, versionLine())
		return exitOK
	}

	l, err := load(f.config, environ, !f.check)
	if err != nil {
		return fail(stderr, err)
	}
	log := newLogWriter(stderr)
	defer log.close()
	logger := newLogger(log, l.config.LogFormat, l.config.LogLevel)
	for _, n := range l.notes {
		logger.Log(context.Background(), n.level, n.text)
	}

	m, err := thisMachine()
	if err != nil {
		logger.Warn("cannot raise the open-file limit", "err", err)
	}
	files := newBudget(m.files, l.config.loops(m), l.config.shards(m))
	if f.check {
		printCheck(stdout, l, m, files)
		if l.file == stateBroken {
			return exitFailed
		}
		return exitOK
	}
	if files.connections < 1 {
		return fail(stderr, tooFewFiles(m.files, l.config.loops(m), l.config.shards(m)))
	}
	return serve(l.config, m, files, logger)
}

// parseFlags reads the command line. It returns flag.ErrHelp for -h.
func parseFlags(args []string) (flags, error) {
	var f flags
	fs := flag.NewFlagSet("relay", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.config, "config", "config.json", "")
	fs.BoolVar(&f.check, "check", false, "")
	fs.BoolVar(&f.version, "version", false, "")
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		return f, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if f.config == "" {
		return f, errors.New("-config needs a path")
	}
	return f, nil
}

// explain answers a command line that could not be read, or asks for help,
// which usage writes.
func explain(err error, command string, usage func(io.Writer), stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout)
		return exitOK
	}
	return fail(stderr, fmt.Errorf("%w (%s -h shows what there is)", err, command))
}

// fail prints the one line that a user's mistake gets.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "relay: %v\n", err)
	return exitFailed
}
