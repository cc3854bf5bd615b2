#!/usr/bin/env bash
# Many relays on one machine at once, each with its own clients and its own
# account of every message: what the machine holds, when one process cannot.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: bench/many.sh [RELAYS [CONNECTIONS [SECONDS]]]

Starts RELAYS relays (10), each with CONNECTIONS clients (17000), which get
pushes and broadcasts at a low rate for SECONDS (120). While all are up it
prints what the machine has in use; at the end the sum of all accounts. A
connection takes a descriptor of the relay and one of the client: RELAYS times
CONNECTIONS may be at most half of fs.file-max, and the open-file limit of one
process bounds CONNECTIONS.
TEXT
}
case "${1:-}" in -h | --help) usage; exit 0 ;; esac

relays=${1:-10} conns=${2:-17000} seconds=${3:-120}
for n in "$relays" "$conns" "$seconds"; do
  [[ $n =~ ^[1-9][0-9]*$ ]] || { echo "many.sh: $n is no whole number above 0" >&2; usage >&2; exit 2; }
done
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/" ./cmd/relay ./bench

used() { awk '/^MemTotal|^MemAvailable/ {m[$1] = $2} END {print int((m["MemTotal:"] - m["MemAvailable:"]) / 1024)}' /proc/meminfo; }
slab() { awk '/^Slab/ {print int($2 / 1024)}' /proc/meminfo; }
# A relay's end of a connection is an IPv6 socket, a client's an IPv4 one.
sockets() { awk '/^TCP6?:/ {n += $3} END {print n}' /proc/net/sockstat /proc/net/sockstat6; }

before=$(used) slabBefore=$(slab)
pids=()
for ((i = 0; i < relays; i++)); do
  "$dir/bench" soak -relay "$dir/relay" -server-cpu -1 -client-cpu -1 -dialing 16 \
    -conns "$conns" -movers 10 -comings 0.1 -probes 20 -publishers 1 -rate 2 -delay-rate 0.2 -broadcast-rate 0.02 \
    -sources "127.$((i / 200 + 1)).$((i % 200)).1,127.$((i / 200 + 1)).$((i % 200)).2" \
    -time "${seconds}s" -sample "${seconds}s" -json "$dir/$i.json" >"$dir/$i.log" 2>&1 &
  pids+=($!)
done

peak=0
while kill -0 "${pids[@]}" 2>/dev/null; do # as long as one runs
  sleep 5
  now=$(sockets)
  ((now > peak)) && peak=$now memory=$(used) slabs=$(slab)
  printf '\r%8d TCP sockets in use, %6d MB of memory more than before ' "$now" $(($(used) - before)) >&2
done
failed=0
for p in "${pids[@]}"; do wait "$p" || failed=$((failed + 1)); done
printf '\n' >&2

echo "$relays relays, $conns connections each"
echo "at most $peak TCP sockets in use, two a connection: $((peak / 2)) connections"
echo "memory more than before then: $((memory - before)) MB, of it kernel slab $((slabs - slabBefore)) MB"
grep -h '"messages"' "$dir"/*.json | awk '
  match($0, /"expected":[0-9]+/)  { expected  += substr($0, RSTART + 11, RLENGTH - 11) }
  match($0, /"delivered":[0-9]+/) { delivered += substr($0, RSTART + 12, RLENGTH - 12) }
  match($0, /"lost":[0-9]+/)      { lost      += substr($0, RSTART + 7, RLENGTH - 7) }
  END { printf "messages expected %d, delivered %d, lost %d\n", expected, delivered, lost }'
echo "$failed of $relays runs found a fault"
((failed == 0)) || { tail -n 3 "$dir"/*.log >&2; exit 1; }
