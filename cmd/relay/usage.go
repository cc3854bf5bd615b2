package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

const usageHead = `relay delivers what your backend pushes to every open WebSocket of a user,
or to everyone.

Start it:   relay
Connect:    new WebSocket("ws://localhost:3000/ws?token=USER_123")
Push:       curl http://localhost:3000/api/push -H 'X-API-KEY: ` + defaultAPIKey + `' \
              -d '{"event_name":"hello","subject":{"any":"payload"},"token":"USER_123"}'
            Without "token" everyone gets it.

Flags:
  -config PATH   config file (default "config.json"); written if it does not exist
  -check         print every setting, its value and where it came from, and exit
  -version       print version, commit and Go release, and exit
  -h             print this text, and exit

What fits:  relay doctor [-connections N] [-json] [-config PATH]
            How many connections this machine holds, what stops there, and the
            lines that change it. More: relay doctor -h

Settings, from the config file, else from the environment, else the default:
`

const usageTail = `
Durations have a unit ("25s", "1m30s"), sizes are bytes, lists are JSON arrays
(comma-separated in the environment). In the environment a setting is
RELAY_ and its name in capitals, but for PORT, WS_PATH and PUSH_PATH.

SIGTERM, SIGINT (Ctrl-C) and a closing terminal stop the relay well: accepted
pushes go out, clients get a close frame. A second SIGTERM or SIGINT, more than
a second after the first, stops it at once. Exit codes: 0 stopped well, 1
something to mend (one line says what).
`

const doctorUsage = `relay doctor [-connections N] [-json] [-config PATH]

How many connections this machine holds, what stops there, and the lines that
change it. Changes nothing.

Flags:
  -connections N   whether N fit: a whole number, such as 1000000
  -json            print the report as JSON
  -config PATH     config file of the relay (default "config.json"); only read
  -h               print this text, and exit

It sees the limits of whoever starts it. Under systemd those of the service
are not those of a shell:

  systemd-run -p LimitNOFILE=1048576 --pipe \
    /usr/local/bin/relay doctor -config /var/lib/relay/config.json

Exit codes: 0 it fits, 1 it does not or something is to mend (one line says
what).
`

// printUsage writes the text of -h.
func printUsage(w io.Writer) {
	fmt.Fprint(w, usageHead)
	c := Default()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings() {
		value := s.text(&c)
		if value == "0" && s.zero != "" {
			value = "0 (" + s.zero + ")"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.key, orDash(value), s.help)
	}
	t.Flush()
	fmt.Fprint(w, usageTail)
}

// printDoctorUsage writes the text of doctor -h.
func printDoctorUsage(w io.Writer) { fmt.Fprint(w, doctorUsage) }

// printCheck writes the text of -check: every setting as it would be used.
func printCheck(w io.Writer, l *loaded, m machine, files budget) {
	settled := l.config.Settled(m, files)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM")
	for _, s := range settings() {
		value, used := s.text(&l.config), s.text(&settled)
		switch {
		case s.kind == kindSecret:
			value = masked(value)
		case value != used:
			value += " (here " + used + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.key, orDash(value), l.sources[s.key])
	}
	t.Flush()
	fmt.Fprintf(w, "\nThe open-file limit of %d serves %d connections; %d files are kept in reserve.\n", m.files, files.connections, files.reserve)
	if l.config.MaxConnections > files.connections {
		fmt.Fprintf(w, "max_connections is more than that; %s\n", raiseHint(l.config.MaxConnections+files.reserve))
	}
}

// masked hides a secret, its length too, and still tells the public one.
func masked(secret string) string {
	stars := strings.Repeat("*", 8)
	if secret == defaultAPIKey {
		return stars + " (the well-known default)"
	}
	return stars
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
