#!/usr/bin/env bash
# Measures everything that the README states, in one call.
set -euo pipefail

help() {
	cat <<'HELP'
bench/publish.sh measures everything that the README states, with a relay and
a bench that are built from the working tree and know their commit.

It writes bench/results/DATE-COMMIT/*.json and report.html, and prints the main
figures as a table in Markdown. At full size it takes about 22 minutes, on a
machine that does nothing else. Exit status 1: a workload failed, or a message
was not accounted for.

  bench/publish.sh             the whole run
  bench/publish.sh -h          this text

Environment, for less or more than that:

  ROUNDS     rounds of every workload (default: each workload's own; restart and
             mixed-all-cores 2; a soak has none)
  CONNS      connections (15000; storm 10000)
  DELAYED    pushes that wait over the restart (1000000)
  WITHIN     over which time they are due (1m)
  AHEAD      from the first of them until they are due (90s)
  SECONDS_OPEN  of each open loop of mixed (10)
  SOAK       time of the soak (1m)
  WORKLOADS  which ones ("idle broadcast push mixed mixed-all-cores
             delay restart storm soak-all-cores")
  OUT        folder of the results
  TMPDIR     where the relay keeps its data: on the disk that is to be measured

A trial of two to three minutes, which tells nothing but that all works:

  ROUNDS=1 CONNS=2000 DELAYED=50000 WITHIN=5s AHEAD=15s SECONDS_OPEN=3 OUT=/tmp/trial bench/publish.sh
HELP
}

case "${1-}" in
'') ;;
-h | -help | --help | help)
	help
	exit 0
	;;
*)
	echo "publish.sh: it takes no arguments, see -h" >&2
	exit 2
	;;
esac

cd "$(dirname "$0")/.."
commit=$(git rev-parse --short=12 HEAD)
if [[ -n $(git status --porcelain) ]]; then
	commit+=-dirty
	echo "publish.sh: there are changes that are in no commit: the results say dirty" >&2
fi
workloads=${WORKLOADS:-idle broadcast push mixed mixed-all-cores delay restart storm soak-all-cores}
conns=${CONNS:-15000}
out=${OUT:-bench/results/$(date -u +%Y-%m-%d)-$commit}

programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
# The stamp is asked for: without it the figures would belong to no commit.
go build -buildvcs=true -o "$programs/" ./bench ./cmd/relay
"$programs/relay" -version >&2
mkdir -p "$out"

# flags prints those of a workload, one a line: only what is not its default,
# so that the commands in the table are short.
flags() {
	local rounds=${ROUNDS-}
	[[ $1 != *-all-cores ]] || printf '%s\n' -all-cores
	case $1 in
	idle)
		[[ -z ${CONNS-} ]] || printf '%s\n' -small "$((conns / 8 + 1))" -large "$conns"
		;;
	*)
		[[ -z ${CONNS-} ]] || printf '%s\n' -conns "$conns"
		;;
	esac
	case $1 in
	push)
		[[ -z ${CONNS-} ]] || printf '%s\n' -pushes "$((4 * conns))"
		;;
	mixed | mixed-all-cores)
		[[ $1 == mixed ]] || rounds=${rounds:-2}
		[[ -z ${SECONDS_OPEN-} ]] || printf '%s\n' -time "${SECONDS_OPEN}s"
		;;
	delay)
		[[ -z ${CONNS-} ]] || printf '%s\n' -delayed "$((20 * conns))"
		[[ -z ${AHEAD-} ]] || printf '%s\n' -ahead "$AHEAD"
		;;
	restart)
		printf '%s\n' -restart -delayed "${DELAYED:-1000000}" -within "${WITHIN:-1m}" -ahead "${AHEAD:-90s}"
		rounds=${rounds:-2}
		;;
	soak-all-cores)
		printf '%s\n' -time "${SOAK:-1m}" -sample 10s
		rounds=
		;;
	esac
	[[ -z $rounds ]] || printf '%s\n' -rounds "$rounds"
}

failed=()
files=()
total=$(wc -w <<<"$workloads")
for name in $workloads; do
	files+=("$out/$name.json")
	rm -f "$out/$name.json"
	workload=$name
	[[ $name != restart ]] || workload=delay
	workload=${workload%-all-cores}
	mapfile -t with < <(flags "$name")
	printf '\n== %s, %d of %d, after %d s: bench %s\n' "$name" "${#files[@]}" "$total" "$SECONDS" "$workload ${with[*]-}" >&2
	"$programs/bench" "$workload" -relay "$programs/relay" -json "$out/$name.json" "${with[@]}" || failed+=("$name")
done

measured=()
for file in "${files[@]}"; do
	[[ ! -f $file ]] || measured+=("$file")
done
if [[ ${#measured[@]} -gt 0 ]]; then
	"$programs/bench" page "$out/report.html" "${measured[@]}"
	printf '\n'
	"$programs/bench" markdown "${measured[@]}" | tee "$out/table.md"
fi
printf '\n%d s; results in %s\n' "$SECONDS" "$out" >&2
if [[ ${#failed[@]} -gt 0 ]]; then
	echo "publish.sh: not measured, or with faults: ${failed[*]}" >&2
	exit 1
fi
