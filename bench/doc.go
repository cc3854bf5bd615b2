// Command bench measures a relay from outside: it starts the program as a
// child process on a core of its own, or takes one that runs already, speaks
// to it over sockets only, and reads from /proc what it used. Any program with
// the relay's surface can be measured so.
//
// Every figure that depends on the machine comes with others to compare it
// with, measured in the same run and in turn with the relay: a floor, the
// least that a server could do for the same clients, and the well-known design
// with a goroutine a socket. The ratio is what can be compared.
//
// Every message is numbered and checked byte by byte when it comes. The
// account of what was lost, doubled or out of order is part of the result, and
// a run that is not clean ends with exit status 1.
//
// The files, by what they are about:
//
//   - the program: main, workloads, flags, bench, build (what it was made
//     of), target (what is measured)
//   - the workloads: connect, idle, broadcast, push, mixed, delay (with restart),
//     churn, slow, storm, soak
//   - the clients: plan, swarm, dial, returning and client; fleet and worker
//     for several processes; turns for those of several servers side by side;
//     audience for open loops; ledger for the account;
//     subject for what a message carries
//   - the backend: publisher, traffic
//   - the servers: server, install (the folder a relay runs in), process (what
//     /proc says), work (processor time from rest to rest), floor, bare and goroutine
//     (what the relay is compared with)
//   - the output: report, table, page, markdown, compare, sample, progress, verdict;
//     latency and clock
package main
