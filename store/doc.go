// Package store keeps delayed pushes on stable storage: what Add has accepted
// survives a kill and a power loss, what Cancel has taken out stays out. It
// knows keys and bytes, and nothing of tokens, frames or times but the expiry
// of receipts.
//
// # How it works
//
//	request.go    Add, Cancel, Remove: a queue, and who waits for it
//	committer.go  one goroutine takes what waits: the next commit
//	write.go      one transaction a commit; what a failed one has left
//	room.go       room on the disk is made before a commit, or refused
//	read.go       Load, Each, Receipts, Cancelled: copies, short transactions
//	record.go     a checksum (CRC-32C) with every record
//	database.go   the file, bbolt's, whose faults are errors here
//	inspect.go    a look at its pages before bbolt follows them
//	creation.go   a new file, or a smaller one, is whole before it has its name
//	folder.go     the folder, locked against other processes
//
// The folder has two files, delayed.db and lock. Keys ascend, so what is added
// goes to the end of the tree. Removals wait up to 20 ms for each other: a page
// is written once for all that it holds.
//
// The file does not shrink while it is open: free pages are used again. Open
// writes it anew if it is larger than 64 MiB and more than half of that is
// free, into a file beside it, which is synced and then renamed. Without room
// for both the old file serves on.
//
// # What can go wrong
//
//   - A full disk, a quota, a limit on the size of a file: a call is refused
//     with ErrFull before anything is written, and removals still go through,
//     from a few pages that are kept for them.
//   - A write that fails: the calls of that commit get the error, nothing of
//     them is in the file, removals are tried again a second later. The one
//     exception is an error of the very last sync of a commit, which leaves
//     open what a power loss would leave: then another commit is tried at
//     once, and where that fails too, what was added is removed again as soon
//     as the disk lets it.
//   - Damaged records are left out and named in the log, all others are served.
//     A file whose pages do not fit together is refused with ErrDamaged and left
//     as it is.
//   - A file that cannot be read while it is open, or not all of it, because the
//     disk fails or the file was cut off: Load gives what can be read, and then
//     an error, since the rest may come back. If that is met in a commit, nothing
//     is written any more until the relay is started again.
//   - A disk that hangs, and neither reads nor fails, holds up the whole
//     process: the file is mapped, and Go cannot interrupt a page fault.
//   - One more hole is known: with more than 64 MiB free in the file, a commit
//     that the disk refuses makes bbolt read the whole file in a goroutine of
//     its own. If the disk cannot read it either, that ends the process.
//   - A power loss leaves what was committed, and nothing of what was refused,
//     but maybe the one commit that it met. test/power_loss_test.go cuts off an
//     ext4 under load and looks. That shows that the kernel was asked in the right
//     places; a disk that confirms what it does not have yet is not found out.
//   - A torn write at a power loss is found by bbolt's checksum of the head.
//     If one of its two heads is unreadable, the other serves, and the log
//     says that the last commit may be missing.
//
// # Why bbolt
//
// Measured by the program in store/compare, which has the relay's own work: 64
// publishers that each add 300 bytes and wait for the disk, on 2 cores and an
// ext4 that others were using too, so the lowest and the highest of all runs
// (three without removals, two with, one with a million; 3 or 5 s each). Where
// as many are taken out as come in, they are random ones of those pending.
//
//	thousand adds a second         floor    bbolt   sqlite   pebble
//	200,000 pending, adds only   175-204   82-121   70-123  150-213  go run . -keep -records 200000
//	200,000, as many removed     174-216    19-25       27  156-254  go run . -records 200000
//	1,000,000, as many removed       192       15       14       42  go run .
//	CPU, µs an add, in that order  2,2,3  5,27,45   6,25,31   3,4,22  (the lowest)
//	load by key, µs                    -    1-2.5     8-46    12-34
//	modules                            -        2        8       31
//	binary, MB                         -      2.0      6.4     17.4
//
// bbolt that writes its list of free pages with every commit took as much,
// but for one run at 14 of which the reason is not known. SQLite was the
// faster writer in four of the six runs, by a tenth to a half; bbolt in two.
//
// Random removals among very many are the worst case for a tree, and there
// bbolt alone is below 20,000 adds a second: each removal rewrites a page.
// Pushes with the same delay are removed in the order of their keys. Through
// this package, which joins removals, two runs gave 75,000 and 101,000 adds a
// second alone, 85,000 and 103,000 with removals in order, 23,000 and 32,000
// with random ones out of 200,000 (go test ./store -run '^$' -bench Add64
// -benchtime 100000x). To open a store of a million messages and read them all
// takes 0.4 s (-bench Each1M).
//
// The aim was 20,000 a second, with a library rather than with code of our own.
// Pebble ends the process when its log cannot be written (its Logger.Fatalf;
// cockroachdb/cockroach#131954 is a full disk), and brings 30 modules. SQLite
// is known to answer all such errors (not tried here), but is a C library
// turned into Go with a memory of its own, three times the binary, and slower
// to read. bbolt is small, old and used by etcd, needs nothing but
// golang.org/x/sys, and locks its file. Its weak side is damage: it trusts its
// pages, panics where they make no sense (etcd-io/bbolt#105, #446), a cut file
// is a SIGBUS, a full disk is noticed half-way through a commit. inspect.go,
// room.go and the guard in failure.go are there for that. A power loss has
// harmed files of bbolt on ext4 with the feature fast_commit
// (etcd-io/bbolt#562, #695), which is off unless it was asked for; its README
// names the mended kernels.
package store
