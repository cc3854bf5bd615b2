package api

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// healthPath is where a load balancer asks.
const healthPath = "/health"

// A handler answers one request that showed the key: it appends the whole
// answer to j.answer, or says why not.
type handler func(s *Server, j *job) *refusal

// route is a path of publishers and what the relay does there, by method. A
// HEAD is a GET whose answer has no body.
type route struct {
	below string // the path behind the push path
	allow string // the methods, for a 405

	get, post, remove handler // nil: not allowed
}

// The paths below the push path.
const (
	belowBatch      = "/batch"
	belowOnline     = "/online"
	belowDisconnect = "/disconnect"
	belowID         = "/{id}" // any UUID
)

// routes are all the paths of publishers.
var routes = [...]route{
	{below: "", allow: "POST", post: (*Server).push},
	{below: belowBatch, allow: "POST", post: (*Server).batch},
	{below: belowOnline, allow: "GET, POST", get: (*Server).online, post: (*Server).onlineMany},
	{below: belowDisconnect, allow: "POST", post: (*Server).disconnect},
	{below: belowID, allow: "GET, DELETE", get: (*Server).lookUp, remove: (*Server).cancel},
}

// listingRoute is the push path with a query of a listing. Without one a GET is
// refused, as it was before there were listings.
var listingRoute = route{below: "", allow: "GET, POST", get: (*Server).list, post: (*Server).push}

// TakenPaths are the paths below the push path that have a meaning of their
// own: no WebSocket can be there.
func TakenPaths(pushPath string) []string {
	base := strings.TrimSuffix(pushPath, "/")
	return []string{base + belowBatch, base + belowOnline, base + belowDisconnect}
}

// routeOf finds the route of a path, which is compared as it was sent, and its
// query; nil if there is none. id is the last part of a path that has one.
func (s *Server) routeOf(path, query []byte) (r *route, id []byte) {
	if string(path) == s.opts.PushPath {
		if len(query) > 0 && isListing(query) {
			return &listingRoute, nil
		}
		return &routes[0], nil
	}
	below, ok := bytes.CutPrefix(path, []byte(strings.TrimSuffix(s.opts.PushPath, "/")))
	if !ok || len(below) == 0 {
		return nil, nil
	}
	for i := range routes[1:] {
		r := &routes[1+i]
		switch {
		case string(below) == r.below && r.below != belowID:
			return r, nil
		case r.below == belowID && below[0] == '/' && isUUID(below[1:]):
			return r, below[1:]
		}
	}
	return nil, nil
}

// handlerOf is what the route does with the method of a request, nil if that is
// not allowed.
func (r *route) handlerOf(h *fasthttp.RequestHeader) handler {
	switch {
	case h.IsPost():
		return r.post
	case h.IsGet(), h.IsHead():
		return r.get
	case h.IsDelete():
		return r.remove
	}
	return nil
}

// handleHead sees the head of a request before any of its body is read.
func (s *Server) handleHead(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	switch {
	case h.ContentLength() > s.opts.MaxPushBytes:
		withhold(h)
	case len(h.Peek(fasthttp.HeaderExpect)) > 0:
		path, query := splitTarget(h.RequestURI())
		if r, _ := s.routeOf(path, query); r == nil || s.admit(r, h, query) != nil {
			withhold(h)
		}
	}
	return fasthttp.RequestConfig{}
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.recoverPanic(ctx)
	path, query := splitTarget(ctx.Request.Header.RequestURI())
	switch string(path) {
	case s.opts.WSPath:
		if s.adopter == nil {
			s.refuse(ctx, refusedPath)
			return
		}
		s.upgrade(ctx)
	case healthPath:
		if !ctx.IsGet() && !ctx.IsHead() {
			s.refuse(ctx, refusedMethod("GET, HEAD"))
			return
		}
		ctx.SetContentType(contentType)
		ctx.SetBodyString(healthBody)
		s.returns(ctx, false)
	default:
		r, id := s.routeOf(path, query)
		if r == nil {
			s.refuse(ctx, refusedPath)
			return
		}
		if refused := s.serve(ctx, r, query, id); refused != nil {
			s.refuse(ctx, refused)
		}
	}
}

// serve answers a request to a route of publishers. What it returns is not
// answered yet.
func (s *Server) serve(ctx *fasthttp.RequestCtx, r *route, query, id []byte) *refusal {
	h := &ctx.Request.Header
	if refused := s.admit(r, h, query); refused != nil {
		return refused
	}
	admitted(ctx)
	j := s.jobs.Get().(*job)
	defer s.putJob(j)
	j.ctx, j.query, j.id, j.answer, j.plain = ctx, query, id, j.answer[:0], false
	if refused := r.handlerOf(h)(s, j); refused != nil {
		return refused
	}
	answerJSON(ctx, fasthttp.StatusOK, j.answer)
	s.returns(ctx, j.plain)
	return nil
}

// admit judges a request to a route by its head.
func (s *Server) admit(r *route, h *fasthttp.RequestHeader, query []byte) *refusal {
	switch {
	case r.handlerOf(h) == nil:
		return refusedMethod(r.allow)
	case !s.key.admits(h, query):
		return refusedKey
	case s.stopping.Load():
		return refusedStopping
	}
	return nil
}

// admitted marks the connection of a publisher that has shown the key.
func admitted(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok && !c.known.Load() {
		c.known.Store(true)
	}
}
