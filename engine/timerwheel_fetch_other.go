//go:build !amd64 && !arm64

package engine

import "unsafe"

// prefetch does nothing here: the wheel waits for memory when it needs it.
func prefetch(unsafe.Pointer) {}
