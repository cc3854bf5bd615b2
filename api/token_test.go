package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUserID(t *testing.T) {
	digits := strings.Repeat("1234567890", 600)
	for _, test := range []struct{ name, raw, want string }{
		{"absent", ``, ""},
		{"null", `null`, ""},
		{"true", `true`, ""},
		{"false", `false`, ""},
		{"empty string", `""`, ""},
		{"empty object", `{}`, ""},
		{"empty array", `[]`, ""},
		{"array of ids", `["a"]`, ""},

		{"string", `"USER_123"`, "USER_123"},
		{"digits in a string", `"0012"`, "0012"},
		{"space", `" "`, " "},
		{"escapes", `"a\/\"\\\n\u0041"`, "a/\"\\\nA"},
		{"escaped pair", `"\ud83d\ude00"`, "😀"},
		{"raw pair", `"😀"`, "😀"},
		{"half a pair", `"x\ud800y"`, "x\ufffdy"},
		{"zero character", `"a\u0000b"`, "a\x00b"},
		{"the word null", `"null"`, "null"},

		{"number", `123`, "123"},
		{"zero", `0`, "0"},
		{"minus zero", `-0`, "0"},
		{"minus zero, in full", `-0.00e7`, "0"},
		{"negative", `-7`, "-7"},
		{"above 2^53", `9007199254740993`, "9007199254740993"},
		{"above 2^64", `123456789012345678901234567890`, "123456789012345678901234567890"},
		{"6000 digits", digits, digits},
		{"exponent", `1e3`, "1000"},
		{"exponent with plus", `1E+3`, "1000"},
		{"negative exponent", `1e-3`, "0.001"},
		{"exponent eats the point", `1.25e2`, "125"},
		{"exponent moves the point", `1.25e1`, "12.5"},
		{"exponent below one", `-125e-3`, "-0.125"},
		{"exponent with zeros", `5e-00000000000000000000001`, "0.5"},
		{"whole", `1.0`, "1"},
		{"last zero", `1.50`, "1.5"},
		{"zeros stay in front of the point", `100`, "100"},
		{"zeros behind the point", `100.00`, "100"},
		{"fraction", `0.1`, "0.1"},
		{"fraction below a tenth", `-0.0070`, "-0.007"},
		{"zero with a huge exponent", `0e999999999999999999999`, "0"},
		{"largest float", `1e308`, "1" + strings.Repeat("0", 308)},
		{"smallest float", `5e-324`, "0." + strings.Repeat("0", 323) + "5"},

		{"id", `{"id":"a"}`, "a"},
		{"id as a number", `{"id":1e3}`, "1000"},
		{"id zero", `{"id":0}`, "0"},
		{"user_id", `{"user_id":"b"}`, "b"},
		{"user_id as a number", `{"user_id":42}`, "42"},
		{"id before user_id", `{"user_id":"b","id":"a"}`, "a"},
		{"empty id", `{"id":"","user_id":"b"}`, "b"},
		{"null id", `{"id":null,"user_id":"b"}`, "b"},
		{"object id", `{"id":{"id":"x"},"user_id":"b"}`, "b"},
		{"array id", `{"id":["x"],"user_id":7}`, "7"},
		{"both unusable", `{"id":true,"user_id":""}`, ""},
		{"other members", `{"name":"x","ids":"y"}`, ""},
		{"nested id only", `{"x":{"id":"a"}}`, ""},
		{"last id wins", `{"id":"a","id":"b"}`, "b"},
		{"last id wins, unusable too", `{"id":"a","id":null,"user_id":"c"}`, "c"},
		{"escaped name", `{"\u0069d":"a"}`, "a"},
		{"spaces", "{ \"id\" :\t\"a\" }", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := userID([]byte(test.raw))
			if err != nil || got != test.want {
				t.Fatalf("userID(%.80s) = %.80q, %v, want %.80q", test.raw, got, err, test.want)
			}
		})
	}
}

func TestUserIDRefusesWhatCannotBeWrittenOut(t *testing.T) {
	for _, raw := range []string{
		`1e1100`, `1e-1100`, `-9.9e999999999`, `1e99999999999999999999999999999999`,
		`1e-99999999999999999999999999999999`,
		`{"id":1e999999}`, `{"id":1e999999,"user_id":"b"}`, `{"user_id":1e999999}`,
	} {
		if got, err := userID([]byte(raw)); !errors.Is(err, errTooLong) {
			t.Errorf("userID(%s) = %.80q, %v, want errTooLong", raw, got, err)
		}
	}
}

