#!/usr/bin/env bash
# The measurement behind `make bench-time-wait`: what it saves and costs that Penstock keeps TIME_WAIT itself (owned) and
# not the kernel. Bytes per connection, the responder's nanoseconds per packet, connects as the range of source ports
# fills, bulk with and without the responder, short connections. Prints the figures and writes bench/TIME_WAIT.md.
#
# usage: bench/time_wait.sh BUILD           in less than 6 minutes
#        bench/time_wait.sh BUILD --quick   fewer and shorter, in one to two minutes; prints only
# environment: ROUNDS=5 SECONDS_EACH=2; KEEP=DIR keeps raw values, configurations and logs
#
# What is measured has one worker on CPU 0 and a network namespace of its own (a place), joined by a veth pair to this
# script's, where load and origin share CPU 1. Here the kernel keeps no TIME_WAIT: each is that of the place. Mounts
# are the script's own; places, cgroups and processes end with it.
# shellcheck disable=SC2034,SC2154 # what seems unused or unset is used by bench/time_wait_tables.sh, set by sample()
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
quick=${2:-}

die() {
    echo "bench-time-wait: $*" >&2
    exit 1
}

if [ -z "${BENCH_NAMESPACE:-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root, for namespaces and BPF"
    exec env BENCH_NAMESPACE=1 unshare -n -m "$0" "$@"
fi
[ "$(nproc)" -ge 2 ] || die "this needs two CPUs"
[ -x "$build/bench/responder" ] || die "this build has no BPF: make deps"
[ -r /sys/kernel/slab/tw_sock_TCP/objects ] || die "the kernel does not tell what its caches hold (CONFIG_SLUB_DEBUG)"
mount -t bpf bpf /sys/fs/bpf || die "no BPF file system can be mounted"
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 cgroup2 /run/cgroup || die "no cgroup2 can be mounted"
cgroup=/run/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/penstock-bench-$$
work=$(mktemp -d)
declare -A net pid
places=0
# shellcheck source=bench/processes.sh
. "$here/processes.sh"

if [ "$quick" ]; then
    rounds=${ROUNDS:-2} seconds=${SECONDS_EACH:-1} waits=2000 range=2000 connections=1000 port_rounds=1
    flow_load=30 # per cent of the table: what was released a moment ago stands in it, too
else
    rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-2} waits=20000 range=10000 connections=10000
    flow_load=60 # recommended at most
    port_rounds=$((rounds < 3 ? rounds : 3))
fi
low=20000
high=$((low + range - 1))
parallel=32              # connections of load
measured=$((range / 20)) # connects at each share of the range
shares="0 25 50 75 90"

# --- places ---------------------------------------------------------------------------------------------------

inside() { nsenter --net="/run/netns/$1" "${@:2}"; }

# place NAME: a network namespace at 10.77.N.1; here are 10.77.N.2, for origins, and 20 addresses for clients.
place() {
    local name=$1 each
    places=$((places + 1))
    net[$name]=10.77.$places
    ip netns add "$name"
    ip link add "to-$name" type veth peer name lan netns "$name"
    {
        for each in 2 {101..120}; do echo "addr add ${net[$name]}.$each/24 dev to-$name"; done
        echo "link set to-$name up"
    } | ip -batch -
    printf '%s\n' "addr add ${net[$name]}.1/24 dev lan" "link set lan up" "link set lo up" | inside "$name" ip -batch -
    inside "$name" sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_max_tw_buckets=4000000
}

leave() {
    ip link del "to-$1" # at once; the rest of it takes its time
    ip netns del "$1"
    unset "net[$1]"
}

