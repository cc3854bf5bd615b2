// Command bench measures a relay from outside: it starts the program as a
// child process on a core of its own, speaks to it over sockets only, and
// reads from /proc what it used. Any program with the relay's surface can be
// measured so.
//
// Every figure that depends on the machine comes with a floor: the least that
// a server could do for the same clients, measured in the same run and in turn
// with the relay. The ratio of both is what can be compared.
//
// Every message is numbered and checked byte by byte when it comes. The
// account of what was lost, doubled or out of order is part of the result, and
// a run that is not clean ends with exit status 1.
//
// The files: idle, broadcast and push are the workloads; swarm, client and
// ledger the clients and their account; publisher the backend; server the
// child process and its accounts, work the time between two rests; floor what it is compared with; report the
// output.
package main
