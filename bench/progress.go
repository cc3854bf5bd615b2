package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// progress is one line on a terminal that says how far a run is, how fast, and
// how long it will take. Without a terminal it writes nothing.
type progress struct {
	out io.Writer // nil if there is no terminal
}

// progressStep is how often the line is written anew.
const progressStep = 250 * time.Millisecond

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	if !ok {
		return &progress{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return &progress{}
	}
	return &progress{out: f}
}

// begin shows how count, from 0, comes to total, until the function that it
// returns is called.
func (p *progress) begin(what string, total int64, count func() int64) (end func()) {
	if p == nil || p.out == nil {
		return func() {}
	}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() { // ends by quit; the caller of end waits for it
		defer close(gone)
		tick := time.NewTicker(progressStep)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-quit:
				fmt.Fprint(p.out, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(p.out, "\r\x1b[K"+progressLine(what, count(), total, time.Since(began)))
			}
		}
	}()
	return func() { close(quit); <-gone }
}

// during shows a time that passes.
func (p *progress) during(what string, d time.Duration) (end func()) {
	began := time.Now()
	return p.begin(what, d.Milliseconds(), func() int64 { return -time.Since(began).Milliseconds() })
}

// progressLine is the text. A negative count is milliseconds that have passed.
func progressLine(what string, count, total int64, took time.Duration) string {
	const width = 24
	passing := count < 0
	count = max(count, -count)
	share := min(1, float64(count)/float64(max(total, 1)))
	bar := make([]rune, width)
	for i := range bar {
		bar[i] = '·'
		if float64(i) < share*width {
			bar[i] = '━'
		}
	}
	left := "–"
	if share > 0 {
		left = time.Duration(float64(took) * (1 - share) / share).Round(100 * time.Millisecond).String()
	}
	if passing {
		return fmt.Sprintf("%s %s %3.0f %%  %s left", what, string(bar), 100*share, left)
	}
	return fmt.Sprintf("%s %s %d of %d  %.0f a second  %s left", what, string(bar), count, total, float64(count)/took.Seconds(), left)
}
