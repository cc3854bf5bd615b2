// Package engine moves frames between tokens and sockets: it accepts
// connections, upgrades them to WebSockets (RFC 6455), keeps very many of them
// at very little cost each, and delivers frames to the connections of a token
// or to all of them, now or later. It knows no JSON, no HTTP routes and no
// configuration file: a [Handler] gives the sockets their meaning.
//
// # Goroutines
//
//   - One per loop (loop.go), inside easygo's epoll (poller.go). It owns its
//     connections' descriptors: it alone reads, takes out of the epoll, and
//     closes them. It reads into one buffer, parses (reader.go), calls the
//     Handler, and goes on with full sockets when they have room (outbound.go).
//     It answers requests of HTTP too, those that never wait (httpconn.go).
//   - One per shard (shard.go), the outbound worker. It sends what was queued
//     for the shard's connections, and sweeps over all of them for broadcasts.
//   - One for delayed messages (fire.go), which sleeps until the next is due,
//     or is to be read from disk, by the timer wheels (timerwheel.go); a loop
//     wakes it (alarm.go).
//   - One for pings (keepalive.go), unless they are off.
//   - Now and then one that gives memory back, and ends (memory.go).
//
// Publishers call [Engine.Send], [Engine.Broadcast], [Engine.Schedule] and so on
// from goroutines of their own; those that never wait from an [Answer] too. No
// goroutine, buffer or timer belongs to an idle connection.
//
// # The path of a connection
//
//	accept.go     accept4 on the first loop, once the first bytes are there; dealt
//	              out to all loops in turn
//	head.go       the request head, judged as far as it has come
//	handshake.go  ours: ws.Upgrader over the bytes in memory, into its shard,
//	              101; too long, too slow, too many: refused
//	httpconn.go   not ours, but HTTP's: the loop answers what an Answer can
//	handoff.go    anything else: to the HTTP server, with the bytes already read;
//	              back again if a later request on it is a handshake, or some
//	              that the loop can answer
//	conn.go       frames in; Identify moves the connection between shards
//	closing.go    closed once, with a reason (reason.go); the close frame, the
//	              peer's end or a deadline, the descriptor
//
// # The path of a message
//
// Send looks the token up in its shard (roster.go) and puts the frame into the
// queue of each matching connection; the shard's worker then joins what waits
// for a connection into one write (outbound.go, writer.go). A publisher that is ahead of
// the worker by a connection's whole bound does that connection's writing
// itself. Who gets it is settled when Send returns. What a socket does not
// take waits, bounded, for its OUT edge; stall.go closes sockets that stay
// full, or hold too much.
//
// Broadcast appends the frame to the node's log (broadcast.go) and wakes the
// workers. A connection's cursor is the last entry that it was given; each
// worker sweeps its shard in slices, and between two slices serves whatever
// was queued meanwhile, so that a unicast never waits for a whole broadcast.
// After each slice it goes to the end of the line of those who wait for the
// network (turn.go): a push that has come meanwhile is read before the next. So
// it does within a long list of what was queued.
// A loop that has put something into queues takes such a turn too, and comes
// last in it (loop.go): nobody shall wait behind one that sleeps in its epoll.
//
// Pings are written at once by the goroutine that makes them, and the replies to
// one connection's frames together at the end of its turn, by its loop (replies.go),
// unless the socket is full.
//
// A connection that closes gets no broadcasts any more: if it is still to have what
// it lacks, that goes into its queue, and its cursor leaves the log (outbound.go).
//
// # The path of a delayed message
//
//	delayed.go    Schedule: packed into one piece (packed.go), into the vault,
//	              which is a disk (vault.go), then into the far wheel: its key
//	              and a hash of its token, no more; handles.go finds it by key
//	loadahead.go  up to two seconds before its time: read from the vault, into the near
//	              wheel. What is due sooner, and all without a vault, goes
//	              there at once
//	bodies.go     where the messages of the near wheel lie, outside of the heap, in
//	              a form of their own (bodycode.go)
//	fire.go       at its time: sent like Send or Broadcast, or held back while
//	              the engine is saturated; then out of the vault
//	missed.go     at the start: the wheels filled from the vault; what was due
//	              meanwhile goes first, at a bounded rate
//	waiting.go    taken back, looked up; listing.go pages through all
//
// A message is taken out of the vault only after it was sent, and that may
// reach the disk a moment later: after a crash it is sent again, never lost.
//
// # Order and once
//
// A unicast remembers the newest broadcast at the time it was accepted. A
// connection's backlog is the merge of its queue and the log from its cursor
// on: a unicast goes right after the broadcast it remembers. So the order in
// which one publisher's calls return is the order on the wire. The cursor
// moves with the connection, so changing the shard neither loses nor repeats
// a broadcast; a connection that enters a shard while it lags behind the log
// is put on the worker's list, since a sweep may have passed already.
//
// # Locks
//
// In this order; a goroutine that holds one takes only later ones:
//
//	Conn.mu                state, cursor, outbox; held during a non-blocking send
//	shard.mu               the roster, the sweep's position; of several shards in
//	                       the order of their indexes
//	stallList.mu           which sockets are full
//	shard.work, inbox.mu   what wakes a worker, what wakes a loop
//
// broadcastLog.mu and delayed.mu are held alone, but for delayed.listing, which
// comes before the latter. Engine.relieving comes before
// all of them, and is only ever tried. Nothing blocks under a lock:
// no handler call, no channel send, no system call that waits.
package engine
