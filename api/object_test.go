package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestReadObjectFindsRawValues(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"plain", `{"a":1}`, `1`},
		{"spaces around", "\n { \"a\"\t:\r [ 1, 2 ]  } ", `[ 1, 2 ]`},
		{"missing", `{"b":1}`, ``},
		{"empty", `{}`, ``},
		{"digits kept", `{"a":1.0000000000000000000000000000000001e0}`, `1.0000000000000000000000000000000001e0`},
		{"escapes kept", `{"a":"\u0041\/"}`, `"\u0041\/"`},
		{"brackets in strings", `{"x":"}]{[","a":"{\"a\":1}"}`, `"{\"a\":1}"`},
		{"nested name", `{"x":{"a":1},"y":[{"a":2}]}`, ``},
		{"last wins", `{"a":1,"a":2}`, `2`},
		{"last wins, escaped", `{"a":1,"\u0061":null}`, `null`},
		{"name as a value", `{"x":"a","y":"a"}`, ``},
		{"longer name", `{"aa":1,"":2,"a ":3}`, ``},
		{"colon in a value", `{"x":":","a":":"}`, `":"`},
		{"key order kept", `{"a":{"z":1,"a":2}}`, `{"z":1,"a":2}`},
		{"literals", `{"t":true,"f":false,"a":null}`, `null`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var values [1][]byte
			if err := readObject([]byte(test.body), []string{"a"}, values[:]); err != nil {
				t.Fatal(err)
			}
			if string(values[0]) != test.want {
				t.Fatalf("got %s, want %s", values[0], test.want)
			}
		})
	}
}

func TestReadObjectRefuses(t *testing.T) {
	for _, body := range notObjects {
		if err := readObject([]byte(body), nil, nil); !errors.Is(err, errNotObject) {
			t.Errorf("%q: %v, want errNotObject", body, err)
		}
	}
	deepest := strings.Repeat(`{"a":`, maxDepth-1) + `{}` + strings.Repeat(`}`, maxDepth-1)
	if err := readObject([]byte(deepest), nil, nil); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := readObject([]byte(`{"a":`+deepest+`}`), nil, nil); !errors.Is(err, errTooDeep) {
		t.Errorf("%d levels: %v, want errTooDeep", maxDepth+1, err)
	}
}

// notObjects are bodies that are not one JSON object.
var notObjects = []string{
	``, ` `, `null`, `1`, `"a"`, `[]`, `[{}]`, `{`, `}`, `{]`, `{}{}`, `{},`, `{} x`, `{"a":1}}`,
	"\xef\xbb\xbf{}", "\x00{}", "{}\x00", `{a:1}`, `{'a':1}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`,
	`{"a":1 "b":2}`, `{"a":nan}`, `{"a":NaN}`, `{"a":inf}`, `{"a":-inf}`, `{"a":+1}`, `{"a":01}`,
	`{"a":.5}`, `{"a":5.}`, `{"a":1e}`, `{"a":0x1}`, `{"a":--1}`, `{"a":tru}`, `{"a":True}`,
	`{"a":nul`, `{"a":truefalse}`, `{"a":"`, `{"a":"\"}`, `{"a":"\x41"}`, `{"a":"\u12g4"}`,
	`{"a":"\u12`, `{"a":"\u+123"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x01 \\n\"}", "{\"\x1f\\n\":1}",
	`{"a":[1,2}`, `{"a":{"b":1]}`, `{"a":1}/**/`, "{\"a\":\v1}", "{\"a\":1}\f", "{\"a\":\u00a01}",
	`{"a":[1,]}`, `{"a":[,1]}`, `{"a"::1}`, `{1:2}`, `{null:1}`,
}

// FuzzReadObject compares readObject with encoding/json: what is valid, and
// what the values of the members are.
func FuzzReadObject(f *testing.F) {
	for _, body := range notObjects {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"a":{"b":[1,-2.5e3,"\ud83d\ude00",null]},"\u0062":" x ","a":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) { checkReadObject(t, body) })
}

func checkReadObject(t *testing.T, body []byte) {
	names := []string{"a", "b", "event_name"}
	values := make([][]byte, len(names))
	err := readObject(body, names, values)

	first := bytes.TrimLeft(body, " \t\r\n")
	isObject := json.Valid(body) && first[0] == '{'
	if depthOf(body) > maxDepth {
		isObject = false
	}
	if (err == nil) != isObject {
		t.Fatalf("readObject(%q): %v, encoding/json: %t", body, err, isObject)
	}
	if !isObject {
		return
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if !bytes.Equal(values[i], want[name]) {
			t.Fatalf("%s of %q: %q, want %q", name, body, values[i], want[name])
		}
	}
}

// depthOf is the depth of valid JSON.
func depthOf(b []byte) int {
	depth, deepest := 0, 0
	inString, escaped := false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// The scan of strings goes eight bytes at a time: every kind of end at every
// offset, in front of plain bytes and of bytes that look like an end.
func TestStringEndAtEveryOffset(t *testing.T) {
	for lead := range 20 {
		for _, tail := range []string{"", "x", "\x1f", "\"\"\"", "\\\\", "\xff\x80\x7f", strings.Repeat("y", 9)} {
			plain := "\x80 !#[]~\x7f\xffabcdefghijkl"[:lead]
			for _, test := range []struct {
				content string
				want    int
			}{
				{`"`, lead + 1}, {`\""`, lead + 3}, {`\\"`, lead + 3}, {`\u00e9"`, lead + 7},
				{"\x1f\"", -1}, {"\x00\"", -1}, {`\x"`, -1}, {`\u00`, -1}, {"\x7f\"", lead + 2}, {" !#[]\"", lead + 6},
			} {
				if got := stringEnd([]byte(plain+test.content+tail), 0); got != test.want {
					t.Fatalf("%d plain, %q, %q: %d, want %d", lead, test.content, tail, got, test.want)
				}
			}
		}
	}
}
