# shellcheck shell=bash disable=SC2154 # part of bench/time_wait.sh, which has set what is used here
# Writes TIME_WAIT.md to standard output: what was measured on what, the tables, how to read them.

# median: of the numbers on standard input.
median() { sort -g | awk '{v[NR] = $1} END {if (NR) printf "%.4f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# of FILE COLUMN KEY [KEY3]: the median of a column over the lines that begin with KEY, and have KEY3 in the third.
of() {
    awk -F '\t' -v column="$2" -v key="$3" -v third="${4:-}" '$1 == key && (third == "" || $3 == third) {print $column}' "$work/$1" | median
}

# ratios FILE COLUMN KEY VARIANT BASE: one variant's value by another's, in each round (second column).
ratios() {
    awk -F '\t' -v column="$2" -v key="$3" -v a="$4" -v b="$5" '
        $1 == key && $3 == a {over[$2] = $column}
        $1 == key && $3 == b {under[$2] = $column}
        END {for (round in over) if (under[round] > 0) print over[round] / under[round]}' "$work/$1"
}

# change ...: their median in per cent.
change() { ratios "$@" | median | awk '{printf "%+.1f %%", ($1 - 1) * 100}'; }

# span ...: the same, with the lowest and the highest.
span() {
    ratios "$@" | sort -g | awk -v change="$(change "$@")" '
        NR == 1 {low = $1}
        {high = $1}
        END {printf "%s (%+.1f to %+.1f)", change, (low - 1) * 100, (high - 1) * 100}'
}

memory_table() {
    echo "| TIME_WAIT | kept by | connections | kernel caches: objects a connection, bytes of one | bytes a connection |"
    echo "|---|---|---:|---|---:|"
    awk -F '\t' '
        {
            key = $2 SUBSEP $1
            if (!(key in waits)) order[++keys] = key
            direction[key] = $2; by[key] = $1; waits[key] = $3
            each = $3 > 0 && $6 > 0 ? $6 / $3 : 0
            bytes[key] += each * $5
            objects[key] = objects[key] (objects[key] == "" ? "" : "; ") $4 ": " sprintf("%.2f x %d", each, $5)
        }
        END {
            for (i = 1; i <= keys; i++) {
                key = order[i]
                printf "| %s | %s | %d | %s | %.0f |\n", direction[key], by[key] == "kernel" ? "the kernel" : "Penstock", waits[key], objects[key],
                    bytes[key] + (by[key] == "kernel" ? 0 : 65)
            }
        }' "$work/memory.tsv"
}

responder_table() {
    echo "| ns | tcx: over and over | tcx: another entry each | XDP: over and over | XDP: another entry each |"
    echo "|---|---:|---:|---:|---:|"
    sed 's/^/| /; s/\t/ | /g; s/$/ |/' "$work/responder.tsv"
}

ports_table() {
    local what share line first value
    line="| CPU us | $(sed 's/ / % | /g' <<<"$shares") % | fullest to empty |"
    echo "$line"
    echo "|---|---:|---:|---:|---:|---:|---:|"
    cut -f 1 "$work/ports.tsv" | awk '!seen[$0]++' | while read -r what; do
        line="| $what" first=''
        for share in $shares; do
            value=$(awk -F '\t' -v what="$what" -v share="$share" '$1 == what && $2 == share {print $3}' "$work/ports.tsv" | median)
            first=${first:-$value}
            line+=" | $(printf '%.1f' "$value")"
        done
        echo "$line | $(awk -v a="$value" -v b="$first" 'BEGIN {printf "%.2f", a / b}') |"
    done
}

# One line each: throughput, CPU of Penstock and of the machine, and what attaching changes.
bulk_table() {
    local path variant
    echo "| path | | GB/s | Penstock's CPU, s/GB | machine, s/GB |"
    echo "|---|---|---:|---:|---:|"
    for path in loopback veth "veth, a packet a segment"; do
        for variant in kernel detached attached; do
            printf '| %s | %s | %.2f | %.3f | %.3f |\n' "$path" "$(bulk_title $variant)" \
                "$(of bulk.tsv 4 "$path" $variant)" "$(of bulk.tsv 5 "$path" $variant)" "$(of bulk.tsv 6 "$path" $variant)"
        done
    done
    echo
    echo "| the responder on the interface, compared to | path | throughput: median (of rounds, from to) | machine's CPU |"
    echo "|---|---|---:|---:|"
    for variant in detached kernel; do
        for path in loopback veth "veth, a packet a segment"; do
            echo "| $(bulk_title $variant) | $path | $(span bulk.tsv 4 "$path" attached $variant) | $(span bulk.tsv 6 "$path" attached $variant) |"
        done
    done
}

bulk_title() {
    case $1 in
        attached) echo "owned, responder on the interface" ;;
        detached) echo "owned, responder elsewhere" ;;
        kernel) echo "kernel mode" ;;
    esac
}

