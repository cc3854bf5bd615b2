package api

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/valyala/fasthttp"
)

// Where a publisher may put its key, the first that is not empty counts. The
// header names are in the form that fasthttp gives every header it reads.
const (
	keyHeader      = "X-Api-Key"
	keyHeaderShort = "Api-Key"
	keyQuery       = "api_key"
)

// apiKey is the digest of the key that lets a push in. Digests are compared
// instead of keys because a comparison of keys can only be constant in time if
// their lengths are the same, and so tells the length.
type apiKey [sha256.Size]byte

func newAPIKey(key string) apiKey { return sha256.Sum256([]byte(key)) }

// admits reports whether the request with this query carries the key.
func (k *apiKey) admits(h *fasthttp.RequestHeader, query []byte) bool {
	given := h.Peek(keyHeader)
	if len(given) == 0 {
		given = h.Peek(keyHeaderShort)
	}
	if len(given) == 0 {
		given = []byte(queryValue(query, keyQuery))
	}
	digest := sha256.Sum256(given)
	return subtle.ConstantTimeCompare(digest[:], k[:]) == 1
}
