package api

import "strconv"

// maxTargets is how many tokens one request may name.
const maxTargets = 1000

// readTokens reads the raw value of tokens: a list of tokens that each stand
// for a user, by the token rule. It returns the users in that order.
func readTokens(raw []byte) ([]string, *refusal) {
	list, ok := elements(nil, raw, maxTargets+1)
	switch {
	case !ok:
		return nil, badField("tokens must be an array")
	case len(list) == 0:
		return nil, badField("tokens must not be empty: an empty list reaches nobody")
	case len(list) > maxTargets:
		return nil, badField("tokens must have at most " + strconv.Itoa(maxTargets) + " elements")
	}
	users := make([]string, len(list))
	for i, token := range list {
		user, err := userID(token)
		switch {
		case err != nil:
			return nil, badElement("tokens", i, "must be a number that can be written out: its exponent is too large")
		case user == "":
			return nil, badElement("tokens", i, "names nobody: it must be a string, a number, or an object with id or user_id")
		}
		users[i] = user
	}
	return users, nil
}

// badElement refuses a list for its element i.
func badElement(name string, i int, msg string) *refusal {
	return badField(name + "[" + strconv.Itoa(i) + "] " + msg)
}

// distinct removes from users, in place, those that stand further in front.
func distinct(users []string) []string {
	seen := make(map[string]struct{}, len(users))
	kept := users[:0]
	for _, user := range users {
		if _, again := seen[user]; !again {
			seen[user] = struct{}{}
			kept = append(kept, user)
		}
	}
	return kept
}