func TestInteger(t *testing.T) {
	for _, test := range []struct {
		raw  string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0", 0, true}, {"5", 5, true}, {"5.0", 5, true}, {"5e1", 50, true},
		{"50e-1", 5, true}, {"0.5e1", 5, true}, {"-3", -3, true}, {"-3.00", -3, true},
		{"1.5", 0, false}, {"0.1", 0, false}, {"1e-1", 0, false}, {"-1.5", 0, false},
		{"9223372036854775807", 9223372036854775807, true},
		{"9223372036854775808", 9223372036854775807, true},
		{"-9223372036854775808", -9223372036854775808, true},
		{"-9223372036854775809", -9223372036854775808, true},
		{"1e30", 9223372036854775807, true}, {"-1e30", -9223372036854775808, true},
		{"99999999999999999999.5", 0, false}, {"-99999999999999999999.5", 0, false},
		{"1e999999999999", 0, false}, {"1e-999999999999", 0, false}, {"0e999999999999", 0, true},
	} {
		n, ok := integer([]byte(test.raw))
		if ok != test.ok || ok && n != test.want {
			t.Errorf("integer(%s) = %d, %t, want %d, %t", test.raw, n, ok, test.want, test.ok)
		}
	}
}

// canonical is every text that decimal may return.
var canonical = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$`)

// checkDecimal compares decimal with exact arithmetic.
func checkDecimal(t *testing.T, raw string) {
	t.Helper()
	got, err := decimal([]byte(raw))
	mantissa, exponent, _ := strings.Cut(strings.ToLower(raw), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		if got != "0" || err != nil {
			t.Fatalf("decimal(%s) = %.80q, %v, want 0", raw, got, err)
		}
		return
	}
	e := 0
	if exponent != "" {
		var convErr error
		if e, convErr = strconv.Atoi(exponent); convErr != nil {
			e = 1 << 40
		}
	}
	if limit := len(raw) + maxZeros + len(mantissa); e > limit || e < -limit {
		if !errors.Is(err, errTooLong) {
			t.Fatalf("decimal(%.80s) = %.80q, %v, want errTooLong", raw, got, err)
		}
		return
	}
	if err != nil {
		if e > -maxZeros/2 && e < maxZeros/2 {
			t.Fatalf("decimal(%.80s): %v", raw, err)
		}
		return
	}
	want, ok := new(big.Rat).SetString(raw)
	value, ok2 := new(big.Rat).SetString(got)
	if !ok || !ok2 || want.Cmp(value) != 0 || !canonical.MatchString(got) || got == "-0" {
		t.Fatalf("decimal(%.80s) = %.80q", raw, got)
	}
}

func FuzzUserID(f *testing.F) {
	for _, seed := range []string{
		`123`, `-0.00`, `1.50e-7`, `1e1024`, `123456789.123456789e20`, `"a\ud800"`, `"\u00e9\n"`,
		`{"id":1e3}`, `{"id":null,"user_id":"b"}`, `{"i\u0064":"a","id":""}`, `[1]`, `null`, `""`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.TrimSpace(raw)
		if !utf8.Valid(raw) || !json.Valid(raw) || depthOf(raw) > maxDepth {
			t.Skip()
		}
		if isNumber(raw) {
			checkDecimal(t, string(raw))
		}
		got, err := userID(raw)
		want, wantErr := slowUserID(raw)
		if got != want && err == nil || (err == nil) != (wantErr == nil) {
			t.Fatalf("userID(%s) = %q, %v, want %q, %v", raw, got, err, want, wantErr)
		}
	})
}

// slowUserID is the token rule by encoding/json.
func slowUserID(raw []byte) (string, error) {
	var members map[string]json.RawMessage
	if raw[0] == '{' && json.Unmarshal(raw, &members) == nil {
		for _, name := range []string{"id", "user_id"} {
			value := members[name]
			if len(value) > 0 && value[0] != '{' {
				if id, err := slowUserID(value); id != "" || err != nil {
					return id, err
				}
			}
		}
		return "", nil
	}
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	if isNumber(raw) {
		return decimal(raw)
	}
	return "", nil
}
