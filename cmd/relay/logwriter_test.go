package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// A reader that does not read holds up neither the lines nor the end.
func TestLogWriterWaitsForNobody(t *testing.T) {
	r, to := io.Pipe()
	w := newLogWriter(to)
	const lines = logQueue + 100
	for i := range lines {
		fmt.Fprintf(w, "line %d\n", i)
	}
	w.close()
	fmt.Fprintf(w, "after the end\n")

	// Whoever reads at last gets the oldest lines in order, and the count of
	// the lost ones.
	go func() {
		<-w.done
		to.Close()
	}()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	got, lost := 0, 0
	for line := range strings.Lines(string(text)) {
		var n int
		if _, err := fmt.Sscanf(line, "%d log lines were lost", &n); err == nil {
			lost += n
			continue
		}
		if want := fmt.Sprintf("line %d\n", got); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
		got++
	}
	if lost == 0 || got+lost != lines {
		t.Errorf("%d lines and %d lost, of %d", got, lost, lines)
	}
}

func TestLogWriterWritesEverythingBeforeTheEnd(t *testing.T) {
	var out strings.Builder
	w := newLogWriter(&out)
	for range 100 {
		fmt.Fprint(w, "line\n")
	}
	w.close()
	w.close()
	if n := strings.Count(out.String(), "line\n"); n != 100 {
		t.Errorf("%d lines of 100", n)
	}
}