# launch NAME COMMAND...: in the place and a cgroup of that name, on CPU 0.
launch() {
    local name=$1
    shift
    mkdir "$cgroup/$name"
    # shellcheck disable=SC2016 # for that shell
    inside "$name" bash -c 'echo 0 >"$0/cgroup.procs" && exec taskset -c 0 "$@"' "$cgroup/$name" "$@" >"$work/$name.log" 2>&1 &
    pid[$name]=$!
    started[$!]=${1##*/}-$name
}

# await NAME COMMAND...: until the command succeeds, 10 s at most.
await() {
    local name=$1 _
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        [ -d "/proc/${pid[$name]}" ] || break
        sleep 0.05
    done
    die "$name: not so: $*: $(tail -n 5 "$work/$name.log")"
}

# Ends what runs there, and a process that would answer until the last entry has expired.
stop() {
    local name=$1 _
    end 5 "${pid[$name]}"
    echo 1 >"$cgroup/$name/cgroup.kill"
    for _ in $(seq 100); do
        rmdir "$cgroup/$name" 2>/dev/null && break
        sleep 0.05
    done
    unset "pid[$name]"
}

finish() {
    trap - EXIT
    trap '' INT TERM
    local each
    for each in "${!pid[@]}"; do stop "$each"; done
    end 5 "${!started[@]}"
    rmdir "$cgroup" 2>/dev/null || true
    for each in "${!net[@]}"; do leave "$each"; done
    if [ "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp -r "$work/." "$KEEP/"; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what is measured -----------------------------------------------------------------------------------------

# start_penstock NAME SERVERS TIME_WAIT [POOL]: that `time_wait`, the first SERVERS listeners of the origin, more of the pool.
start_penstock() {
    local name=$1 servers='' mode each
    for each in $(seq "$2"); do servers+="${servers:+, }\"${net[$name]}.2:$((10010 + each))\""; done
    cat >"$work/$name.yaml" <<YAML
name: bench-$$-$name
workers: 1
limits: { sessions: 2000, flows: ${flows:-400000}, buffers: 64MiB }
log: { level: info, access: off }
time_wait: $3
listeners:
  - { name: far, bind: "0.0.0.0:10001", routes: [ { pool: far } ] }
  - { name: near, bind: "0.0.0.0:10002", routes: [ { pool: near } ] }
pools:
  - { name: far, servers: [ $servers ]${4:+, $4} }
  - { name: near, servers: [ "127.0.0.1:10011" ] }
YAML
    launch "$name" "$build/penstock" run -c "$work/$name.yaml"
    await "$name" grep -q event=ready "$work/$name.log"
    mode=$(sed -n 's/.*event=time_wait mode=\([a-z]*\).*/\1/p' "$work/$name.log")
    [[ $3 = *"mode: $mode"* ]] || die "$name: $(grep event=time_wait "$work/$name.log")"
}

listens() { [ "$(inside "$1" ss -Hltn "sport = :$2")" ]; }

start_haproxy() {
    cat >"$work/$1.conf" <<HAPROXY
global
    maxconn 2000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 0.0.0.0:10001 backlog 4096
    default_backend origin
backend origin
    server origin ${net[$1]}.2:10011
HAPROXY
    launch "$1" haproxy -db -f "$work/$1.conf"
    await "$1" listens "$1" 10001
}

start_nginx() {
    local module=/usr/lib/nginx/modules/ngx_stream_module.so
    cat >"$work/$1.conf" <<NGINX
$([ ! -e $module ] || echo "load_module $module;")
daemon off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.error;
events { worker_connections 4000; }
stream {
    server {
        listen 0.0.0.0:10001 backlog=4096;
        proxy_pass ${net[$1]}.2:10011;
    }
}
NGINX
    launch "$1" nginx -p "$work" -e "$work/nginx.error" -c "$work/$1.conf"
    await "$1" listens "$1" 10001
}

# origin PREFIX ADDRESS COUNT: listens at ports 10011 and so on.
origin() {
    local listen=() each
    for each in $(seq "$3"); do listen+=(--listen "$2:$((10010 + each))"); done
    # shellcheck disable=SC2086 # a list
    $1 taskset -c 1 "$build/bench/origin" "${listen[@]}" >"$work/origin.log" 2>&1 &
    origin_pid=$!
    started[$!]=origin
    sleep 0.3
}

status() { inside "$1" "$build/penstock" status --json -n "bench-$$-$1"; }
pins() { sed -n 's/.*event=time_wait .*pins=//p' "$work/$1.log"; }
kernel_waits() { inside "$1" sed -n 's/^TCP:.* tw \([0-9]*\) .*/\1/p' /proc/net/sockstat; }
flow_count() { status "$1" | grep -o '"flows":{[^}]*}' | sed "s/.*\"$2\":\([0-9]*\).*/\1/"; }

# waiting NAME: how many connections are in TIME_WAIT there, whoever keeps them.
waiting() { if [ "$1" = owned ]; then flow_count "$1" time_wait; else kernel_waits "$1"; fi; }

# settle NAME COUNT: until so many are, or nearly: a client may have taken the same port again. What is measured is worth
# something only when the last FINs have come.
settle() {
    local _
    for _ in $(seq 30); do
        [ "$(waiting "$1")" -lt "$2" ] || return 0
        sleep 0.1
    done
    [ "$(waiting "$1")" -ge $(($2 * 98 / 100)) ] || note "$1: of $2 connections $(waiting "$1") are in TIME_WAIT"
}

# drive NAME PREFIX ADDRESS ARGS...: load, to its end. Sets cpu_ns, what all threads of NAME's processes took, and
# busy_ns, what the whole machine did.
drive() {
    local name=$1 prefix=$2 to=$3 processes cpu_0 now_0 idle_0
    shift 3
    processes=$(tree "${pid[$name]}")
    # shellcheck disable=SC2086 # a list
    sample $processes
    cpu_0=$cpu_ns now_0=$now_us idle_0=$idle_us
    # shellcheck disable=SC2086 # a list
    $prefix taskset -c 1 "$build/bench/load" "$@" --connect "$to" --json >"$work/load.json" 2>"$work/load.log" &
    started[$!]=load
    wait $! || note "$name: connections failed or ended early: $(tr '\n' ' ' <"$work/load.log" | cut -c 1-200)"
    unset "started[$!]"
    sleep 0.3 # the last ones close, and what is removed of the kernel's is removed
    # shellcheck disable=SC2086 # a list
    sample $processes
    cpu_ns=$((cpu_ns - cpu_0)) busy_ns=$((($(nproc) * (now_us - now_0) - (idle_us - idle_0)) * 1000))
}

# short NAME COUNT WHO [ARGS...]: so many connections with one exchange each; WHO (client, origin) closes first, which
# leaves Penstock a TIME_WAIT toward the server (client) or toward the client (origin). Both have clients' addresses of
# their own, so that no port is taken again that is in TIME_WAIT.
short() {
    local clients="${net[$1]}.101-${net[$1]}.110"
    [ "$3" = origin ] || clients="${net[$1]}.111-${net[$1]}.120"
    drive "$1" "" "${net[$1]}.1:10001" connect --connections $parallel --count "$2" --close-first "$3" --source-range "$clients"
}

# --- 1. bytes, 2. nanoseconds ---------------------------------------------------------------------------------

# Those that the kernel takes TIME_WAITs from; caches of objects of one size are often one.
caches=(tw_sock_TCP tcp_bind_bucket tcp_bind2_bucket)

# caches_held: a line each: path, objects, bytes of one.
caches_held() {
    local each
    for each in "${caches[@]}"; do readlink -f "/sys/kernel/slab/$each"; done | sort -u | while read -r each; do
        echo 1 >"$each/shrink" # what is free does not count
        echo "$each $(cut -d ' ' -f 1 "$each/objects") $(cat "$each/slab_size")"
    done
}

# cache_names PATH: which of them are there.
cache_names() {
    local each names=
    for each in "${caches[@]}"; do
        [ "$(readlink -f "/sys/kernel/slab/$each")" != "$1" ] || names+="${names:+, }$each"
    done
    echo "$names"
}

# memory_of NAME DIRECTION WHO: lines to memory.tsv of what $waits TIME_WAITs take of the kernel's caches.
memory_of() {
    local before path objects size path_0 objects_0 kept
    kept=$(waiting "$1")
    before=$(caches_held)
    short "$1" "$waits" "$3"
    settle "$1" $((kept + waits))
    sleep 1 # what was freed has gone
    kept=$(($(waiting "$1") - kept))
    caches_held >"$work/caches"
    while read -r path objects size && read -r path_0 objects_0 _ <&3; do
        [ "$path" = "$path_0" ] || die "the kernel's caches changed"
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$kept" "$(cache_names "$path")" "$size" $((objects - objects_0))
        # Only where nobody else opened connections each one here is one object more.
        [[ $1 != kernel || $path != */tw_sock_TCP ]] || [[ $(((objects - objects_0) * 100 / kept)) = @(9[89]|10[0-2]) ]] ||
            note "bytes: $((objects - objects_0)) objects for $kept connections: others are at work on this machine"
    done <"$work/caches" 3<<<"$before" >>"$work/memory.tsv"
}

# The entries of both directions are $flow_load per cent of the table.
memory() {
    local mode flows=$((2 * waits * 100 / flow_load))
    for mode in kernel owned; do
        echo "bytes per connection: $mode" >&2
        place $mode
        start_penstock $mode 1 "{ mode: $mode }"
        memory_of $mode accepted origin
        memory_of $mode outgoing client
        [ $mode = owned ] || { stop $mode && leave $mode; }
    done
    table_bytes=$(for map in flow_tags flow_entries; do bpftool map show pinned "$(pins owned)/$map"; done |
        sed -n 's/.*memlock \([0-9]*\)B.*/\1/p' | awk '{sum += $1} END {print sum}')
    table_slots=$(flow_count owned capacity)
    table_entries=$(flow_count owned time_wait)
    echo "nanoseconds per packet" >&2
    taskset -c 0 "$build/bench/responder" "$(pins owned)" >"$work/responder.tsv" || die "the responder cannot be measured"
    stop owned
    leave owned
}

# --- 3. connects as the range fills ---------------------------------------------------------------------------

# Through a proxy: the CPU of a session, when so much of the range is taken.
fill_through() {
    local name=$1 title=$2 made=0 share fill
    short "$name" $measured origin # takes into use what is kept, and no port
    for share in $shares; do
        fill=$((range * share / 100 - made))
        [ $fill = 0 ] || short "$name" $fill client
        short "$name" $measured client
        made=$((range * share / 100 + measured))
        awk -v what="$title	$share" -v cpu="$cpu_ns" -v n=$measured 'BEGIN {printf "%s\t%.3f\n", what, cpu / n / 1000}' >>"$work/ports.tsv"
    done
    settle "$name" $((made + measured))
}

# The connects alone. They are not Penstock's, so nobody but the kernel keeps them.
fill_alone() {
    inside "$1" taskset -c 0 "$build/bench/connects" "${net[$1]}.2:10011" $low $high $measured "$1" >"$work/connects.tsv" ||
        die "connects: $1"
    settle "$1" $((range * 90 / 100 + measured))
    sed "s/^/$2	/" "$work/connects.tsv" >>"$work/ports.tsv"
}

ports() {
    local name
    for name in choice window haproxy nginx kernel owned; do
        place $name
        inside $name sysctl -qw "net.ipv4.ip_local_port_range=$low $high"
        case $name in
            choice) fill_alone choice "connect(), the kernel's choice" ;;
            window) fill_alone window "connect(), a range of one port" ;;
            haproxy | nginx)
                start_$name $name
                fill_through $name "$name"
                ;;
            *)
                start_penstock $name 1 "{ mode: $name }" "source: { ports: $low-$high }"
                fill_through $name "Penstock, $name"
                ;;
        esac
        [ -z "${pid[$name]:-}" ] || stop $name
        leave $name
    done
}

