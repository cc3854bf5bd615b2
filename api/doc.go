// Package api is what the relay says to the outside: the HTTP that publishers
// speak, and the JSON that WebSocket clients send and receive. It hands the
// engine encoded frames and tokens, and is the engine's message handler; the
// engine knows neither format.
//
// # A push
//
//	at once, and of the common kind        inplace.go: on the engine's loop
//	request head, as the one before        knownhead.go
//	any other, and any other request       server.go: on a goroutine of fasthttp's
//	request head -> path, method, key      routes.go, apikey.go
//	body         -> bounded, as it arrives body.go
//	a retry      -> the answer of before   idempotency.go, receipt.go
//	body         -> raw spans of fields    object.go, array.go, push.go
//	token        -> user id                token.go, targets.go, decimal.go
//	push         -> its id                 id.go
//	push         -> one encoded frame      envelope.go
//	frame        -> the engine             delivery.go, batch.go
//	outcome      -> JSON answer            answer.go, refusal.go
//
// # Other requests of publishers
//
//	a push that waits, by its id           scheduled.go
//	pages of them                          listing.go
//	who is there, and out with them        presence.go
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
//   - An answer with an Idempotency-Key is a promise: it is kept for its whole
//     window, and a key for which there is no room is refused.
//   - A push of a batch is judged by the functions that judge one by itself.
//   - Work and memory for a request are linear in the bytes that arrived, never
//     in a length, a depth or an exponent that it claims.
//   - No log line holds a key, a token or a byte of a request.
package api
