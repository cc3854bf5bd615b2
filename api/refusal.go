package api

import (
	"errors"
	"strconv"
	"syscall"

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

// Why delayed pushes cannot be stored.
const unstored = "cannot store delayed pushes: "

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
	refusedID         = &refusal{status: fasthttp.StatusNotFound, msg: "unknown id: this relay gave out no such id"}
	refusedCancelled  = &refusal{status: fasthttp.StatusNotFound, msg: "this push is not scheduled: it was cancelled"}
	refusedFired      = &refusal{status: fasthttp.StatusNotFound, msg: "this push is not scheduled: it has fired"}
	refusedTooLate    = &refusal{status: fasthttp.StatusConflict, msg: "this push cannot be cancelled: it has fired"}
	refusedReused     = &refusal{status: fasthttp.StatusConflict, msg: "this Idempotency-Key was used for another request: choose a new one"}
	refusedPromise    = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: "too many Idempotency-Keys are remembered: send the push again later"}
	refusedInternal   = &refusal{status: fasthttp.StatusInternalServerError, msg: "internal error"}
	refusedDiskFull   = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: unstored + "the disk is full"}
	refusedReadOnly   = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: unstored + "the disk is read-only"}
	refusedDisk       = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: unstored + "the disk fails"}
	refusedUnread     = &refusal{status: fasthttp.StatusServiceUnavailable, retry: true, msg: "cannot read delayed pushes: the disk fails"}

	refusedItem           = badField("invalid json: an item must be an object")
	refusedIdempotencyKey = badField("Idempotency-Key must be given once, as 1 to " + strconv.Itoa(maxIdempotencyKey) + " visible ASCII characters")
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
	case errors.Is(err, engine.ErrUnstored):
		return refusalOfDisk(err)
	}
	return refusedInternal
}

// refusalOfLook is refusalOf for an error of looking at what waits.
func refusalOfLook(err error) *refusal {
	if errors.Is(err, engine.ErrUnstored) {
		return refusedUnread
	}
	return refusalOf(err)
}

// refusalOfDisk says why nothing could be stored.
func refusalOfDisk(err error) *refusal {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return refusedDiskFull
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return refusedReadOnly
	}
	return refusedDisk
}

// refusedLongPromise refuses a batch whose answer could never be kept in that
// many bytes.
func refusedLongPromise(most int64) *refusal {
	return &refusal{status: fasthttp.StatusRequestEntityTooLarge, msg: "too many items for an Idempotency-Key: max_idempotency_bytes is " +
		strconv.FormatInt(most, 10) + ", room for the answer to " + strconv.Itoa(itemsWithin(most)) + " items: send fewer at once, or without the key"}
}

// badField refuses a push for one of its fields.
func badField(msg string) *refusal {
	return &refusal{status: fasthttp.StatusBadRequest, msg: msg}
}

// refusedMethod refuses a method on a path that allows others.
func refusedMethod(allow string) *refusal {
	return &refusal{status: fasthttp.StatusMethodNotAllowed, msg: "method not allowed: use " + allow, allow: allow}
}
