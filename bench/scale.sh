#!/usr/bin/env bash
# The measurement behind `make bench-scale`: 100,000 sessions at once through Penstock on one machine, with as many
# workers as the limit of open files asks for. Memory in user space and in the kernel, CPU, and how long a worker's
# sessions stand still when it is killed. Prints the figures and, if there were sessions enough, writes them into
# bench/SCALING.md, between its two marks.
#
# usage: bench/scale.sh BUILD            5 to 6 minutes, never more than 8
#        bench/scale.sh BUILD --scrapes  only what scrapes do to traffic, in 2 to 3; prints, writes nothing
# environment: SESSIONS=100000; KEEP=DIR keeps raw values, configurations and logs
#
# Penstock runs on CPU 0, load and origins on CPU 1. What load and origins take of the kernel's memory is measured by
# the same connections without Penstock, and taken off. The floor is bench/floor.c: what one accepted and one connected
# socket with a POLL each take.
# shellcheck disable=SC2034 # what seems unused is used by bench/scale_tables.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
only=${2:-}
wanted=${SESSIONS:-100000}

die() {
    echo "bench-scale: $*" >&2
    exit 1
}

# In a network namespace of its own, as bench/run.sh.
if [ -z "${BENCH_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root, for a network namespace and /proc/slabinfo"
    exec env BENCH_NAMESPACE=1 unshare -n "$0" "$@"
fi
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno
sysctl -qw net.ipv4.tcp_max_tw_buckets=0 # what is counted are sessions that live, not what the part before left behind

work=$(mktemp -d)
declare -A load_pid load_phases
# shellcheck source=bench/processes.sh
. "$here/processes.sh"
pid= # of Penstock's supervisor

# --- processes ----------------------------------------------------------------------------------------------

say() { echo "$*" >&2; }

finish() {
    trap - EXIT
    trap '' INT TERM
    local each
    # Whoever ends early must not wait for a hundred thousand sessions to be closed one by one.
    for each in $(tree "${!started[@]}"); do kill -KILL "$each" 2>/dev/null || true; done
    wait "${!started[@]}" 2>/dev/null || true
    find "$work" -type p -delete
    if [ "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp -r "$work/." "$KEEP/"; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The bound of all: this script's end after 7.5 minutes, whatever it waits for.
me=$$
(
    sleep 450 &
    sleeper=$!
    trap 'kill "$sleeper" 2>/dev/null; exit' TERM
    wait "$sleeper"
    echo "bench-scale: not done after 450 s, giving up" >&2
    kill -TERM "$me"
) &
started[$!]=watchdog

# --- measuring ----------------------------------------------------------------------------------------------

# KiB of user memory of Penstock's processes; pages they share are counted once, pages of files not at all.
pss_kib() {
    local each files=()
    for each in $(tree "$pid"); do files+=("/proc/$each/smaps_rollup"); done
    cat "${files[@]}" 2>/dev/null | awk '/^Pss_(Anon|Shmem):/ {sum += $2} END {printf "%.0f", sum}'
}

# slabs NAME: the kernel's objects now, without those that whoever reads /proc makes, and the page cache (bench/run.sh).
slabs() {
    awk 'NR > 2 && $1 !~ /^(tw_sock|proc_inode|dentry|lsm_inode|anon_vma|vm_area|ext4|xfs|btrfs|radix_tree|xa_node|buffer_head|extent_)/ \
        {print $1, $2, $4}' /proc/slabinfo >"$work/slabs.$1"
    awk '/^TCP:/ {print $NF}' /proc/net/sockstat >"$work/queued.$1"
    awk '/^(KernelStack|PageTables|VmallocUsed|Percpu):/ {sum += $2} END {printf "%.0f\n", sum}' /proc/meminfo >"$work/other.$1"
}

# slab_bytes NAME: their bytes in all.
slab_bytes() { awk '{sum += $2 * $3} END {printf "%.0f", sum}' "$work/slabs.$1"; }

# --- the loads and origins ----------------------------------------------------------------------------------

# load_begin NAME TARGET_PORT MODE ARGS...: starts a load in the background and waits until its connections are open.
load_begin() {
    local name=$1 to=$2 fd
    shift 2
    rm -f "$work/$name.phase"
    mkfifo "$work/$name.phase"
    taskset -c 1 "$build/bench/load" "$@" --connect "127.0.0.1:$to" --json --phase-fd 3 \
        3>"$work/$name.phase" >"$work/$name.json" 2>"$work/$name.log" &
    load_pid[$name]=$!
    started[$!]=$name
    exec {fd}<"$work/$name.phase"
    load_phases[$name]=$fd
    phase "$name" running
}

# phase NAME PHASE: waits for the load to enter that phase; completed is what it had done by then.
phase() {
    local word _
    read -r -u "${load_phases[$1]}" word completed _ || word=end
    [ "$word" = "$2" ] || die "load $1 did not get to $2: $(tail -n 5 "$work/$1.log" "$work/penstock.log" 2>/dev/null)"
}

# load_end NAME: waits for the end and notes what went wrong.
load_end() {
    local status=0 fd=${load_phases[$1]}
    wait "${load_pid[$1]}" || status=$?
    exec {fd}<&-
    unset "started[${load_pid[$1]}]" "load_pid[$1]"
    [ $status = 0 ] || note "$1: connections failed or ended early: $(tr '\n' ' ' <"$work/$1.log" | cut -c 1-200)"
}

# open_idle COUNT NEXT: holds COUNT connections, after an exchange on each. The first load is number NEXT; each has
# source addresses of its own, and past Penstock an origin of its own.
open_idle() {
    local left=$1 number=$2 count
    while [ "$left" -gt 0 ]; do
        count=$((left < batch ? left : batch))
        load_begin "idle-$number" "${to:-${origin_port[$number]}}" idle --touch --verify --connections "$count" --seconds 600 \
            --source-range "127.0.$((number + 1)).1-127.0.$((number + 1)).10"
        left=$((left - count))
        number=$((number + 1))
    done
    idle_loads=$number
}

# Ends them one after the other: each has a second for the exchange on each connection that proves it alive.
close_idle() {
    local number
    for number in $(seq 0 $((idle_loads - 1))); do
        kill -INT "${load_pid[idle-$number]}"
        load_end "idle-$number"
    done
}

# How many loads it takes to open the stages one by one, an origin each.
loads_for() {
    local before=0 each loads=0
    for each in $stages; do
        loads=$((loads + (each - before + batch - 1) / batch))
        before=$each
    done
    echo "$loads"
}

start_origins() {
    local number
    for number in $(seq 0 $(($(loads_for) - 1))); do
        taskset -c 1 "$build/bench/origin" --listen 127.0.0.1:0 >"$work/origin.$number" 2>&1 &
        started[$!]=origin
    done
    for number in $(seq 0 $(($(loads_for) - 1))); do
        for _ in $(seq 50); do
            ! grep -q ^listening "$work/origin.$number" || break
            sleep 0.1
        done
        origin_port[number]=$(sed -n '1s/^listening .*://p' "$work/origin.$number")
        [ "${origin_port[number]}" ] || die "the origin does not listen: $(cat "$work/origin.$number")"
    done
}

# --- Penstock -----------------------------------------------------------------------------------------------

# start WORKERS: on CPU 0; a pool of all origins, so that there are source ports enough to each.
start() {
    local port servers=
    for port in "${origin_port[@]}"; do servers+="${servers:+, }\"127.0.0.1:$port\""; done
    cat >"$work/penstock.yaml" <<YAML
name: scale-$$
workers: $1
time_wait: { mode: kernel }
limits: { sessions: $(($1 * per_worker)), buffers: $(($1 * 24))MiB }
log: { level: info, access: off }
listeners:
  - { name: scale, bind: "127.0.0.1:10001", routes: [ { pool: origins } ] }
pools:
  - { name: origins, servers: [ $servers ] }
YAML
    taskset -c 0 "$build/penstock" run -c "$work/penstock.yaml" >"$work/penstock.log" 2>&1 &
    pid=$!
    started[$!]=penstock
    for _ in $(seq 200); do
        ! grep -q event=ready "$work/penstock.log" || break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    grep -q event=ready "$work/penstock.log" || die "Penstock does not start: $(cat "$work/penstock.log")"
    sleep 1
    processes=$(tree "$pid")
    to=10001
}

stop() {
    cp "$work/penstock.log" "$work/penstock-$1.log"
    end 20 "$pid"
    pid=''
    processes=''
    to=''
}

status() { timeout 10 "$build/penstock" status --json -n "scale-$$" >"$work/status.json"; }

# worker_rows: slot, process, sessions, deaths of each worker.
worker_rows() {
    status
    grep -o '{"worker":[^}]*}' "$work/status.json" |
        sed 's/.*"worker":\([0-9]*\),"pid":\([0-9]*\).*"deaths":\([0-9]*\),"sessions":\([0-9]*\).*/\1 \2 \4 \3/'
}

# --- the experiments ----------------------------------------------------------------------------------------

# exchanges LABEL WORKERS IDLE ARGS...: one line of CPU per exchange (all Penstock's processes), rate, latencies.
exchanges() {
    local label=$1 workers=$2 sessions=$3 cpu_0 completed_0 now_0
    shift 3
    load_begin pingpong "$to" pingpong --size 64 --source-range 127.0.200.1-127.0.200.10 "$@"
    completed_0=$completed
    # shellcheck disable=SC2086 # a list
    sample $processes
    cpu_0=$cpu_ns now_0=$now_us
    phase pingpong finishing
    # shellcheck disable=SC2086 # a list
    sample $processes
    load_end pingpong
    awk -v what="$label	$workers	$sessions" -v cpu=$((cpu_ns - cpu_0)) -v n=$((completed - completed_0)) -v us=$((now_us - now_0)) \
        -v p50="$(value latency_p50_us "$work/pingpong.json")" -v p99="$(value latency_p99_us "$work/pingpong.json")" 'BEGIN {
            if (n == 0) exit 1
            printf "%s\t%.3f\t%.0f\t%s\t%s\t%.2f\n", what, cpu / n / 1000, n / us * 1e6, p50, p99, cpu / us / 10
        }' >>"$work/$into" || die "$label: nothing was exchanged"
}

# --- scrapes ------------------------------------------------------------------------------------------------

# The exporter comes with a reload, so that nothing else is measured with it. CPU 0 is the workers'; it starts there.
start_exporter() {
    local each
    processes='' # those of traffic, as they are now
    sed -i '1a exporter: { listen: "127.0.0.1:10002" }' "$work/penstock.yaml"
    "$build/penstock" reload -c "$work/penstock.yaml" >>"$work/penstock.log" 2>&1 || die "the reload was refused: $(tail -n 3 "$work/penstock.log")"
    sleep 1
    for each in $(tree "$pid"); do
        if [ "$(cat "/proc/$each/comm")" = exporter ]; then exporter=$each; else processes+=" $each"; fi
    done
    [ "${exporter:-}" ] || die "the exporter does not run"
}

# ask PATH: ten times a second, until killed; what each answer took, in us, to the file `asked`.
ask() {
    local began took pause
    taskset -pc 1 "$BASHPID" >/dev/null
    while :; do
        began=${EPOCHREALTIME/[.,]/}
        exec 8<>/dev/tcp/127.0.0.1/10002
        printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&8
        cat <&8 >/dev/null
        exec 8>&-
        took=$((${EPOCHREALTIME/[.,]/} - began))
        echo "$took" >>"$work/asked"
        printf -v pause '0.%06d' $((took < 100000 ? 100000 - took : 0))
        sleep "$pause"
    done
}

# beside LABEL PATH CPU ARGS...: one line as exchanges writes it, while somebody asks an exporter on that CPU for PATH
# (-: nobody); then the answers, their median in us, and the CPU each cost the exporter, in us.
beside() {
    local label=$1 path=$2 asker='' cpu_0 cpu_1 _
    taskset -pc "$3" "$exporter" >/dev/null
    shift 3
    : >"$work/asked"
    if [ "$path" != - ]; then
        ask "$path" &
        asker=$!
        started[$asker]=ask
    fi
    read -r cpu_0 _ <"/proc/$exporter/schedstat"
    into=beside
    exchanges "$label" "$workers" "$wanted" --seconds 2 "$@"
    into=exchanges.tsv
    read -r cpu_1 _ <"/proc/$exporter/schedstat"
    if [ "$asker" ]; then
        kill "$asker" && wait "$asker" 2>/dev/null || true
        unset "started[$asker]"
    fi
    {
        tr '\n' '\t' <"$work/beside"
        sort -n "$work/asked" | awk -v cpu=$(((cpu_1 - cpu_0) / 1000)) '{took[NR] = $1} END {printf "%d\t%d\t%d\n", NR, took[int((NR + 1) / 2)], NR ? cpu / NR : 0}'
    } >>"$work/scrapes.tsv"
    rm "$work/beside"
}

# scrapes ROUNDS: ping-pong beside all sessions, in turn alone, with ten requests a second that need no look, and with
# ten scrapes a second by an exporter on the load's CPU and on the workers'.
scrapes() {
    start_exporter
    for _ in $(seq "$1"); do
        for args in "--connections 64" "--connections 1000 --pause 0.1"; do
            # shellcheck disable=SC2086 # a list
            {
                beside "$args|nobody asks" - 1 $args
                beside "$args|10/s of nothing" /nothing 1 $args
                beside "$args|10/s of all metrics" /metrics 1 $args
                beside "$args|the same, exporter on the workers' CPU" /metrics 0 $args
            }
        done
    done
}

scrapes_table() {
    cat <<'MARKDOWN'
| load | who asks the exporter | exchanges/s | p50 | p99 | its lowest, highest | answers | each took | CPU of each |
|---|---|---:|---:|---:|---:|---:|---:|---:|
MARKDOWN
    # Rounds of a kind, by p99: the median's row, between the first and the last.
    sort -s -t$'\t' -k1,1 -k7,7n "$work/scrapes.tsv" | awk -F'\t' '
        function flush(   f, m) {
            if (!n) return
            m = int((n + 1) / 2)
            split(row[m], f, "\t")
            split(f[1], name, "|")
            line[name[1], name[2]] = sprintf("| %s | %s | %d | %.0f us | %.0f us | %.0f, %.0f us | %s | %s | %s |", \
                name[1] ~ /pause/ ? "1,000 x 64 B, 100 ms of pause" : "64 x 64 B, no pause", name[2], f[5], f[6], p99[m], p99[1], p99[n], \
                f[9] ? f[9] : "-", f[9] ? sprintf("%.1f ms", f[10] / 1000) : "-", f[9] ? sprintf("%.1f ms", f[11] / 1000) : "-")
        }
        $1 != last {flush(); n = 0; last = $1}
        {row[++n] = $0; p99[n] = $7}
        END {
            flush()
            split("--connections 64;--connections 1000 --pause 0.1", loads, ";")
            split("nobody asks;10/s of nothing;10/s of all metrics;the same, exporter on the workers\047 CPU", whom, ";")
            for (i = 1; i <= 2; i++) for (k = 1; k <= 4; k++) print line[loads[i], whom[k]]
        }'
}

# costs WORKERS IDLE: ten connections as fast as they go, thrice; a thousand at ten exchanges a second each.
costs() {
    for _ in 1 2 3; do exchanges ten "$1" "$2" --connections 10 --seconds 1.5; done
    [ "$1" = 1 ] || exchanges thousand "$1" "$2" --connections 1000 --pause 0.1 --seconds 3
}

# idle_cpu SESSIONS SECONDS: CPU of Penstock while all are idle, in percent of one CPU.
idle_cpu() {
    local cpu_0 now_0
    # shellcheck disable=SC2086 # a list
    sample $processes
    cpu_0=$cpu_ns now_0=$now_us
    sleep "$2"
    # shellcheck disable=SC2086 # a list
    sample $processes
    awk -v cpu=$((cpu_ns - cpu_0)) -v us=$((now_us - now_0)) -v what="$1" \
        'BEGIN {printf "%s\t%.2f\n", what, cpu / us / 10}' >>"$work/idle_cpu.tsv"
}

measure_floor() {
    local pairs=$(((nofile - 200) / 2 < 9000 ? (nofile - 200) / 2 : 9000)) i fd fds=()
    say "the floor: 4 x $pairs pairs of sockets"
    sleep 2
    slabs floor.0
    for i in 1 2 3 4; do
        mkfifo "$work/floor.$i"
        taskset -c 1 "$build/bench/floor" "$pairs" <"$work/floor.$i" >"$work/floor.$i.log" 2>&1 &
        started[$!]=floor
        exec {fd}>"$work/floor.$i"
        fds+=("$fd")
        for _ in $(seq 200); do
            ! grep -q ready "$work/floor.$i.log" || break
            sleep 0.1
        done
        grep -q ready "$work/floor.$i.log" || die "floor: $(cat "$work/floor.$i.log")"
    done
    sleep 2
    slabs floor.1
    floor_pairs=$((4 * pairs))
    for fd in "${fds[@]}"; do exec {fd}>&-; done
    for i in "${!started[@]}"; do
        [ "${started[$i]}" != floor ] || { wait "$i" || true && unset "started[$i]"; }
    done
}

# stage_by_stage KIND: opens the stages one on top of the other and looks at each.
stage_by_stage() {
    local kind=$1 each before=0
    idle_loads=0
    for each in 0 $stages; do
        say "$kind: $each sessions"
        [ "$each" = 0 ] || open_idle $((each - before)) "$idle_loads"
        before=$each
        if [ "$kind" = direct ]; then
            sleep 2
            slabs "direct.$each"
            continue
        fi
        sleep 8 # receivers rest after 5 s
        slabs "penstock.$each"
        echo "$each	$(pss_kib)" >>"$work/pss.tsv"
        # With all of them for a lap of the timer wheel, in which each session is looked at once: core/wheel.h.
        if [ "$each" = "$wanted" ]; then idle_cpu "$each" 66; else idle_cpu "$each" 3; fi
        costs "$workers" "$each"
    done
}

one_worker() {
    local each before=0 sizes="10 1000 $((per_worker - 100 < 8000 ? per_worker - 100 : 8000))"
    say "one worker: $sizes sessions"
    start 1
    idle_loads=0
    for each in $sizes; do
        [ "$each" -le 10 ] || open_idle $((each - 10 - before)) "$idle_loads" # the ten are busy
        [ "$each" -le 10 ] || before=$((each - 10))
        sleep 1
        costs 1 $((each - 10))
    done
    close_idle
    stop one-worker
}

# The most workers there may be, each with room for what its descriptors allow, and not one session.
most_workers() {
    local began=${EPOCHREALTIME/[.,]/}
    say "128 workers without a session"
    start 128
    most_ms=$(((${EPOCHREALTIME/[.,]/} - began) / 1000 - 1000)) # start waits a second
    most_kib=$(pss_kib)
    most_space_kib=$(awk '/^VmSize:/ {print $2}' "/proc/$pid/status")
    stop 128-workers
}

# adoption_cost PID: what it took, from Penstock's log, and of that the CPU the new worker has had and has waited for so
# far, in us: a machine that does something else, too, makes it wait.
adoption_cost() {
    local cpu wait _
    read -r cpu wait _ <"/proc/$1/schedstat"
    grep event=adopted "$work/penstock.log" | tail -n 1 |
        sed "s/.*sessions=\([0-9]*\) took_us=\([0-9]*\).*/\1\t\2\t$((cpu / 1000))\t$((wait / 1000))\t/" | tr -d '\n'
}

# adoptions: kills five workers, the fullest first, beside 110 connections with an exchange every 10 ms, whose longest
# wait tells how long a session stood still. The first round kills nobody.
adoptions() {
    local i slot process sessions before
    for i in 0 1 2 3 4 5; do
        read -r slot process sessions _ < <(worker_rows | sort -k4,4n -k3,3nr) # whoever was killed before comes last
        load_begin pingpong "$to" pingpong --size 64 --connections 110 --pause 0.01 --seconds 2.5 \
            --source-range 127.0.200.1-127.0.200.10
        sleep 0.7
        before=$(grep -c event=adopted "$work/penstock.log" || true)
        if [ "$i" -gt 0 ]; then
            kill -KILL "$process"
            for _ in $(seq 500); do
                [ "$(grep -c event=adopted "$work/penstock.log" || true)" = "$before" ] || break
                sleep 0.02
            done
            adoption_cost "$(worker_rows | awk -v slot="$slot" '$1 == slot {print $2}')" >>"$work/adoptions.tsv"
        else
            printf '%s\t0\t0\t0\t' "$sessions" >>"$work/adoptions.tsv"
        fi
        phase pingpong finishing
        load_end pingpong
        value longest_gap_ms "$work/pingpong.json" >>"$work/adoptions.tsv"
    done
}

# --- the limits ---------------------------------------------------------------------------------------------

[ "$(nproc)" -ge 2 ] || die "needs two CPUs"
for tool in penstock bench/load bench/origin bench/floor; do [ -x "$build/$tool" ] || die "$build/$tool is not there: make"; done
[ -r /proc/slabinfo ] || die "needs /proc/slabinfo (CONFIG_SLUB_DEBUG)"
nofile=$(ulimit -Hn)
[ "$nofile" != unlimited ] || nofile=1000000
ulimit -Sn "$nofile"
[ "$nofile" -ge 2048 ] || die "needs 2048 open files a process, the hard limit is $nofile (ulimit -Hn)"

# lower COUNT WHY: takes fewer sessions than were wanted.
lower() {
    [ "$wanted" -gt "$1" ] || return 0
    note "$wanted sessions do not fit: $2; $1 instead"
    wanted=$1
}

# 320 descriptors of each process are not for sessions, and the completion queue has room for 14336 sessions.
# Connections are spread over workers by a hash: 5 % above the mean are allowed for.
per_worker=$(((nofile - 320) / 2 < 14336 ? (nofile - 320) / 2 : 14336))
lower $((128 * per_worker * 95 / 100 - 1010)) "128 workers hold $per_worker each (raise ulimit -Hn)"
available=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
lower $(((available - 2000000) / 24)) "four sockets each take 24 KiB of memory, and $((available / 1024)) MiB are free"
read -r files_used _ files_max </proc/sys/fs/file-nr
lower $(((files_max - files_used - 10000) / 4)) "four descriptors each, and the machine allows $files_max (sysctl fs.file-max)"
[ "$wanted" -ge 3000 ] || die "no sense with fewer than 3000 sessions"
workers=$((((wanted + 1010) * 105 / 100 + per_worker - 1) / per_worker))
batch=$(((nofile - 200) * 3 / 4 < 14000 ? (nofile - 200) * 3 / 4 : 14000))
stages="$((wanted / 10)) $((wanted * 3 / 10)) $wanted"
say "$wanted sessions: $workers workers of at most $per_worker; $(loads_for) loads, $(loads_for) origins"

# --- all together -------------------------------------------------------------------------------------------

SECONDS=0
to=
origin_port=()
into=exchanges.tsv
if [ "$only" = --scrapes ]; then
    stages=$wanted
    start_origins
    start "$workers"
    idle_loads=0
    say "$wanted sessions are opened"
    open_idle "$wanted" 0
    sleep 8 # receivers rest after 5 s
    uptime >&2
    scrapes 5
    close_idle
    uptime >&2
    stop scrapes
    scrapes_table
    exit 0
fi
measure_floor
start_origins
stage_by_stage direct
close_idle
sleep 2
one_worker
sleep 1
start "$workers"
stage_by_stage penstock
before_us=${EPOCHREALTIME/[.,]/}
status
status_us=$((${EPOCHREALTIME/[.,]/} - before_us))
say "adoption: five workers are killed"
adoptions
status
cp "$work/status.json" "$work/status.end.json"
say "scrapes"
scrapes 3
say "every connection has its last exchange"
close_idle
stop all-workers
most_workers
took=$SECONDS

# --- the figures --------------------------------------------------------------------------------------------

# shellcheck source=bench/scale_tables.sh
. "$here/scale_tables.sh" >"$work/figures.md"
cat "$work/figures.md"
if [ "$wanted" -ge 100000 ]; then
    sed -e '/^<!-- figures -->$/,/^<!-- end of figures -->$/ { /^<!--/!d }' -e "/^<!-- figures -->\$/r $work/figures.md" \
        "$here/SCALING.md" >"$work/SCALING.md"
    cp "$work/SCALING.md" "$here/SCALING.md"
    echo "written: the figures of bench/SCALING.md"
else
    echo "not written to bench/SCALING.md: $wanted sessions are fewer than 100000"
fi
