#!/usr/bin/env bash
# The comparison behind `make bench`: Penstock, HAProxy with and without splice(2), nginx, and no proxy at all, by the
# same load in the same run, in turn. Each proxy has one worker on CPU 0; load and origin share CPU 1.
# Prints the tables of bench/RESULTS.md and writes that file and bench/results.svg.
#
# usage: bench/run.sh BUILD           all of it, in less than 10 minutes
#        bench/run.sh BUILD --quick   four workloads in a minute; prints only
# environment: ROUNDS=5 SECONDS_EACH=2 (of each workload, proxy and round); KEEP=DIR keeps the raw values and logs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
quick=${2:-}
# In a network namespace of its own: no port is taken, no TIME_WAIT is there before, and congestion control is the same
# on every machine. Reno is what any user may choose; with BBR, whose pacing costs more than all else, bulk would compare
# the kernel with itself.
if [ -z "${BENCH_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "bench: needs root, for a network namespace and CPU 0" >&2; exit 1; }
    exec env BENCH_NAMESPACE=1 BENCH_TCP_MEM="$(cat /proc/sys/net/ipv4/tcp_mem)" unshare -n "$0" "$@"
fi
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno
sysctl -qw net.ipv4.tcp_max_tw_buckets=4000000 # no proxy's connections get cheaper because another's fill the table
if [ "$quick" ]; then rounds=${ROUNDS:-2} seconds=${SECONDS_EACH:-1}; else rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-2}; fi
beside_rounds=$((rounds < 3 ? rounds : 3)) # of the two long experiments
proxies="penstock haproxy-splice haproxy nginx direct"
work=$(mktemp -d)
raw=$work/raw.tsv
declare -A pid port origin_port
# shellcheck source=bench/processes.sh
. "$here/processes.sh"
# shellcheck source=bench/proxies.sh
. "$here/proxies.sh"

# --- processes ----------------------------------------------------------------------------------------------

die() {
    echo "bench: $*" >&2
    exit 1
}

