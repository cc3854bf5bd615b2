//go:build !race

package relaytest

// Race says that the race detector is on, in the tests and in the programs
// that they build.
const Race = false
