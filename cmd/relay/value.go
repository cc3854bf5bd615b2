package main

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// kind is how a setting's value is written and judged.
type kind uint8

const (
	kindPort     kind = iota // a number or a string of digits
	kindSecret               // a string that is never shown
	kindPath                 // a path of the HTTP server
	kindHost                 // an address to listen on
	kindCount                // a whole number
	kindBytes                // a whole number of bytes
	kindDuration             // a string with units
	kindOrigins              // a list of web origins
	kindChoice               // one word of a few
	kindSwitch               // true or false
	kindFolder               // a path in the file system
)

// healthPath belongs to the health check and to no setting.
const healthPath = "/health"

// set parses text into the setting's field of c and reports whether the
// value is allowed; c is unchanged if not.
func (s *setting) set(c *Config, text string) bool {
	switch p := s.field(c).(type) {
	case *int:
		n, ok := s.number(text)
		if ok {
			*p = int(n)
		}
		return ok
	case *int64:
		n, ok := s.number(text)
		if ok {
			*p = n
		}
		return ok
	case *time.Duration:
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || !s.inRange(int64(d)) {
			return false
		}
		*p = d
		return true
	case *[]string:
		list := splitList(text)
		if len(list) == 0 || slices.ContainsFunc(list, func(o string) bool { return !validOrigin(o) }) {
			return false
		}
		*p = list
		return true
	case *bool:
		v, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
		if err == nil {
			*p = v
		}
		return err == nil
	case *string:
		v, ok := s.word(text)
		if ok {
			*p = v
		}
		return ok
	}
	return false
}

// word judges and tidies the value of a setting that is a string.
func (s *setting) word(text string) (string, bool) {
	switch s.kind {
	case kindSecret:
		return text, true
	case kindPath:
		return text, validPath(text)
	case kindHost:
		return validHost(text)
	case kindFolder:
		return text, !strings.ContainsFunc(text, unicode.IsControl)
	case kindChoice:
		text = strings.ToLower(strings.TrimSpace(text))
		return text, slices.Contains(s.choices, text)
	}
	return "", false
}

// number accepts what a JSON writer may make of a whole number: 3000, 3000.0
// and 3e3.
func (s *setting) number(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		const exact = 1 << 53 // past it a float64 skips integers
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > exact || strings.ContainsAny(text, "xX_") {
			return 0, false
		}
		n = int64(f)
	}
	return n, s.inRange(n)
}

func (s *setting) inRange(n int64) bool {
	return n == 0 && s.zero != "" || n >= s.min && n <= s.max
}

// text is the setting's value in c, written as the environment would have it.
func (s *setting) text(c *Config) string {
	switch p := s.field(c).(type) {
	case *int:
		return strconv.Itoa(*p)
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *time.Duration:
		return shortDuration(*p)
	case *[]string:
		return strings.Join(*p, ",")
	case *bool:
		return strconv.FormatBool(*p)
	case *string:
		return *p
	}
	return ""
}

// fromJSON turns a value of the config file into the text that the
// environment would hold for it. An empty value gives "". It reports whether
// the JSON type fits the setting at all.
func (s *setting) fromJSON(raw json.RawMessage) (text string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return "", false
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		if v == "" && s.kind == kindFolder {
			return noDataDir, true // the one empty value that means something
		}
		return v, true
	case bool:
		return strconv.FormatBool(v), s.kind == kindSwitch
	case json.Number:
		switch s.kind {
		case kindPort, kindCount, kindBytes:
			return v.String(), true
		case kindDuration: // only zero needs no unit
			f, err := v.Float64()
			return "0", err == nil && f == 0
		}
	case []any:
		if s.kind != kindOrigins {
			return "", false
		}
		list := make([]string, len(v))
		for i, e := range v {
			if list[i], ok = e.(string); !ok {
				return "", false
			}
		}
		return strings.Join(list, ","), true
	}
	return "", false
}

func splitList(text string) []string {
	var list []string
	for e := range strings.SplitSeq(text, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}

func validPath(p string) bool {
	return strings.HasPrefix(p, "/") && p != healthPath &&
		!strings.ContainsFunc(p, func(r rune) bool {
			return r == '?' || r == '#' || unicode.IsSpace(r) || unicode.IsControl(r)
		})
}

// validHost returns the host without the brackets of an IPv6 literal.
func validHost(h string) (string, bool) {
	h = strings.TrimSpace(h)
	if in, ok := strings.CutPrefix(h, "["); ok {
		if h, ok = strings.CutSuffix(in, "]"); !ok {
			return "", false
		}
	}
	if strings.Contains(h, ":") {
		_, err := netip.ParseAddr(h)
		return h, err == nil
	}
	return h, h != "" && !strings.ContainsFunc(h, func(r rune) bool {
		return r == '/' || r == '[' || r == ']' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

// validOrigin accepts "*", "null" and scheme://host[:port] (RFC 6454 section
// 6.2). A browser sends nothing behind the port, and patterns there are none.
func validOrigin(o string) bool {
	if o == "*" || o == "null" {
		return true
	}
	scheme, host, ok := strings.Cut(o, "://")
	return ok && scheme != "" && host != "" && !strings.ContainsFunc(o[len(scheme)+3:], func(r rune) bool {
		return r == '/' || r == '?' || r == '#' || r == '*' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

// shortDuration is d.String() without the zero units at its end.
func shortDuration(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}