finish() {
    trap - EXIT
    trap '' INT TERM
    end 5 "${!started[@]}"
    if [ "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp -r "$work/." "$KEEP/"; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# --- measuring ----------------------------------------------------------------------------------------------

# load_begin NAME TARGET_PORT PREFIX MODE ARGS...: starts load in the background, sets loader to its process and phases
# to the descriptor that tells when the clock starts and stops. PREFIX: how it is started.
load_begin() {
    local name=$1 to=$2 prefix=$3
    shift 3
    # shellcheck disable=SC2086 # a list
    exec {phases}< <(exec $prefix "$build/bench/load" "$@" --connect "127.0.0.1:$to" --json --phase-fd 3 \
        3>&1 >"$work/$name.json" 2>"$work/$name.log")
    loader=$!
    started[$loader]=$name
}

# phase NAME: waits for the load to enter that phase; completed and bytes are what it had done by then.
phase() {
    local word
    read -r -u "$phases" word completed bytes || word=end
    [ "$word" = "$1" ] || die "load did not get to $1: $(tail -n 5 "$work"/*.log)"
}

# load_end NAME WHAT: waits for the end and notes what went wrong.
load_end() {
    local status=0
    wait "$loader" || status=$?
    exec {phases}<&-
    unset "started[$loader]"
    [ $status = 0 ] || note "$2: connections failed or ended early: $(tr '\n' ' ' <"$work/$1.log" | cut -c 1-200 | sed 's, *$,,')"
}

# measure WORKLOAD PROXY PORT UNIT MODE ARGS...: one line of raw values. CPU is per completed unit in us, and for UNIT
# "s/GB" per 10^9 bytes in seconds, which is ns per byte. Opening and closing a fixed set of connections is not in it.
measure() {
    local workload=$1 proxy=$2 to=$3 unit=$4 processes
    shift 4
    processes=$(tree ${pid[$proxy]:+"${pid[$proxy]}"})
    load_begin load "$to" "taskset -c 1" "$@" --seconds "$seconds"
    phase running
    # shellcheck disable=SC2086 # a list
    sample $processes
    local now_0=$now_us cpu_0=$cpu_ns idle_0=$idle_us completed_0=$completed bytes_0=$bytes
    phase finishing
    # shellcheck disable=SC2086 # a list
    sample $processes
    load_end load "$workload, $proxy"
    awk -v what="$workload	$unit	$proxy" -v bulk="$([ "$unit" = s/GB ] && echo 1 || echo 0)" \
        -v cpu=$((cpu_ns - cpu_0)) -v busy=$((($(nproc) * (now_us - now_0) - (idle_us - idle_0)) * 1000)) \
        -v n=$((completed - completed_0)) -v bytes=$((bytes - bytes_0)) \
        -v rate="$(value completed_per_s "$work/load.json")" -v bytes_rate="$(value bytes_down_per_s "$work/load.json")" \
        -v p50="$(value latency_p50_us "$work/load.json")" -v p99="$(value latency_p99_us "$work/load.json")" \
        -v p999="$(value latency_p999_us "$work/load.json")" 'BEGIN {
            per = bulk ? bytes : n * 1000
            if (per == 0) exit 1
            printf "%s\t%.4f\t%.4f\t%.4f\t%s\t%s\t%s\n", what, cpu / per, busy / per,
                bulk ? bytes_rate / 1e9 : rate, bulk ? "-" : p50, bulk ? "-" : p99, bulk ? "-" : p999
        }' >>"$raw" || die "$workload, $proxy: nothing was done in $seconds s"
}

# KiB of user memory of the processes and their descendants; pages they share are counted once. Without the pages of
# files: their share falls and rises with whoever else has the C library mapped.
pss_kib() {
    local each files=()
    for each in $(tree "$@"); do files+=("/proc/$each/smaps_rollup"); done
    [ ${#files[@]} -gt 0 ] && cat "${files[@]}" 2>/dev/null | awk '/^Pss_(Anon|Shmem):/ {sum += $2} END {printf "%.0f", sum}' || echo 0
}

# Bytes of living kernel objects; without those of TIME_WAIT, of the page cache and of whoever reads /proc, which change
# by themselves; so a socket's directory entry, 192 bytes, is missing. Only root may read them: others get the whole of Slab.
slab_bytes() {
    if [ -r /proc/slabinfo ]; then
        awk 'NR > 2 && $1 !~ /^(tw_sock|proc_inode|dentry|lsm_inode|anon_vma|vm_area|ext4|xfs|btrfs|radix_tree|xa_node|buffer_head|extent_)/ \
            {sum += $2 * $4} END {printf "%.0f", sum}' /proc/slabinfo
    else
        awk '/^Slab:/ {printf "%.0f", $2 * 1024}' /proc/meminfo
    fi
}

# --- the experiments ----------------------------------------------------------------------------------------

# hold NAME SECONDS: holds half of the idle sessions, each after one exchange, and waits; loader and phases are kept for
# let_go.
hold() {
    load_begin "$1" "${port[$proxy]}" "taskset -c 1" idle --touch --connections $((idle / 2)) --seconds 60
    phase running
    sleep "$2"
}

let_go() {
    loader=$2 phases=$3
    kill -INT "$loader"
    load_end "$1" "idle sessions, $proxy"
}

# What idle sessions cost in a proxy that has just started, in two halves: the first one takes into use what the proxy
# keeps whatever comes, the second one costs what each further session does.
idle_memory() {
    local proxy=$1 pss_0 pss_1 pss_2 slab_0 slab_2 first=() second=()
    [ "$proxy" = direct ] || start "$proxy"
    sleep 1 # it, and what the one before it has left behind, comes to rest
    pss_0=$(pss_kib ${pid[$proxy]:+"${pid[$proxy]}"})
    slab_0=$(slab_bytes)
    hold idle-1 2
    first=("$loader" "$phases")
    pss_1=$(pss_kib ${pid[$proxy]:+"${pid[$proxy]}"})
    hold idle-2 8 # Penstock's receivers rest after 5 s
    second=("$loader" "$phases")
    pss_2=$(pss_kib ${pid[$proxy]:+"${pid[$proxy]}"})
    slab_2=$(slab_bytes)
    printf '%s\t%s\t%s\t%s\t%s\n' "$proxy" "$pss_0" $(((pss_2 - pss_0) * 1024 / idle)) \
        $(((pss_2 - pss_1) * 1024 / (idle / 2))) $(((slab_2 - slab_0) / idle)) >>"$work/memory.tsv"
    let_go idle-1 "${first[@]}"
    let_go idle-2 "${second[@]}"
    [ "$proxy" = direct ] || end 5 "${pid[$proxy]}"
}

# All proxies take turns within a round, and each round begins with another one.
round() {
    local workload unit arguments
    while IFS='|' read -r workload unit arguments; do
        for proxy in $order; do
            # shellcheck disable=SC2086 # a list
            measure "$workload" "$proxy" "${port[$proxy]}" "$unit" $arguments
        done
        # Latency first: what one connection gains by spinning. Started for this row only.
        if [ "$workload" = "ping-pong 1 x 64 B" ]; then
            start penstock-spin
            # shellcheck disable=SC2086 # a list
            measure "$workload" penstock-spin "${port[penstock-spin]}" "$unit" $arguments
            end 5 "${pid[penstock-spin]}"
        fi
    done <"$work/workloads"
    order="${order#* } ${order%% *}"
}

# Ten busy connections alone, and beside thousands of idle ones in the same worker.
beside_idle() {
    measure "alone" penstock "${port[penstock]}" us pingpong --connections 10 --size 64
    load_begin idle "${port[penstock]}" "taskset -c 1" idle --touch --connections "$many" --seconds 60
    local idler=$loader idler_phases=$phases
    phase running
    sleep 1
    measure "beside $many idle sessions" penstock "${port[penstock]}" us pingpong --connections 10 --size 64
    loader=$idler phases=$idler_phases
    kill -INT "$loader"
    load_end idle "beside idle sessions"
}

# Twenty busy connections beside 5,000 that read 1,000 bytes/s each of endless streams. The slow load and an origin of
# its own run on CPU 1 only when nobody else wants it (SCHED_IDLE) and their own sockets have small buffers, so that what
# they use is not what is measured: their half of the bytes would else bring the host under TCP's memory pressure.
beside_slow() {
    local what=$1 to=$2
    load_begin slow "$to" "taskset -c 1 chrt -i 0" slow --connections "$slow" --read-rate 1000 --receive-buffer 16384 --seconds 60 \
        --source-range 127.0.0.10-127.0.0.20
    local reader=$loader reader_phases=$phases
    phase running
    sleep 4 # the streams fill what buffers there are
    [ "$to" != "${port[slow]}" ] || tcp_mib=$(awk '/^TCP:/ {printf "%.0f", $NF * 4 / 1024}' /proc/net/sockstat)
    measure "$what" penstock "${port[penstock]}" us pingpong --connections 20 --size 64
    loader=$reader phases=$reader_phases
    kill -INT "$loader"
    load_end slow "$what"
    sleep 1
}

# --- all together -------------------------------------------------------------------------------------------

[ "$(nproc)" -ge 2 ] || die "this needs two CPUs"

# Each session is two descriptors of a proxy; HAProxy wants those of a pipe for every fourth, too.
limit=$(ulimit -Hn)
[ "$limit" != unlimited ] || limit=1000000
ulimit -Sn "$limit"
sessions=$((limit / 2 - 200 < 9000 ? limit / 2 - 200 : 9000))
haproxy_sessions=$(((limit - 200) * 2 / 5 < 6000 ? (limit - 200) * 2 / 5 : 6000))
idle=$((haproxy_sessions < 4000 ? haproxy_sessions : 4000))
many=$((sessions - 100 < 8000 ? sessions - 100 : 8000))
slow=$((sessions - 100 < 5000 ? sessions - 100 : 5000))

clients=127.0.0.1-127.0.0.20 # one address has 28,000 ports, and the kernel's search among few free ones is slow
cat >"$work/workloads" <<WORKLOADS
ping-pong 64 x 64 B|us|pingpong --connections 64 --size 64
ping-pong 1000 x 64 B|us|pingpong --connections 1000 --size 64
ping-pong 64 x 16 KiB|us|pingpong --connections 64 --size 16384
ping-pong 1 x 64 B|us|pingpong --connections 1 --size 64
bulk down, 1 connection|s/GB|bulk --connections 1 --direction down
bulk down, 16 connections|s/GB|bulk --connections 16 --direction down
connect, request, close, 64|us|connect --connections 64 --source-range $clients
the same, few TIME_WAITs|us|connect --connections 64 --count 6000 --source-range $clients
WORKLOADS
[ -z "$quick" ] || sed -i -n -e '/ 64 x 64 /p' -e '/ 1000 x /p' -e '/bulk.*16/p' -e '/^connect/p' "$work/workloads"

choose_ports
start_origins
if [ -z "$quick" ]; then
    echo "idle sessions: $idle in each proxy" >&2
    for proxy in direct $proxies; do idle_memory "$proxy"; done # the first warms up what origin and kernel keep
    sed -i 1d "$work/memory.tsv"
fi
for proxy in penstock haproxy-splice haproxy nginx; do start "$proxy"; done
order=$proxies
for i in $(seq "$rounds"); do
    echo "round $i of $rounds" >&2
    round
done
mv "$raw" "$work/workloads.tsv"
"$here/tables.awk" -v "table=workloads" "$work/workloads.tsv" >"$work/tables.md"
if [ "$quick" ]; then
    cat "$work/tables.md"
    exit 0
fi
for i in $(seq "$beside_rounds"); do
    echo "beside idle sessions: round $i of $beside_rounds" >&2
    beside_idle
done
mv "$raw" "$work/many.tsv"
for i in $(seq "$beside_rounds"); do
    echo "beside slow readers: round $i of $beside_rounds" >&2
    measure "alone" penstock "${port[penstock]}" us pingpong --connections 20 --size 64
    beside_slow "$slow slow readers through Penstock" "${port[slow]}"
    beside_slow "$slow slow readers past Penstock" "${origin_port[slow]}"
done
mv "$raw" "$work/slow.tsv"

# shellcheck source=bench/results.sh
. "$here/results.sh" >"$work/RESULTS.md"
"$here/chart.sh" "$work/workloads.tsv" >"$work/results.svg"
sed -n '/^## Figures/,/^## How/p' "$work/RESULTS.md" | sed '$d'
cp "$work/RESULTS.md" "$here/RESULTS.md"
cp "$work/results.svg" "$here/results.svg"
echo "written: bench/RESULTS.md, bench/results.svg"
