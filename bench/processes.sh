# For the scripts of bench/: what they start and how they end it. Sourced.
#
# started[PID] is what runs there; names that begin with `penstock` are supervisors. The script sets work, its directory.
# shellcheck shell=bash disable=SC2154
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

# value KEY FILE: that key's value in one line of JSON.
value() { sed -n "s/.*\"$1\":[ ]*\([^,}]*\).*/\1/p" "$2"; }
