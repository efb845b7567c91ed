#!/usr/bin/env bash
# The comparison behind `make bench`: ping-pong through Penstock and through Debian's HAProxy, in the same run, in turn.
# Each proxy has one worker on CPU 0; load and origin share CPU 1. Prints medians over ROUNDS and their ratios.
#
# usage: bench/run.sh BUILD        ROUNDS=5 SECONDS_EACH=3
set -eu
build=$1
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
work=$(mktemp -d)
pids=()

finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

cat >"$work/penstock.yaml" <<YAML
name: bench-$$
workers: 1
limits: { sessions: 6000, buffers: 64MiB }
log: { level: warning, access: off }
listeners:
  - { name: bench, bind: "127.0.0.1:18082", routes: [ { pool: origin } ] }
pools:
  - { name: origin, servers: [ "127.0.0.1:19001" ] }
YAML
cat >"$work/haproxy.cfg" <<HAPROXY
global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 127.0.0.1:18081
    default_backend origin
backend origin
    server origin 127.0.0.1:19001
HAPROXY
taskset -c 1 "$build/bench/origin" --listen 127.0.0.1:19001 >"$work/origin.log" &
pids+=($!)
taskset -c 0 "$build/penstock" run -c "$work/penstock.yaml" &
pids+=($!)
taskset -c 0 haproxy -db -f "$work/haproxy.cfg" >/dev/null 2>&1 &
haproxy=$!
pids+=("$haproxy")
sleep 2
grep -q listening "$work/origin.log" || { echo "bench: the origin cannot listen on 127.0.0.1:19001" >&2; exit 1; }
penstock=$("$build/penstock" status -n "bench-$$" --json | sed -n 's/.*"worker":0,"pid":\([0-9]*\).*/\1/p')

value() { sed -n "s/.*\"$1\":[ ]*\([^,}]*\).*/\1/p" "$2"; }

# CPU time of all threads of a process, nanoseconds.
cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{sum += $1} END {printf "%.0f", sum}'; }

# measure NAME PID PORT CONNECTIONS SIZE: one line "CPU us per exchange, exchanges/s, p99 us".
measure() {
    local from to
    from=$(cpu_ns "$2")
    taskset -c 1 "$build/bench/load" pingpong --connect "127.0.0.1:$3" --connections "$4" --size "$5" \
        --seconds "$seconds" --json >"$work/load.json"
    to=$(cpu_ns "$2")
    awk -v ns=$((to - from)) -v n="$(value completed "$work/load.json")" -v rate="$(value completed_per_s "$work/load.json")" \
        -v p99="$(value latency_p99_us "$work/load.json")" 'BEGIN {printf "%.2f %.0f %.0f\n", ns / n / 1000, rate, p99}' \
        >>"$work/$1.$4x$5"
}

median() { sort -n -k "$2,$2" "$1" | awk -v k="$2" '{v[NR] = $k} END {print v[int((NR + 1) / 2)]}'; }

echo "machine: $(nproc) CPUs, Linux $(uname -r); $(haproxy -v | head -n 1 | cut -d' ' -f1-3); $rounds rounds of $seconds s"
printf '%-22s %12s %12s %12s %12s %8s\n' "ping-pong" "" "CPU us/exch." "exchanges/s" "p99 us" "ratio"
for what in "64 64" "1000 64" "64 16384"; do
    set -- $what
    for _ in $(seq "$rounds"); do
        measure penstock "$penstock" 18082 "$1" "$2"
        measure haproxy "$haproxy" 18081 "$1" "$2"
    done
    ratio=$(awk -v a="$(median "$work/penstock.$1x$2" 1)" -v b="$(median "$work/haproxy.$1x$2" 1)" 'BEGIN {printf "%.2f", a / b}')
    for name in penstock haproxy; do
        file=$work/$name.$1x$2
        printf '%-22s %12s %12s %12s %12s %8s\n' "$1 x $2 B" $name "$(median "$file" 1)" "$(median "$file" 2)" \
            "$(median "$file" 3)" "$([ $name = penstock ] && echo "$ratio")"
    done
done

# p99 of 20 x 64 B beside 5,000 readers that take 1,000 bytes/s each of endless streams: alone, with the slow readers
# going through Penstock too, and with them going to the origin directly, which costs the machine the same.
beside() {
    "$build/bench/load" slow --connect "127.0.0.1:$1" --connections 5000 --read-rate 1000 --seconds 8 \
        --source-range 127.0.0.10-127.0.0.20 --json >/dev/null 2>&1 &
    local slow=$!
    sleep 4
    measure "$2" "$penstock" 18082 20 64
    wait $slow || true
}
rm -f "$work"/*.20x64
for _ in $(seq 3); do
    measure alone "$penstock" 18082 20 64
    beside 18082 through
    beside 19001 direct
done
echo
printf 'ping-pong 20 x 64 B, p99: %s us alone, %s us beside 5,000 slow readers, %s us with those on a direct way\n' \
    "$(median "$work/alone.20x64" 3)" "$(median "$work/through.20x64" 3)" "$(median "$work/direct.20x64" 3)"
