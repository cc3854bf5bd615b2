package api

// elements appends the raw elements of raw, a valid JSON value, to dst: at
// most that many, the rest is not looked at. It reports false if raw is not an
// array. Whitespace around an element is not part of it.
func elements(dst [][]byte, raw []byte, most int) (list [][]byte, ok bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return dst, false
	}
	depth := 0
	start := 1 // of the running element
	for i := start; i < len(raw) && len(dst) < most; {
		if unstructured[raw[i]] {
			i++
			continue
		}
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i+1)
			continue
		case '{', '[':
			depth++
		case ',', '}', ']':
			if depth == 0 { // a comma of the array, or its end
				if element := trimSpace(raw[start:i]); len(element) > 0 {
					dst = append(dst, element)
				}
				start = i + 1
			} else if raw[i] != ',' {
				depth--
			}
		}
		i++
	}
	return dst, true
}
