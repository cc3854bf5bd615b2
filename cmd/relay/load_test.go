package main

import (
	"strings"
	"testing"
)

func TestOrderOfSources(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env        []string
		port       int
		from       source
	}{
		{"default", `{}`, nil, 3000, fromDefault},
		{"environment", `{}`, []string{"PORT=1"}, 1, fromEnvironment},
		{"file", `{"port":"2"}`, []string{"PORT=1"}, 2, fromFile},
		{"file number", `{"port":2}`, nil, 2, fromFile},
		{"zero is a value", `{"port":0}`, []string{"PORT=1"}, 0, fromFile},
		{"empty in the file", `{"port":""}`, []string{"PORT=1"}, 1, fromEnvironment},
		{"null in the file", `{"port":null}`, []string{"PORT=1"}, 1, fromEnvironment},
		{"empty in both", `{"port":""}`, []string{"PORT="}, 3000, fromDefault},
		{"the environment's last", `{}`, []string{"PORT=1", "PORT=2"}, 2, fromEnvironment},
		{"nonsense that is shadowed", `{"port":"2"}`, []string{"PORT=nonsense"}, 2, fromFile},
		{"key in another case", `{"Port":"2"}`, nil, 2, fromFile},
		{"key in both cases", `{"PORT":"3","port":"2","Port":"4"}`, nil, 2, fromFile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := mustLoad(t, put(t, tc.file), tc.env...)
			if l.config.Port != tc.port || l.sources["port"] != tc.from {
				t.Errorf("port %d from %s, want %d from %s", l.config.Port, l.sources["port"], tc.port, tc.from)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env        []string
		want       []string // one part of each note, in order
	}{
		{"nothing to say", `{"api_key":"k"}`, []string{"WS_PATH=/w", "HOME=/", "RELAY_LOOPS=1"}, nil},
		{"well-known key", `{}`, nil, []string{"well-known default"}},
		{"well-known key, written out", `{"api_key":"` + defaultAPIKey + `"}`, nil, []string{"well-known default"}},
		{"key with a line feed", `{"api_key":"geh\neim"}`, nil, []string{"control character"}},
		{"key with white space", `{}`, []string{"RELAY_API_KEY=geheim "}, []string{"white space"}},
		{"unknown key", `{"api_key":"k","data_folder":"geheim","zzz":1}`, nil, []string{`"data_folder"`, `"zzz"`}},
		{"misspelt key", `{"api_key":"k","max_conections":1}`, nil, []string{`did you mean "max_connections"?`}},
		{"shadowed", `{"api_key":"k","port":1}`, []string{"RELAY_API_KEY=geheim", "PORT=1"}, []string{"variable PORT has no effect", "variable RELAY_API_KEY has no effect"}},
		{"not shadowed by an empty value", `{"api_key":""}`, []string{"RELAY_API_KEY=geheim"}, nil},
		{"unknown variable", `{"api_key":"k"}`, []string{"RELAY_MAX_DELAYS=geheim", "RELAY_WS_PATH=/geheim", "RELAY_X="}, []string{`did you mean "RELAY_MAX_DELAY"?`, `did you mean "WS_PATH"?`}},
		{"variables of an orchestrator", `{"api_key":"k"}`, []string{"RELAY_PORT=tcp://10.0.0.1:3000", "RELAY_PORT_3000_TCP_ADDR=10.0.0.1", "RELAY_SERVICE_HOST=10.0.0.1"}, nil},
		{"empty list", `{"api_key":"k","allowed_origins":[]}`, nil, []string{"allowed_origins"}},
		{"empty list under a set variable", `{"api_key":"k","allowed_origins":[]}`, []string{"RELAY_ALLOWED_ORIGINS=https://a"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := mustLoad(t, put(t, tc.file), tc.env...)
			ok := len(l.notes) == len(tc.want)
			for i := range min(len(l.notes), len(tc.want)) {
				found := false
				for _, n := range l.notes {
					found = found || strings.Contains(n.text, tc.want[i])
				}
				ok = ok && found
			}
			if !ok {
				t.Errorf("want %q, got\n%s", tc.want, notesOf(l))
			}
			if n := notesOf(l); strings.Contains(n, "geheim") || strings.Contains(n, defaultAPIKey) {
				t.Errorf("a note shows a value: %s", n)
			}
		})
	}
}

func TestProblemsNameKeySourceValueAndWhatIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		file string
		env  []string
		want []string
	}{
		{`{"port":"70000"}`, nil, []string{"port ", "config.json", `"70000"`, "1 to 65535"}},
		{`{"port":true}`, nil, []string{"port ", "config.json", `"true"`}},
		{`{"max_push_bytes":-1}`, nil, []string{"max_push_bytes", "config.json", `"-1"`, "bytes from 1"}},
		{`{}`, []string{"RELAY_MAX_PUSH_BYTES=-1"}, []string{"max_push_bytes", "RELAY_MAX_PUSH_BYTES", `"-1"`, "bytes from 1"}},
		{`{"ping_interval":25}`, nil, []string{"ping_interval", `"25"`, `such as "25s"`, "0 for off"}},
		{`{"ws_path":"a\nb"}`, nil, []string{"ws_path", `"a\nb"`}},
		{`{"ws_path":"/same"}`, []string{"PUSH_PATH=/same"}, []string{"ws_path", "config.json", "push_path", "environment", `"/same"`, "two different"}},
		{`{"push_path":"/health"}`, nil, []string{"push_path", `"/health"`}},
		{`{"push_path":"` + strings.Repeat("ü", 1000) + `"}`, nil, []string{"push_path", "ü…"}},
		{`{"allowed_origins":{"a":1}}`, nil, []string{"allowed_origins", `{\"a\":1}`}},
		{`{"api_key":["geheim"]}`, nil, []string{"api_key", "config.json", "a string"}},
	} {
		_, err := load(put(t, tc.file), tc.env, true)
		if err == nil {
			t.Errorf("%s %v: accepted", tc.file, tc.env)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nlacks %q", err, want)
			}
		}
		if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("shows a secret, or is not one short line: %v", err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"port", "port", 0}, {"prot", "port", 2}, {"max_delay", "max_delayed", 2}, {"kitten", "sitting", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q to %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
