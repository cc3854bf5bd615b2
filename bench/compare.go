package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// change is one figure in two runs.
type change struct {
	old, new *figure
	verdict  verdict
}

// verdict says whether a figure has changed. Two runs differ when no round of
// one lies within the range of the other: what the rounds of one run differ by
// is the noise.
type verdict string

const (
	better  verdict = "better"
	worse   verdict = "worse"
	changed verdict = "changed" // where no direction is the good one
	same    verdict = "~"       // within noise
	single  verdict = "?"       // one round tells nothing of the noise
)

// compareFigures judges every figure that both runs have, in the order of the
// new one.
func compareFigures(before, after []*figure) (all []change) {
	type key struct{ workload, name string }
	known := make(map[key]*figure)
	for _, f := range before {
		known[key{f.Workload, f.Name}] = f
	}
	for _, f := range after {
		if o := known[key{f.Workload, f.Name}]; o != nil && len(o.Values) > 0 && len(f.Values) > 0 {
			all = append(all, change{o, f, judge(o, f)})
		}
	}
	return all
}

func judge(before, after *figure) verdict {
	up, down := after.Min > before.Max, after.Max < before.Min
	switch {
	case !up && !down:
		return same
	case len(before.Values) < 2 || len(after.Values) < 2:
		return single
	case after.Better == either:
		return changed
	case up == (after.Better == higher):
		return better
	}
	return worse
}

// runCompare is "bench compare OLD.json NEW.json".
func runCompare(args []string, stdout, stderr io.Writer) int {
	if code, ok := usable(args, len(args) == 2, "compare takes two files that -json wrote: OLD.json NEW.json", stdout, stderr); !ok {
		return code
	}
	var runs [2]document
	for i, name := range args {
		var err error
		if runs[i], err = readDocument(name); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return exitFailed
		}
	}
	all := compareFigures(runs[0].figures, runs[1].figures)
	if len(all) == 0 {
		fmt.Fprintln(stderr, "bench: the two files have no figure in common: are they of the same workload?")
		return exitFailed
	}
	for i, r := range runs {
		for _, info := range r.runs {
			fmt.Fprintf(stdout, "%s: %s at commit %s on %s, %s\n", [2]string{"old", "new"}[i], info.Workload, info.build, info.Machine, info.Setup)
		}
	}
	if old, now := runs[0].setups(), runs[1].setups(); !slices.Equal(old, now) {
		fmt.Fprintln(stderr, "bench: the two runs were not set up alike, see above: what differs may be that")
	}
	if err := writeChanges(stdout, all); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

func writeChanges(w io.Writer, all []change) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nold\t(min – max)\tnew\t(min – max)\tchange\tverdict\tunit\t   figure")
	beyond := 0
	for _, c := range all {
		percent := "–"
		if c.old.Median != 0 {
			percent = fmt.Sprintf("%+.1f %%", 100*(c.new.Median/c.old.Median-1))
		}
		if c.verdict != same && c.verdict != single {
			beyond++
		}
		fmt.Fprintf(t, "%s\t(%s – %s)\t%s\t(%s – %s)\t%s\t%s\t%s\t   %s\n", short(c.old.Median), short(c.old.Min), short(c.old.Max),
			short(c.new.Median), short(c.new.Min), short(c.new.Max), percent, c.verdict, c.new.Unit, c.new.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d figures changed beyond noise: no round of one run lies within the range of the other.\n"+
		"~ is within noise; ? has too few rounds to tell. Ratios to the floor hold across machines, other figures do not.\n", beyond, len(all))
	return err
}

// document is what -json wrote, of one run or of several.
type document struct {
	lines    []any // as they came
	runs     []runInfo
	figures  []*figure
	accounts []*account
}

// maxLine bounds one line of a file, in bytes.
const maxLine = 16 << 20

// setups say what the runs did, in their order.
func (d *document) setups() (all []string) {
	for _, r := range d.runs {
		all = append(all, r.Setup)
	}
	return all
}

func readDocument(name string) (d document, err error) {
	f, err := os.Open(name)
	if err != nil {
		return d, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := d.add(lines.Bytes()); err != nil {
			return d, fmt.Errorf("%s, line %d: %w; is it a file that -json wrote?", name, n, err)
		}
	}
	return d, lines.Err()
}

func (d *document) add(line []byte) error {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	d.lines = append(d.lines, json.RawMessage(append([]byte(nil), line...)))
	switch kind.Type {
	case "run":
		var r runInfo
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		d.runs = append(d.runs, r)
	case "figure":
		var f figure
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		d.figures = append(d.figures, &f)
	case "messages":
		var a account
		if err := json.Unmarshal(line, &a); err != nil {
			return err
		}
		d.accounts = append(d.accounts, &a)
	case "":
		return fmt.Errorf("no type")
	}
	return nil
}
