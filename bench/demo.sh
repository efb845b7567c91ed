#!/usr/bin/env bash
# The demonstration behind `make run`: two origins, Penstock between them and a load generator, a worker killed in the
# middle. Prints what happened, then serves on until Ctrl-C, which ends everything that was started here.
#
# usage: bench/demo.sh BUILD        DEMO_ONCE=1 ends after the report
set -u
build=$1
penstock=$build/penstock
load=$build/bench/load
config=config/demo.yaml
work=$(mktemp -d)
pids=()

finish() {
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    "$penstock" stop --now -n demo 2>/dev/null # who answers for its TIME_WAITs
    rm -rf "$work"
    echo "demo: everything has ended"
}
trap finish EXIT
trap 'exit 0' INT TERM

die() {
    echo "demo: $*" >&2
    exit 1
}

# value KEY FILE: the first number or word of that key in one line of JSON.
value() { sed -n "s/.*\"$1\":[ ]*\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2" | head -n 1; }

status() { "$penstock" status -n demo --json >"$work/status.json"; }

# worker N KEY: of the list of workers, which ends the status.
worker() { sed -n "s/.*\"worker\":$1,\([^}]*\)}.*/{\1}/p" "$work/status.json" >"$work/worker.json"; value "$2" "$work/worker.json"; }

# The memory of all of Penstock's processes, shared pages counted once: PSS in KiB.
memory_kib() {
    local total=0 pid kib
    for pid in $supervisor $(cat /proc/"$supervisor"/task/*/children) $(for c in $(cat /proc/"$supervisor"/task/*/children); do
        cat /proc/"$c"/task/*/children; done); do
        kib=$(awk '/^Pss:/ {print $2}' "/proc/$pid/smaps_rollup" 2>/dev/null)
        total=$((total + ${kib:-0}))
    done
    echo $total
}

echo "== starting: two origins, Penstock with $config"
for port in 9001 9002; do
    "$build/bench/origin" --listen "127.0.0.1:$port" >"$work/origin.$port" 2>&1 &
    pids+=($!)
done
sleep 0.3
grep -q listening "$work/origin.9001" && grep -q listening "$work/origin.9002" ||
    die "an origin cannot listen: $(cat "$work"/origin.*)"
"$penstock" run -c "$config" 2>"$work/penstock.log" &
supervisor=$!
pids+=("$supervisor")
for _ in $(seq 100); do
    grep -q event=ready "$work/penstock.log" && break
    kill -0 "$supervisor" 2>/dev/null || { cat "$work/penstock.log" >&2; die "Penstock did not start"; }
    sleep 0.1
done
grep -h -e event=kernel -e event=time_wait -e event=ready "$work/penstock.log" | sed 's/^/   /'

echo
echo "== 100 verified streams at a time for 6 s, some readers slow; a worker is killed (SIGKILL) after 3 s"
"$load" streams --connect 127.0.0.1:8080 --connections 100 --seconds 6 --max-bytes 8000000 --slow-readers 20 \
    --json >"$work/streams.json" 2>"$work/streams.log" &
streams=$!
sleep 3
status
victim=$(worker 0 pid)
held=$(worker 0 sessions)
kill -KILL "$victim"
sleep 0.5
status
adoption=$(worker 0 adoption_us)
wait "$streams"
verdict=$?
printf '   streams completed    %s\n' "$(value completed "$work/streams.json")"
printf '   bytes up, down       %s, %s\n' "$(value bytes_up "$work/streams.json")" "$(value bytes_down "$work/streams.json")"
printf '   wrong, reset, short  %s, %s, %s\n' "$(value mismatches "$work/streams.json")" \
    "$(value resets "$work/streams.json")" "$(value short "$work/streams.json")"
printf '   the kill             worker 0 (process %s) held %s sessions; adopted within %s us by process %s\n' "$victim" \
    "$held" "$adoption" "$(worker 0 pid)"
printf '   longest gap          %s ms without a byte on any stream\n' "$(value longest_gap_ms "$work/streams.json")"
[ "$verdict" -eq 0 ] || die "the streams were not all right: $(cat "$work/streams.log")"

echo
echo "== ping-pong: 64 connections x 64 bytes for 3 s"
"$load" pingpong --connect 127.0.0.1:8080 --connections 64 --size 64 --seconds 3 --json >"$work/ping.json" || die "failed"
printf '   %s exchanges/s, p50 %s us, p99 %s us\n' "$(value completed_per_s "$work/ping.json")" \
    "$(value latency_p50_us "$work/ping.json")" "$(value latency_p99_us "$work/ping.json")"

echo
echo "== memory: 4000 idle sessions"
before=$(memory_kib)
"$load" idle --connect 127.0.0.1:8080 --connections 4000 --seconds 4 --json >"$work/idle.json" 2>&1 &
idle=$!
sleep 3
after=$(memory_kib)
wait "$idle" || die "an idle session was closed: $(cat "$work/idle.json")"
printf '   %s KiB in all before, %s KiB with them: %s bytes a session\n' "$before" "$after" \
    $(((after - before) * 1024 / 4000))

echo
sleep 1 # the last sessions end
"$penstock" status -n demo
echo
echo "Penstock serves http://127.0.0.1:8080 and http://[::1]:8080 until Ctrl-C."
echo "Look at it: http://127.0.0.1:9464/ is the dashboard; $penstock top -n demo in a terminal."
[ -n "${DEMO_ONCE:-}" ] && exit 0
while kill -0 "$supervisor" 2>/dev/null; do sleep 1; done
die "Penstock ended: $(tail -n 3 "$work/penstock.log")"
