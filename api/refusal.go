package api

import (
	"errors"
	"strconv"

	"gorelay/engine"

	"github.com/valyala/fasthttp"
)

// refusal is the answer to a request that has no effect.
type refusal struct {
	status int    // HTTP status, 4xx or 5xx
	msg    string // what the sender must change, without a byte of the request
	allow  string // Allow header, for a 405
	retry  bool   // Retry-After header, for what passes by itself
}

func (r *refusal) Error() string { return r.msg }

// retryAfter is the Retry-After of every answer that has one, in seconds: both
// a backlog and a restart are short.
const retryAfter = "1"

// Refusals that are the same for every request.
var (
	refusedKey        = &refusal{status: fasthttp.StatusUnauthorized, msg: "invalid api key"}
	refusedPath       = &refusal{status: fasthttp.StatusNotFound, msg: "not found: check the path"}
	refusedJSON       = &refusal{status: fasthttp.StatusBadRequest, msg: "invalid json"}
	refusedDepth      = &refusal{status: fasthttp.StatusBadRequest, msg: "invalid json: nested deeper than " + strconv.Itoa(maxDepth) + " levels"}
	refusedRequest    = &refusal{status: fasthttp.StatusBadRequest, msg: "malformed http request"}
	refusedBodyLength = &refusal{status: fasthttp.StatusBadRequest, msg: "body ended before its declared length"}
	refusedHead       = &refusal{status: fasthttp.StatusRequestHeaderFieldsTooLarge, msg: "request headers too large: the limit is " + strconv.Itoa(maxHeadBytes) + " bytes"}
	refusedSlow       = &refusal{status: fasthttp.StatusRequestTimeout, msg: "request timeout: send the whole request faster"}
	refusedStopping   = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: "relay is stopping: send the push again later"}
	refusedSaturated  = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: "relay is saturated: send the push again later"}
	refusedDelayed    = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: "too many delayed pushes are waiting: send the push again later"}
	refusedInternal   = &refusal{status: fasthttp.StatusInternalServerError, msg: "internal error"}
)

// refusalOf is the one place that turns an error of the engine into an answer.
func refusalOf(err error) *refusal {
	switch {
	case errors.Is(err, engine.ErrSaturated):
		return refusedSaturated
	case errors.Is(err, engine.ErrTooMany):
		return refusedDelayed
	case errors.Is(err, engine.ErrStopping):
		return refusedStopping
	}
	return refusedInternal
}

// badField refuses a push for one of its fields.
func badField(msg string) *refusal {
	return &refusal{status: fasthttp.StatusBadRequest, msg: msg}
}

// refusedMethod refuses a method on a path that allows others.
func refusedMethod(allow string) *refusal {
	return &refusal{status: fasthttp.StatusMethodNotAllowed, msg: "method not allowed: use " + allow, allow: allow}
}
