#!/bin/sh
# package/bench.d/daemontools.sh: figures of the daemontools room, ours beside the system's, in one run.
# OURS (default command/) and THEIRS (default /usr/bin) hold the programs, DIR (default a new one below /tmp) the logs.
# LINES, SPAWNS and SERVICES make it shorter or longer. Traffic, users and clock are left alone.
set -eu
cd "$(dirname "$0")/../.."
ours=${OURS:-$PWD/command}
theirs=${THEIRS:-/usr/bin}
lines=${LINES:-500000}
spawns=${SPAWNS:-2000}
services=${SERVICES:-1000}
runs=${RUNS:-3}
made=$(mktemp -d "${DIR:-/tmp}/bench.XXXXXX")
trap 'rm -rf "$made"' EXIT
trap 'exit 1' HUP INT TERM
cd "$made"

now() { # microseconds
  echo $(($(date +%s%N) / 1000))
}

# best COMMAND...: the least time of some runs, microseconds; the log of the run before is gone each time.
best() {
  least=
  round=0
  while [ "$round" -lt "$runs" ]; do
    rm -rf log
    sync
    from=$(now)
    "$@"
    time=$(($(now) - from))
    [ -n "$least" ] && [ "$least" -le "$time" ] || least=$time
    round=$((round + 1))
  done
  echo "$least"
}

# row NAME UNIT OURS THEIRS: a higher OURS is better if UNIT is a rate.
row() {
  awk -v n="$1" -v u="$2" -v o="$3" -v t="$4" 'BEGIN {
    if (t > 0) printf "%-34s %10.1f %10.1f %-8s %5.2f times\n", n, o, t, u, o / t
    else printf "%-34s %10.1f %10s %-8s\n", n, o, "-", u }'
}

both() { # both: there is something to compare with
  [ -x "$theirs/$1" ]
}

rate() { # rate MICROSECONDS: MB/s of the input
  awk -v b="$bytes" -v t="$1" 'BEGIN { printf "%.3f", (t > 0 ? b / t : 0) }'
}

filter() { "$1" <input >/dev/null; }
log() {
  program=$1
  shift
  "$program" "$@" ./log <input
}
spawn() { # spawn COUNT COMMAND...
  count=$1
  shift
  while [ "$count" -gt 0 ]; do
    # svok answers 100.
    "$@" </dev/null || :
    count=$((count - 1))
  done
}

throughput() { # throughput NAME FUNCTION PROGRAM ARGUMENT...
  name=$1 function=$2 program=$3
  shift 3
  mine=$(rate "$(best "$function" "$ours/$program" "$@")")
  other=0
  if both "$program"; then other=$(rate "$(best "$function" "$theirs/$program" "$@")"); fi
  row "$name" MB/s "$mine" "$other"
}

start() { # start PROGRAM ARGUMENT...
  program=$1
  shift
  mine=$(best spawn "$spawns" "$ours/$program" "$@")
  other=0
  if both "$program"; then other=$(best spawn "$spawns" "$theirs/$program" "$@"); fi
  row "start $program" us "$((mine / spawns))" "$((other / spawns))"
}

# kilobytes FIELD PIDS...: the mean of a field of smaps_rollup
private() {
  for pid in "$@"; do
    [ -r "/proc/$pid/smaps_rollup" ] && cat "/proc/$pid/smaps_rollup" || :
  done | awk '/^Private_/ { sum += $2 } /^Rss:/ { n++ } END { printf "%.1f", n ? sum / n : 0 }'
}

ticks() { # ticks PID...: processor time so far
  for pid in "$@"; do
    [ -r "/proc/$pid/stat" ] && cat "/proc/$pid/stat" || :
  done | sed 's/.*) //' | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

# scan PROGRAMS RESULT: 1,000 services below svscan; writes private KB of one supervise and ticks in ten seconds.
scan() {
  mkdir sv
  n=0
  while [ "$n" -lt "$services" ]; do
    mkdir "sv/s$n"
    # The service itself sleeps outside of the sum.
    printf '#!/bin/sh\nexec sleep 600\n' >"sv/s$n/run"
    chmod +x "sv/s$n/run"
    n=$((n + 1))
  done
  (PATH=$1:$PATH; exec svscan sv) 2>/dev/null &
  scan=$!
  tries=0
  until [ "$(find sv -name status | wc -l)" -ge "$services" ] || [ "$tries" -ge 600 ]; do
    sleep 0.2
    tries=$((tries + 1))
  done
  sleep 3
  children=$(cat "/proc/$scan/task/$scan/children")
  # shellcheck disable=SC2086
  {
    before=$(ticks $scan $children)
    sleep 10
    after=$(ticks $scan $children)
    echo "$(private $children) $((after - before)) $(private $scan)" >"$2"
  }
  kill "$scan"
  wait "$scan" 2>/dev/null || :
  find sv -mindepth 1 -maxdepth 1 -name 's*' -exec "$1/svc" -dxk {} +
  tries=0
  while "$1/svok" "sv/s$((services - 1))" 2>/dev/null && [ "$tries" -lt 100 ]; do
    sleep 0.2
    tries=$((tries + 1))
  done
  rm -rf sv
}

awk -v n="$lines" 'BEGIN { x = sprintf("%88s", ""); gsub(" ", "x", x)
  for (i = 0; i < n; i++) printf "%09d %s\n", i, x }' >input
bytes=$(wc -c <input)

printf '%-34s %10s %10s\n' "daemontools ($(uname -r), $(nproc) processors)" ours theirs
throughput 'multilog, plain' log multilog
throughput 'multilog t' log multilog t
throughput 'multilog t s99999 n10' log multilog t s99999 n10
throughput 'multilog t s16777215 n10' log multilog t s16777215 n10
throughput 'tai64n' filter tai64n
"$ours/tai64n" <input >labelled
mv labelled input
bytes=$(wc -c <input)
throughput 'tai64nlocal' filter tai64nlocal

mkdir env
echo b >env/A
start softlimit -o 100 true
start envdir env true
if [ "$(id -u)" = 0 ]; then start setuidgid nobody true; fi
start svok .

if [ "$services" -gt 0 ]; then
  scan "$ours" mine
  if both svscan; then scan "$theirs" other; else echo 0 0 0 >other; fi
  read -r memory cpu own <mine
  read -r memory2 cpu2 own2 <other
  row "private memory of a supervise" KB "$memory" "$memory2"
  row "private memory of svscan" KB "$own" "$own2"
  row "idle, 1/100 s CPU in 10 s" ticks "$cpu" "$cpu2"
fi
