package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"

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
		return explain(err, "relay "+doctorName, printDoctorUsage, stdout, stderr)
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
	r := examined(l.config, m)
	r.ConfigFile = filepath.Join(l.config.configDir, filepath.Base(f.config))
	r.ConfigState = [...]string{stateFine: doctor.ConfigRead, stateMissing: doctor.ConfigMissing, stateBroken: doctor.ConfigBroken}[l.file]
	report := doctor.Examine(m.Facts(), r, int64(f.connections))
	write := report.WriteTable
	if f.json {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return fail(stderr, err)
	}
	if !report.OK || l.file == stateBroken { // what was examined is not what its user wrote
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
	fs.Func("connections", "", func(text string) (err error) {
		if f.connections, err = strconv.Atoi(text); err != nil {
			err = errors.New("it takes a whole number, such as 1000000")
		}
		return err
	})
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
