package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// page is the HTML around the data: style, plots and all, so that the file
// opens anywhere without a network.
//
//go:embed page.html
var page []byte

// pagePlace is where the data goes, an array of the lines of -json.
const pagePlace = "/*DATA*/[]"

// writePage writes the page of some lines. Encoded by this package, "<" is
// escaped: no text in the data can end the script.
func writePage(w io.Writer, lines []any) error {
	data, err := json.Marshal(lines)
	if err != nil {
		return err
	}
	_, err = w.Write(bytes.Replace(page, []byte(pagePlace), data, 1))
	return err
}

// runPage is "bench page OUT.html RUN.json...".
func runPage(args []string, stdout, stderr io.Writer) int {
	if code, ok := usable(args, len(args) >= 2, "page takes the file to write and one or more that -json wrote: OUT.html RUN.json...", stdout, stderr); !ok {
		return code
	}
	if !strings.HasSuffix(args[0], ".html") {
		fmt.Fprintf(stderr, "bench: page writes to its first argument, and %s does not end with .html\n", args[0])
		return exitUsage
	}
	var lines []any
	for _, name := range args[1:] {
		d, err := readDocument(name)
		if err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return exitFailed
		}
		lines = append(lines, d.lines...)
	}
	if err := toFile(args[0], func(w io.Writer) error { return writePage(w, lines) }); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}
