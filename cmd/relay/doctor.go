package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"gorelay/doctor"
)

// doctorName is the subcommand that looks at the machine instead of serving.
const doctorName = "doctor"

// doctorFlags are the command line behind it.
type doctorFlags struct {
	config      string
	connections int // 0 = how many fit
	json        bool
}

// runDoctor reports how many connections this machine holds, and whether what
// was asked for fits. It writes no file and raises no limit.
func runDoctor(args, environ []string, m doctor.Machine, stdout, stderr io.Writer) int {
	f, err := parseDoctorFlags(args)
	if err != nil {
		return explain(err, stdout, stderr)
	}
	l, err := load(f.config, environ, false)
	if err != nil {
		return fail(stderr, err)
	}
	for _, n := range l.notes {
		if n.level >= slog.LevelError {
			fmt.Fprintf(stderr, "relay: %s\n", n.text)
		}
	}
	report := doctor.Examine(m.Facts(), examined(l.config, m), int64(f.connections))
	write := report.WriteTable
	if f.json {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return fail(stderr, err)
	}
	if !report.OK {
		return exitFailed
	}
	return exitOK
}

// examined is the relay that c makes on this machine.
func examined(c Config, m doctor.Machine) doctor.Relay {
	here := machine{cores: m.Cores, memory: memoryOf(m)}
	loops := c.loops(here)
	settled := c.Settled(here, budget{})
	var disk doctor.Disk
	if settled.DataDir != noDataDir {
		disk = doctor.DiskOf(settled.DataDir)
	}
	return doctor.Relay{
		Port:           c.Port,
		Loops:          loops,
		MaxConnections: int64(c.MaxConnections),
		PendingBytes:   settled.MaxTotalPendingBytes,
		PingInterval:   c.PingInterval,
		MaxDelayed:     int64(c.MaxDelayed),
		Disk:           disk,
		Serves:         func(files uint64) int { return newBudget(files, loops, settled.Shards).connections },
	}
}

// parseDoctorFlags reads what stands behind "relay doctor".
func parseDoctorFlags(args []string) (doctorFlags, error) {
	f := doctorFlags{}
	fs := flag.NewFlagSet("relay doctor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.config, "config", "config.json", "")
	fs.IntVar(&f.connections, "connections", 0, "")
	fs.BoolVar(&f.json, "json", false, "")
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	switch given := flagGiven(fs, "connections"); {
	case fs.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case f.config == "":
		return f, errors.New("-config needs a path")
	case given && (f.connections < 1 || f.connections > mostConnections):
		return f, fmt.Errorf("-connections must be from 1 to %d", mostConnections)
	}
	return f, nil
}

// mostConnections is also what max_connections may be at most.
const mostConnections = 1 << 30

func flagGiven(fs *flag.FlagSet, name string) bool {
	given := false
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}
