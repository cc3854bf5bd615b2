// Package api is what the relay says to the outside: the HTTP push that
// publishers send, and the JSON that WebSocket clients send and receive. It
// hands the engine encoded frames and a token, and is the engine's message
// handler; the engine knows neither format.
//
// # A push
//
//	request head -> path, method, key      server.go, apikey.go
//	body         -> bounded, as it arrives body.go
//	body         -> raw spans of fields    object.go, push.go
//	token        -> user id                token.go, decimal.go
//	push         -> one encoded frame      envelope.go
//	outcome      -> JSON answer            answer.go, refusal.go
//
// A WebSocket handshake is the engine's. One that comes on a connection which
// has served HTTP goes back to the engine: upgrade.go.
//
// # Key invariants
//
//   - What a publisher wrote as subject, token and event_name reaches the
//     clients byte for byte. Nothing is decoded and encoded again.
//   - Only a body that is one valid JSON object in valid UTF-8 becomes a frame:
//     a browser closes a connection that gets anything else.
//   - The token rule is one function, used for a push and for identify.
//   - A refused push has no effect, and a token that cannot be read is refused:
//     it never turns into a broadcast.
//   - Work and memory for a request are linear in the bytes that arrived, never
//     in a length, a depth or an exponent that it claims.
//   - No log line holds a key, a token or a byte of a request.
package api
