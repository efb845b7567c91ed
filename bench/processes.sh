# For the scripts of bench/: what they start, what it takes, and how they end it. Sourced.
#
# started[PID] is what runs there; names that begin with `penstock` are supervisors. The script sets work, its directory.
# shellcheck shell=bash disable=SC2154,SC2034
declare -A started

# note TEXT...: for the reader and for the results.
note() { echo "note: $*" | tee -a "$work/notes" >&2; }

# tree PID...: the processes and all their descendants.
tree() {
    local each children
    for each in "$@"; do
        [ -d "/proc/$each" ] || continue
        echo "$each"
        children=$(cat "/proc/$each"/task/*/children 2>/dev/null) || true
        # shellcheck disable=SC2086 # a list
        tree $children
    done
}

# end SECONDS PID...: asks the processes to end, waits so long at most, then kills what is left of them and of their
# descendants. SIGTERM would let Penstock wait for its sessions; SIGINT is ignored by what a script starts in the
# background, unless it asks for it, and HAProxy does not.
end() {
    local seconds=$1 all each
    shift
    [ $# -gt 0 ] || return 0
    all=$(tree "$@")
    for each in "$@"; do
        if [[ ${started[$each]} = penstock* ]]; then kill -INT "$each"; else kill -TERM "$each"; fi 2>/dev/null || true
    done
    for _ in $(seq $((seconds * 10))); do
        [ "$(tree "$@")" ] || break
        sleep 0.1
    done
    # shellcheck disable=SC2086 # a list
    for each in $all; do [ ! -d "/proc/$each" ] || kill -KILL "$each" 2>/dev/null || true; done
    for each in "$@"; do
        wait "$each" 2>/dev/null || true
        unset "started[$each]"
    done
}

# sample PID...: now_us, cpu_ns of all their threads, and idle_us of the machine. Only built-ins, so that sampling costs
# little of what it measures. What is not idle is exact; the ticks of user and system are a statistic. Waiting for
# io_uring counts as iowait, so that is idle too; stolen time is not ours.
ticks_us=$((1000000 / $(getconf CLK_TCK)))
sample() {
    local process file ns _ idle iowait steal
    now_us=${EPOCHREALTIME/[.,]/}
    cpu_ns=0
    for process in "$@"; do
        for file in "/proc/$process"/task/*/schedstat; do
            read -r ns _ <"$file" && cpu_ns=$((cpu_ns + ns))
        done
    done
    read -r _ _ _ _ idle iowait _ _ steal _ </proc/stat
    idle_us=$(((idle + iowait + steal) * ticks_us))
}

# value KEY FILE: that key's value in one line of JSON.
value() { sed -n "s/.*\"$1\":[ ]*\([^,}]*\).*/\1/p" "$2"; }
