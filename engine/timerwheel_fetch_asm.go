//go:build amd64 || arm64

package engine

import "unsafe"

// prefetch begins to load the cache line at p and does not wait for it, as a
// plain load would have to before it could retire. It is in assembly because Go
// gives its instruction to the runtime alone.
//
//go:noescape
func prefetch(p unsafe.Pointer)
