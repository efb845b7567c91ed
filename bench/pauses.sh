#!/usr/bin/env bash
# The measurement behind `make bench-pauses`: how long a client waits when a worker is killed, the configuration
# reloaded, the program upgraded. One connection plays ping-pong; its longest gap in a second with one such event is a
# sample, and seconds without tell what the machine itself does. Prints a line each: samples, minimum, median, 99th
# percentile, maximum, in milliseconds; and what the worker says its adoptions took.
#
# usage: bench/pauses.sh BUILD         about 4 minutes
# environment: SAMPLES=30; KEEP=DIR keeps configurations and logs
#
# Penstock with one worker on CPU 0, load and origin on CPU 1, in a network namespace of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
samples=${SAMPLES:-30}

if [ -z "${BENCH_NAMESPACE:-}" ]; then
    exec env BENCH_NAMESPACE=1 unshare -n "$0" "$@"
fi
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno
work=$(mktemp -d)
# shellcheck source=bench/processes.sh
. "$here/processes.sh"

finish() {
    trap - EXIT
    trap '' INT TERM
    end 10 "${!started[@]}"
    if [ "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp -r "$work/." "$KEEP/"; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

name=pauses-$$
cat >"$work/penstock.yaml" <<YAML
name: $name
workers: 1
time_wait: { mode: kernel }
limits: { sessions: 9000, buffers: 64MiB }
log: { level: warning, access: off }
listeners:
  - { name: player, bind: "127.0.0.1:10001", routes: [ { pool: player } ] }
  - { name: others, bind: "127.0.0.1:10002", routes: [ { pool: others } ] }
pools:
  - { name: player, servers: [ "127.0.0.1:19001" ] }
  - { name: others, servers: [ "127.0.0.1:19002" ] }
YAML
load=(taskset -c 1 "$build/bench/load")

# begin ARGUMENTS...: Penstock, origins, and load in the background, which gives way to the player.
begin() {
    taskset -c 1 "$build/bench/origin" --listen 127.0.0.1:19001 >"$work/player-origin.log" 2>&1 &
    started[$!]=origin
    chrt -i 0 taskset -c 1 "$build/bench/origin" --listen 127.0.0.1:19002 >"$work/origin.log" 2>&1 &
    started[$!]=origin
    taskset -c 0 "$build/penstock" run -c "$work/penstock.yaml" >>"$work/penstock.log" 2>&1 &
    started[$!]=penstock
    for _ in $(seq 100); do
        "$build/penstock" status -n "$name" >/dev/null 2>&1 && break
        sleep 0.05
    done
    chrt -i 0 "${load[@]}" "$@" --connect 127.0.0.1:10002 --seconds 600 --finish-seconds 1 >"$work/load.log" 2>&1 &
    started[$!]=load
    sleep 3
}

worker() { "$build/penstock" status -n "$name" --json | sed -n 's/.*"worker":0,"pid":\([0-9]*\).*/\1/p'; }
nothing() { :; }
kill_worker() { kill -KILL "$victim"; }
reload() { "$build/penstock" reload -c "$work/penstock.yaml" >/dev/null; }
upgrade() { "$build/penstock" upgrade -c "$work/penstock.yaml" >/dev/null; }

# gaps NAME EVENT COUNT: the longest gap of COUNT seconds, each with one EVENT.
gaps() {
    local player
    : >"$work/gaps"
    for _ in $(seq "$3"); do
        victim=$(worker)
        "${load[@]}" pingpong --connect 127.0.0.1:10001 --connections 1 --size 64 --seconds 1 --json >"$work/player.json" &
        player=$!
        sleep 0.5
        "$2"
        wait "$player"
        value longest_gap_ms "$work/player.json" >>"$work/gaps"
    done
    row "$1"
}

# row NAME: of the numbers in $work/gaps.
row() {
    sort -n "$work/gaps" | awk -v name="$1" '{v[NR] = $1}
        END {p = int(NR * 0.99 + 0.999); printf "%-58s %3d  %7.1f %7.1f %7.1f %7.1f\n", name, NR, v[1], v[int((NR + 1) / 2)], v[p], v[NR]}'
}

# adoptions NAME: what the log says they took since the last time.
adoptions() {
    sed -n 's/.*event=adopted.*took_us=\([0-9]*\).*/\1/p' "$work/penstock.log" | awk '{print $1 / 1000}' >"$work/gaps"
    : >"$work/penstock.log"
    row "$1"
}

scene() {
    local title=$1
    shift
    begin "$@"
    gaps "$title: nothing" nothing "$samples"
    gaps "$title: worker killed" kill_worker "$samples"
    adoptions "$title: worker killed, as the worker counts"
    gaps "$title: reload" reload "$samples"
    gaps "$title: upgrade" upgrade $((samples / 3))
    adoptions "$title: upgrade, as the worker counts"
    end 10 "${!started[@]}"
}

# tail_of NAME: p50 and p99 of 64 connections with 64 bytes.
tail_of() {
    "${load[@]}" pingpong --connect 127.0.0.1:10001 --connections 64 --size 64 --seconds 5 --json >"$work/player.json"
    printf '%-58s p50 %s us, p99 %s us\n' "$1" "$(value latency_p50_us "$work/player.json")" "$(value latency_p99_us "$work/player.json")"
}

# reload_every SECONDS: until killed.
reload_every() {
    while :; do
        reload
        sleep "$1"
    done
}

printf '%-58s %3s  %7s %7s %7s %7s\n' 'longest gap, ms' n min median p99 max
scene '8,000 idle sessions' idle --connections 8000 --touch
scene '300 busy streams' streams --connections 300 --max-bytes 16M

begin idle --connections 10
for _ in 1 2 3; do
    tail_of '64 x 64 B, nothing'
    for pause in 1 0.1; do
        reload_every "$pause" &
        started[$!]=reloads
        tail_of "64 x 64 B, a reload every $pause s"
        kill "$!" && wait "$!" 2>/dev/null || true
        unset "started[$!]"
    done
done
