package api

// tokenFields are the members of a token object that can name a user, the
// first usable one wins.
var tokenFields = [...]string{"id", "user_id"}

// userID is the token rule: it turns the raw token of a push or an identify,
// valid JSON or nil, into the user id it stands for.
//
//	token                        user id
//	123, 1e3, 1.50               its decimal text: "123", "1000", "1.5"
//	"abc"                        itself, unescaped
//	{"id":…} or {"user_id":…}    that string or number, id first
//	anything else, or nothing    "": everyone
//
// A member of an object is usable if it is a number or a string that is not
// empty. The error is errTooLong: a number that cannot be written out. It is
// never taken for "everyone".
func userID(raw []byte) (string, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return scalarID(raw)
	}
	var values [len(tokenFields)][]byte
	if err := members(raw, tokenFields[:], values[:]); err != nil {
		return "", err
	}
	for _, value := range values {
		if id, err := scalarID(value); err != nil || id != "" {
			return id, err
		}
	}
	return "", nil
}

// scalarID is userID for what is not an object.
func scalarID(raw []byte) (string, error) {
	switch {
	case len(raw) == 0:
		return "", nil
	case raw[0] == '"':
		return unquote(raw)
	case isNumber(raw):
		return decimal(raw)
	}
	return "", nil
}

// isNumber reports whether the raw JSON value is a number.
func isNumber(raw []byte) bool {
	return len(raw) > 0 && (raw[0] == '-' || isDigit(raw[0]))
}

// usableToken reports whether a connection can be open under id.
func usableToken(id string) bool { return id != "" && len(id) <= MaxTokenBytes }
