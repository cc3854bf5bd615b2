package doctor

import "time"

// What things cost, in bytes unless the name says otherwise. Each was measured
// on one machine (2 cores of an AMD EPYC, kernel 6.18, Go 1.26, loopback) by
// the command in costs; tuning.md has the figures beside their spread. The
// constants are rounded up. Processor times are those of a machine at rest: in
// a slower hour everything takes up to twice as long, a bare loop too.
const (
	// userIdle is the relay's own memory of an idle connection with a token.
	userIdle = 256
	// userFixed is what the relay holds with no connection at all.
	userFixed = 10 << 20
	// heapSlack: Go's collector lets the heap double before it runs.
	heapSlack = 2

	// kernelIdle is the socket with its file, inode and directory entry;
	// epollEntry its registration. Neither is charged to the process, both to
	// a control group.
	kernelIdle = 4000
	epollEntry = 200

	// inFlight is a small broadcast, per socket, until the client acknowledges
	// it; what the kernel counts against tcp_mem for it is a page.
	inFlight      = 1200
	inFlightPages = 1
	// stalled is what the kernel holds for a client that takes nothing more.
	stalled = 200 << 10

	// userPending is the relay's memory of a delayed push that is on disk. It is
	// 48 to 60, and up to twice that before the collector has run: the rest is
	// there to be safe. diskPending is its place on disk with 1 KiB of subject;
	// other sizes may fill the pages of the file less well.
	userPending = 200
	diskPending = 1500

	// Processor time.
	handshakeTime = 29 * time.Microsecond
	deliveryTime  = 7200 * time.Nanosecond
	pingTime      = 20 * time.Microsecond // a ping and its pong

	// longestPing is the ping_interval that proxies bear whose timeout is the
	// usual 60 s: a ping may go out an eighth of the interval late.
	longestPing = 50 * time.Second

	// bbrPercent is what a small send costs more under bbr than under cubic at
	// most: on loopback the difference is lost in the noise.
	bbrPercent = 2

	// threads of a relay beside one for each loop and each core.
	threads = 16
)

// connectionMemory is what one more connection takes at worst, pending
// messages aside: the relay's part with the collector late, the kernel's, and
// a broadcast on its way.
const connectionMemory = heapSlack*userIdle + kernelIdle + epollEntry + inFlight

// Cost is a measured constant.
type Cost struct {
	Name     string `json:"name"`
	Value    int64  `json:"value"`
	Unit     string `json:"unit"`
	Measured string `json:"measured_by"`
}

// costs lists the constants with the command that measured each.
func costs() []Cost {
	const (
		idle   = "go run ./bench idle"
		kernel = "go test ./doctor -run '^$' -benchtime 1x -bench "
		pings  = "5,000 clients that answer, ping_interval 2s: processor time of 10 s"
		delay  = "go run ./bench delay -restart -delayed 200000 -within 10s -ahead 25s -rounds 1"
		bytes  = "bytes"
		nanos  = "ns"
	)
	return []Cost{
		{"relay memory per idle connection", userIdle, bytes, idle},
		{"relay memory without connections", userFixed, bytes, idle},
		{"kernel memory per idle socket", kernelIdle, bytes, kernel + "IdleSocket"},
		{"kernel memory per epoll entry", epollEntry, bytes, kernel + "IdleSocket"},
		{"kernel memory per unacknowledged small broadcast", inFlight, bytes, kernel + "Unread/200B"},
		{"tcp_mem per unacknowledged small broadcast", inFlightPages, "pages", kernel + "Unread/200B"},
		{"kernel memory per client that takes nothing", stalled, bytes, kernel + "Unread/full"},
		{"relay memory per delayed push on disk, at most", userPending, bytes, delay},
		{"disk per delayed push of 1 KiB", diskPending, bytes, delay + " -payload 1024, size of delayed.db"},
		{"processor time per handshake, on a machine at rest", handshakeTime.Nanoseconds(), nanos, idle},
		{"processor time per broadcast delivery, on a machine at rest", deliveryTime.Nanoseconds(), nanos, "go run ./bench broadcast"},
		{"processor time per ping and pong, on a machine at rest", pingTime.Nanoseconds(), nanos, pings},
		{"a small send under bbr, above cubic, at most", bbrPercent, "%", kernel + "Send"},
		{"threads beside loops and cores", threads, "threads", "grep Threads /proc/$(pidof relay)/status"},
	}
}

// memoryFor is what n connections need at worst while pending bytes wait.
func memoryFor(n, pending int64) int64 {
	return userFixed + heapSlack*pending + n*connectionMemory
}

// connectionsIn is how many connections fit into memory, the inverse of
// memoryFor.
func connectionsIn(memory, pending int64) int64 {
	return max(memory-memoryFor(0, pending), 0) / connectionMemory
}

// pendingIn is how many bytes may wait beside n connections in memory.
func pendingIn(memory, n int64) int64 {
	return max(memory-memoryFor(n, 0), 0) / heapSlack
}

// burst is how many handshakes that many cores do in a tenth of a second: what
// the kernel must be able to hold while an event loop is busy that long.
func burst(cores int) int64 {
	return int64(cores) * int64(100*time.Millisecond/handshakeTime)
}
