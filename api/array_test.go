package api

import (
	"bytes"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	for _, test := range []struct{ name, raw, want string }{ // elements, with | between
		{"empty", `[]`, ``},
		{"spaces only", "[ \n\t ]", ``},
		{"one", `[1]`, `1`},
		{"spaces", "[ 1 ,\t\"a\" , null ]", `1|"a"|null`},
		{"nested", `[[1,[2]],{"a":[1,2],"b":{}},[]]`, `[1,[2]]|{"a":[1,2],"b":{}}|[]`},
		{"brackets in strings", `["],[",{"}":"\"]"}]`, `"],["|{"}":"\"]"}`},
		{"literals", `[true,false,null,-1.5e3]`, `true|false|null|-1.5e3`},
		{"most", `[1,2,3,4,5,6,7]`, `1|2|3|4|5`},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, ok := elements(nil, []byte(test.raw), 5)
			if got := string(bytes.Join(list, []byte("|"))); !ok || got != test.want {
				t.Fatalf("got %s, %t, want %s", got, ok, test.want)
			}
		})
	}
	for _, raw := range []string{``, `null`, `{}`, `{"a":[1]}`, `"[]"`, `1`, `true`} {
		if list, ok := elements(nil, []byte(raw), 5); ok {
			t.Errorf("%s has elements %q", raw, list)
		}
	}
	// What a list holds beyond the bound costs nothing.
	long := []byte("[" + strings.Repeat("1,", 100_000) + "1]")
	if list, ok := elements(nil, long, 5); !ok || len(list) != 5 || cap(list) > 8 {
		t.Errorf("%d elements, room for %d", len(list), cap(list))
	}
}