turnover_table() {
    local direction variant title
    echo "| closes first | TIME_WAITs kept by | Penstock's CPU, us | to kernel mode | machine, us | to kernel mode |"
    echo "|---|---|---:|---:|---:|---:|"
    for direction in client origin; do
        for variant in kernel owned alone; do
            case $variant in
                kernel) title="the kernel" ;;
                owned) title="Penstock; the kernel's destroyed one by one" ;;
                alone) title="Penstock; \`tcp_max_tw_buckets: 0\`" ;;
            esac
            printf '| %s | %s | %.2f | %s | %.2f | %s |\n' "$direction" "$title" "$(of turnover.tsv 4 $direction $variant)" \
                "$(change turnover.tsv 4 $direction $variant kernel)" "$(of turnover.tsv 5 $direction $variant)" \
                "$(change turnover.tsv 5 $direction $variant kernel)"
        done
    done
}

cat <<MD
# What \`make bench-time-wait\` measured

Written by \`make bench-time-wait\`; do not edit. TIME_WAIT kept by the kernel, and owned by Penstock
([io/bpf/README.md](../io/bpf/README.md)), side by side in one run.

- $(date -u +%Y-%m-%d), Linux $(uname -r), $(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
- $("$build/penstock" version | head -n 1); $(command haproxy -v | head -n 1 | cut -d ' ' -f 1-3); $(command nginx -v 2>&1 | sed 's/.*: //')
- command: \`make bench-time-wait ROUNDS=$rounds SECONDS_EACH=$seconds\`

## 1. Bytes of a connection in TIME_WAIT

$(memory_table)

An entry is 64 bytes and a tag of one, for IPv4 and IPv6. The table is there from the start: with $table_entries entries in
$table_slots places ($((100 * table_entries / table_slots)) %; up to 60 % is recommended) its two maps take
$table_bytes bytes, $((table_bytes / table_slots)) a place, $((table_bytes / table_entries)) an entry. In kernel mode the same table
stands beside the kernel's sockets.

## 2. Nanoseconds of the responder for a packet

$(responder_table)

## 3. Connecting as the range of source ports fills

One server, a range of $range ports, so much of it in TIME_WAIT. The first two lines are the connect alone, the others a
whole session through a proxy: medians of $port_rounds rounds of $measured connects each.

$(ports_table)

## 4. Bulk with and without the responder

16 connections downward, $seconds s each; medians of $rounds rounds, of the ratios within a round.

$(bulk_table)

## 5. Short connections

Connect, one exchange of 64 B, close; $connections of them, $parallel at a time, medians of $rounds rounds. Where the client
closes first the TIME_WAIT is that of Penstock's connection to the server, where the origin does that of the client's to Penstock.

$(turnover_table)
$([ ! -s "$work/notes" ] || { echo; sort -u "$work/notes"; })

## How it is measured

- Penstock has one worker; all its processes are on CPU 0, load and origin on CPU 1. Each instance has a network namespace of
  its own, a veth pair away from load and origin, whose kernel keeps no TIME_WAIT itself (\`tcp_max_tw_buckets\` 0): all that
  are counted are Penstock's. HAProxy and nginx: one worker each, TCP mode, the least of configuration.
- *Bytes*: growth of the kernel's caches, by $waits connections each way, divided by what is then in TIME_WAIT
  (\`/proc/net/sockstat\`, \`penstock status\`). They are those of \`/proc/slabinfo\`, read in \`/sys/kernel/slab\`, which
  knows the names of caches that were merged, after what is free was given back. Owned: what is left in the kernel, and 65.
- *Nanoseconds*: the programs by BPF_PROG_TEST_RUN, with connections that are in the table as they are: that for tcx is the one
  attached, that for network cards (native XDP) is loaded beside it. *Over and
  over*: 1,000,000 runs of the same packet. *Another entry each time*: 20,000 packets, the median; each is timed alone, so
  that the clock's own cost is in it and taken off, as the first line has it. What a packet answered costs to go
  back through the interface is not in it.
- *Connecting*: each line begins with an empty range and closes first, so that each connection leaves a TIME_WAIT. The range
  is \`net.ipv4.ip_local_port_range\`. CPU as in [RESULTS.md](RESULTS.md); that of the connect alone is its thread's, with what
  the packets take in it on both ends.
- *Bulk*: owned, in one process, whose responder goes from the interfaces of the traffic to another one and back
  by reload; and kernel mode in another process. They take turns, each round begins with another one. *A packet a segment*:
  the veth pair takes segments one by one (\`gso_max_segs\` 1), as from a NIC that aggregates nothing.
- *Short connections*: eight listeners of the origin, so that ports are never short. CPU of all of Penstock's processes,
  removing the kernel's sockets included; *machine*: both CPUs, load and origin included. What the end of a TIME_WAIT costs,
  a timer in the kernel, the sweeper here, comes a minute later and is not in it. Of the kernel's, $left_over were left
  at the end where Penstock destroys them.
MD