# --- 4. bulk --------------------------------------------------------------------------------------------------

# attach NAME INTERFACE...: the responder answers there and nowhere else.
attach() {
    local name=$1 each wanted=
    shift
    for each in "$@"; do wanted+="${wanted:+, }$each"; done
    sed -i "s/^time_wait:.*/time_wait: { mode: owned, interfaces: [ $wanted ] }/" "$work/$name.yaml"
    inside "$name" "$build/penstock" reload -c "$work/$name.yaml" >>"$work/$name.log" 2>&1 || die "the reload was refused"
    await "$name" attached_to "$name" "$#"
}

# bulk_once PATH ROUND VARIANT
bulk_once() {
    local name=owned prefix='' to
    [ "$3" != kernel ] || name=kernel
    to=${net[$name]}.1:10001
    case $3 in
        attached) attach owned lo lan ;;
        detached) attach owned unused ;;
    esac
    case $1 in
        loopback) prefix="nsenter --net=/run/netns/$name" to=127.0.0.1:10002 ;;
        veth) segments "$name" 65535 ;;
        *) segments "$name" 1 ;;
    esac
    drive "$name" "$prefix" "$to" bulk --connections 16 --direction down --seconds "$seconds"
    awk -v what="$1	$2	$3" -v bytes="$(value bytes_down "$work/load.json")" -v rate="$(value bytes_down_per_s "$work/load.json")" \
        -v cpu="$cpu_ns" -v busy="$busy_ns" 'BEGIN {
            if (bytes == 0) exit 1
            printf "%s\t%.4f\t%.4f\t%.4f\n", what, rate / 1e9, cpu / bytes, busy / bytes
        }' >>"$work/bulk.tsv" || die "bulk: nothing came"
}

