package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is what an examination found. Its JSON form is stable: keys may be
// added, none renamed; a number that is not known is null.
type Report struct {
	Schema      int     `json:"schema"`       // 1
	ConfigFile  string  `json:"config_file"`  // where the relay's settings were looked for
	ConfigState string  `json:"config_state"` // one of ConfigRead, ConfigMissing and ConfigBroken
	Asked       Number  `json:"asked"`        // connections asked for
	Connections int64   `json:"connections"`  // what the checks are held against: asked, else what fits
	Fits        Number  `json:"fits"`         // connections that fit; unknown if no limit could be read
	StoppedBy   string  `json:"stopped_by"`   // the check that stops at Fits; "" if none is known
	OK          bool    `json:"ok"`           // what was asked for fits; or, asked for nothing, at least one
	Container   bool    `json:"container"`    // the lines to apply are for one
	Checks      []Check `json:"checks"`
	Costs       []Cost  `json:"costs"`
}

const schema = 1

// What a ConfigState can be.
const (
	ConfigRead    = "read"
	ConfigMissing = "missing"
	ConfigBroken  = "broken"
)

// MarshalJSON is the number, or null.
func (v Number) MarshalJSON() ([]byte, error) {
	if !v.known {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, v.n, 10), nil
}

// Examine works out whether n connections fit; for n = 0, how many do. A limit
// that cannot be read stops nothing.
func Examine(f Facts, r Relay, n int64) Report {
	report := Report{Schema: schema, ConfigFile: r.ConfigFile, ConfigState: r.ConfigState, Connections: n, Container: f.Container, Costs: costs()}
	checks := examine(f, r, n)
	for _, c := range checks {
		fits, bounds := c.Fits.Get()
		if bounds && fits < unlimited && (!report.Fits.known || fits < report.Fits.n) {
			report.Fits, report.StoppedBy = c.Fits, c.Name
		}
	}
	if n > 0 {
		report.Asked = Known(n)
		report.OK = !report.Fits.known || report.Fits.n >= n
	} else {
		report.Connections = report.Fits.n
		report.OK = !report.Fits.known || report.Fits.n > 0
		checks = examine(f, r, report.Connections)
	}
	for i := range checks {
		if checks[i].Apply == nil {
			checks[i].Apply = []string{} // never null
		}
		if fits := checks[i].Fits; fits.known && fits.n >= unlimited {
			checks[i].Fits = Number{}
		}
	}
	report.Checks = checks
	return report
}

// WriteJSON writes the report as one indented object.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // the lines are to be copied
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the report for people: a line a check, then the lines to
// apply, then why each note and advice stands there.
func (r Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CHECK\tVALUE\tNEEDED\tFITS\tVERDICT\n")
	for _, c := range r.Checks {
		fits := "-"
		if n, known := c.Fits.Get(); known {
			fits = strconv.FormatInt(n, 10)
		}
		if c.Name == r.StoppedBy {
			fits += " <"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.Value, dash(c.Needed), fits, c.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	only := ""
	if r.ConfigState != ConfigRead {
		only = " (" + r.ConfigState + ": only environment and defaults count)"
	}
	fmt.Fprintf(&b, "\nConfig file: %s%s\n%s\n", r.ConfigFile, only, r.summary())
	lines, heading := map[string]bool{}, "\nApply:\n"
	if r.Container {
		heading = "\nApply (this looks like a container):\n"
	}
	for _, c := range r.Checks {
		for _, line := range c.Apply {
			if !lines[line] {
				fmt.Fprintf(&b, "%s  %s\n", heading, line)
				lines[line], heading = true, ""
			}
		}
	}
	fmt.Fprint(&b, "\nWhy:\n")
	for _, c := range r.Checks {
		if c.Verdict != OK {
			fmt.Fprintf(&b, "  %s: %s.\n", c.Name, c.Why)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary is the answer in a sentence.
func (r Report) summary() string {
	asked, wasAsked := r.Asked.Get()
	fits, known := r.Fits.Get()
	switch {
	case !known:
		return "No limit could be read here, so none is known to stop the relay."
	case wasAsked && r.OK:
		return fmt.Sprintf("%d connections fit. The first limit is %s, at %d.", asked, r.StoppedBy, fits)
	case wasAsked:
		return fmt.Sprintf("%d connections do not fit: %s stops at %d.", asked, r.StoppedBy, fits)
	}
	return fmt.Sprintf("%d connections fit; %s stops there.", fits, r.StoppedBy)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
