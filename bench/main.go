package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

const (
	exitOK     = 0
	exitFailed = 1 // could not measure, or the messages' account is not clean
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program, from its arguments to its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if isChild(args) {
		return runChild(args[0])
	}
	if len(args) == 0 {
		help(stderr)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		help(stdout)
		return exitOK
	case "compare":
		return runCompare(args[1:], stdout, stderr)
	case "page":
		return runPage(args[1:], stdout, stderr)
	case "markdown":
		return runMarkdown(args[1:], stdout, stderr)
	}
	for _, w := range workloads() {
		if w.name == args[0] {
			return runWorkload(w, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "bench: no workload %q\n\n", args[0])
	help(stderr)
	return exitUsage
}

func help(w io.Writer) {
	fmt.Fprint(w, `bench measures a relay as its clients and its operator see it.

  go run ./bench WORKLOAD [flags]
  go run ./bench compare OLD.json NEW.json       what changed beyond noise
  go run ./bench page OUT.html RUN.json...       several runs on one page
  go run ./bench markdown RUN.json...            their main figures as a table for a README

Workloads:
`)
	for _, l := range workloads() {
		fmt.Fprintf(w, "  %-10s %s\n", l.name, l.summary)
	}
	fmt.Fprint(w, "\ngo run ./bench WORKLOAD -h shows the flags. Exit codes: 0 measured and every\nmessage accounted for, 1 not, 2 wrong arguments.\n")
}

// usable reports whether a command can go on with its arguments, which are enough
// or not; otherwise it has told how the command is used.
func usable(args []string, enough bool, usage string, stdout, stderr io.Writer) (code int, ok bool) {
	switch {
	case len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]):
		fmt.Fprintln(stdout, usage)
		return exitOK, false
	case !enough:
		fmt.Fprintln(stderr, "bench:", usage)
		return exitUsage, false
	}
	return exitOK, true
}

func runWorkload(w workload, args []string, stdout, stderr io.Writer) int {
	b := &bench{notes: stderr, bar: newProgress(stderr)}
	f := newFlags(w, &b.options)
	f.SetOutput(io.Discard)
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(stdout)
		f.Usage()
		return exitOK
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%q is no flag", f.Arg(0))
	}
	if err == nil {
		err = b.validate(w, f)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\nbench %s -h shows the flags.\n", err, w.name)
		return exitUsage
	}
	// Before the run: an hour later it would be too late.
	if err := errors.Join(canWrite(b.json), canWrite(b.page)); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	defer os.RemoveAll(b.dir)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { // ends with the workload, or with the process
		if err := b.prepare(w.name, args); err != nil {
			done <- err
			return
		}
		done <- w.run(b)
	}()
	for {
		select {
		case err = <-done:
			return b.finish(err, stdout, stderr)
		case s := <-signals:
			if w.name == "soak" && !b.enough.Swap(true) {
				b.note("stopped by %v: what was sent is awaited, then comes the report; once more ends it at once", s)
				continue
			}
			fmt.Fprintln(stderr, "bench: stopped by", s) // the children die with this process
			return exitFailed
		}
	}
}

// canWrite reports why a file cannot be written that the user has asked for. It
// leaves none behind.
func canWrite(name string) error {
	if name == "" || name == "-" {
		return nil
	}
	_, missing := os.Stat(name)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if err = f.Close(); missing != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// finish writes what was found, also of a run that failed, and judges it.
func (b *bench) finish(err error, stdout, stderr io.Writer) int {
	if len(b.report.accounts) > 0 {
		err = errors.Join(err, b.write(stdout))
	}
	err = errors.Join(err, b.report.leaks)
	if n := b.report.faults(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d messages or connections went wrong, see the account", n))
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

// write puts the report where the flags ask for.
func (b *bench) write(stdout io.Writer) error {
	var err error
	if b.json == "-" {
		err = b.report.writeJSON(stdout)
	} else {
		err = b.report.writeTable(stdout)
		if b.json != "" {
			err = errors.Join(err, toFile(b.json, b.report.writeJSON))
		}
	}
	if b.page != "" {
		err = errors.Join(err, toFile(b.page, func(w io.Writer) error { return writePage(w, b.report.lines()) }))
	}
	return err
}

// toFile writes a file anew.
func toFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