# segments NAME COUNT: at most so many in one packet of the veth pair's.
segments() {
    ip link set "to-$1" gso_max_segs "$2"
    inside "$1" ip link set lan gso_max_segs "$2"
}

attached_to() {
    local links
    links=$(find "$(pins "$1")" -name 'responder:*' | wc -l)
    [ "$links" = "$2" ]
}

bulk() {
    local round path variant near=() order="attached detached kernel"
    for variant in owned kernel; do
        place $variant
        origin "nsenter --net=/run/netns/$variant" 127.0.0.1 1
        near+=("$origin_pid")
        inside $variant ip link add unused type veth peer name unused-end
        inside $variant ip link set unused up
        start_penstock $variant 1 "{ mode: $variant }"
    done
    for round in $(seq "$rounds"); do
        echo "bulk: round $round of $rounds" >&2
        for path in loopback veth "veth, a packet a segment"; do
            for variant in $order; do bulk_once "$path" "$round" $variant; done
        done
        order="${order#* } ${order%% *}"
    done
    end 5 "${near[@]}"
    for variant in owned kernel; do
        stop $variant
        leave $variant
    done
}

# --- 5. short connections -------------------------------------------------------------------------------------

turnover() {
    local round direction variant order="kernel owned alone"
    place kernel && start_penstock kernel 8 "{ mode: kernel }"
    place owned && start_penstock owned 8 "{ mode: owned }"
    place alone && start_penstock alone 8 "{ mode: owned, tcp_max_tw_buckets: 0 }"
    for variant in $order; do short "$variant" $((connections / 2)) client; done # takes into use what is kept
    for round in $(seq "$rounds"); do
        echo "short connections: round $round of $rounds" >&2
        for direction in client origin; do
            for variant in $order; do
                short "$variant" "$connections" $direction
                awk -v what="$direction	$round	$variant" -v n="$(value completed "$work/load.json")" -v cpu="$cpu_ns" -v busy="$busy_ns" \
                    'BEGIN {printf "%s\t%.3f\t%.3f\n", what, cpu / n / 1000, busy / n / 1000}' >>"$work/turnover.tsv"
            done
        done
        order="${order#* } ${order%% *}"
    done
    left_over=$(kernel_waits owned)
    for variant in $order; do
        stop "$variant"
        leave "$variant"
    done
}

# --- all together ---------------------------------------------------------------------------------------------

ulimit -Sn "$(ulimit -Hn)"
mkdir "$cgroup"
ip link set lo up
sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_max_tw_buckets=0
origin "" 0.0.0.0 8
memory
for round in $(seq "$port_rounds"); do
    echo "connects: round $round of $port_rounds" >&2
    ports
done
bulk
turnover

# shellcheck source=bench/time_wait_tables.sh
. "$here/time_wait_tables.sh" >"$work/TIME_WAIT.md"
sed -n '/^## 1/,/^## How/p' "$work/TIME_WAIT.md" | sed '$d'
if [ -z "$quick" ]; then
    cp "$work/TIME_WAIT.md" "$here/TIME_WAIT.md"
    echo "written: bench/TIME_WAIT.md, in $SECONDS s"
fi
