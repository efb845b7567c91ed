#!/usr/bin/env bash
# What surviving deaths costs while nobody dies: CPU per exchange of this build against one without undo log and without
# the descriptor table shared with the keeper. One worker on CPU 0, load and origin on CPU 1, in turn.
#
# usage: bench/price.sh BUILD        ROUNDS=7 SECONDS_EACH=2
set -euo pipefail
build=$1
if [ -z "${BENCH_NAMESPACE:-}" ]; then
    make BUILD="$build/price" EXTRA_CFLAGS=-DPENSTOCK_WITHOUT_ADOPTION "$build/price/penstock"
    exec env BENCH_NAMESPACE=1 unshare -n "$0" "$@"
fi
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno
work=$(mktemp -d)
pids=()

finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

declare -A worker port=([with]=10001 [without]=10002)
taskset -c 1 "$build/bench/origin" --listen 127.0.0.1:19001 >"$work/origin.log" &
pids+=($!)
for name in with without; do
    binary=$build/penstock
    [ $name = with ] || binary=$build/price/penstock
    cat >"$work/$name.yaml" <<YAML
name: price-$name-$$
workers: 1
time_wait: { mode: kernel }
log: { level: warning, access: off }
listeners:
  - { name: bench, bind: "127.0.0.1:${port[$name]}", routes: [ { pool: origin } ] }
pools:
  - { name: origin, servers: [ "127.0.0.1:19001" ] }
YAML
    taskset -c 0 "$binary" run -c "$work/$name.yaml" &
    pids+=($!)
    sleep 1
    worker[$name]=$("$binary" status -n "price-$name-$$" --json | sed -n 's/.*"worker":0,"pid":\([0-9]*\).*/\1/p')
done

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{sum += $1} END {printf "%.0f", sum}'; }
median() { sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

for connections in 64 1000; do
    for _ in $(seq "${ROUNDS:-7}"); do
        for name in with without; do
            from=$(cpu_ns "${worker[$name]}")
            taskset -c 1 "$build/bench/load" pingpong --connect "127.0.0.1:${port[$name]}" --connections $connections \
                --size 64 --seconds "${SECONDS_EACH:-2}" --json >"$work/load.json"
            to=$(cpu_ns "${worker[$name]}")
            sed -n 's/.*"completed": \([0-9]*\).*/\1/p' "$work/load.json" |
                awk -v ns=$((to - from)) '{printf "%.3f\n", ns / $1 / 1000}' >>"$work/$name.$connections"
        done
    done
    awk -v n=$connections -v a="$(median "$work/with.$connections")" -v b="$(median "$work/without.$connections")" \
        'BEGIN {printf "ping-pong %d x 64 B: %.2f us with, %.2f us without, %+.1f %%\n", n, a, b, (a / b - 1) * 100}'
done
