// Command compare measures candidates for the place where delayed pushes are
// kept, on that very work: many publishers that each add one small record and
// wait until it is safe on disk, while records are taken out in due order,
// which is random in the order of keys. It is a module of its own, so that
// the relay's go.mod names only what the relay needs.
//
//	cd store/compare && go run . [-only NAME] [-records N] [-for DURATION] [-dir DIR]
//
// The figures in store/doc.go come from it.
package main
