# shellcheck shell=bash disable=SC2154 # part of bench/run.sh, which has set what is used here
# Writes RESULTS.md to standard output: what was measured on what, the tables, how to read them. No date, host or path.

memory_table() {
    awk -F '\t' -v n="$idle" '
        BEGIN {title["penstock"] = "Penstock"; title["haproxy-splice"] = "HAProxy, splice"; title["haproxy"] = "HAProxy"}
        {name[NR] = $1 in title ? title[$1] : $1; base[NR] = $2; user[NR] = $3; further[NR] = $4; slab[NR] = $5; if ($1 == "direct") direct = $5}
        END {
            print "| idle sessions: bytes each | user memory, first " n " | user memory, each further | kernel objects | untouched start |"
            print "|---|---:|---:|---:|---:|"
            for (i = 1; i <= NR; i++)
                if (name[i] != "direct")
                    printf "| %s | %.0f | %.0f | %.0f | %.1f MiB |\n", name[i], user[i], further[i], slab[i] - direct, base[i] / 1024
        }' "$work/memory.tsv"
}

version() {
    case $1 in
        penstock) "$build/penstock" version | head -n 1 ;;
        haproxy) haproxy -v | head -n 1 | cut -d ' ' -f 1-3 ;;
        nginx) nginx -v 2>&1 | sed 's/.*: //' ;;
    esac
}

cat <<MD
# What \`make bench\` measured

Written by \`make bench\`; do not edit. Medians of $rounds rounds of $seconds s each; the proxies take turns within a round.

- machine: $(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r)
- $(version penstock); $(version haproxy); $(version nginx)
- congestion control: $(cat /proc/sys/net/ipv4/tcp_congestion_control), in a network namespace of its own
- command: \`make bench ROUNDS=$rounds SECONDS_EACH=$seconds\`

![CPU per operation](results.svg)

## Figures

$(cat "$work/tables.md")

$(memory_table)

Ten busy connections of 64 B in one worker, through Penstock; rounds: $beside_rounds.

$("$here/tables.awk" -v table=plain "$work/many.tsv")

Twenty busy connections of 64 B through Penstock; rounds: $beside_rounds. Each slow reader takes 1,000 bytes/s of an endless
stream; the buffer bank has 64 MiB.

$("$here/tables.awk" -v table=plain "$work/slow.tsv")
$([ ! -s "$work/notes" ] || { echo; sort -u "$work/notes"; })

## How it is measured

- Each proxy has one worker with one thread on CPU 0, no access log; load and origin share CPU 1, over loopback. They are
  often what limits the rate, so **the rate compares the proxies little; CPU per operation does.**
- *CPU/op*: CPU time of all threads of all processes of the proxy (\`/proc/PID/task/*/schedstat\`) from when all
  connections are open until the clock stops, by what was completed in between: us per exchange or connection, CPU-seconds
  per GB (10^9 bytes). The kernel's work for a packet counts for whoever ran when it was done: mostly its sender.
- *machine*: the same of both CPUs, load and origin included, from the idle time of \`/proc/stat\`.
- *ping-pong C x B*: one request and one answer of B bytes outstanding on each of C connections. *connect*: connect, one
  exchange of 64 B, close, the client first; clients from 20 addresses, a proxy's own ports from one. So a proxy soon connects
  among more TIME_WAITs than there are ports, as any busy one does; *few TIME_WAITs*: the first 6000 of a round only.
- *Penstock, spin*: another instance with \`spin: 100us\`, for one connection only. Its CPU/op is what it costs to look
  instead of sleeping; p50 is what it brings. What remains is mostly the wake-ups of load and origin, which it cannot spare.
- HAProxy with splice: \`option splice-request\` and \`splice-response\`, since \`splice-auto\` alone never came to
  splice in these workloads; without: \`nosplice\`. nginx: its stream module with its default buffers.
- Idle sessions: $idle in a proxy that has just started, each has made one exchange. User memory: growth of the PSS of all
  its processes, files left out, by all sessions; and by the second half of them, without what is taken into use once.
  Kernel objects: growth of what lives in the slab caches (\`/proc/slabinfo\`, without TIME_WAIT and directory entries), less
  the same growth without a proxy; that is two sockets and what watches them. Hard limit of open files: $limit.
- Slow readers and an origin of their own run as SCHED_IDLE on CPU 1 behind a second listener and pool, with small socket
  buffers, so that the load they are is not what is measured. *Past Penstock*: the same readers connected to that origin
  directly. TCP's memory in the last round with readers through Penstock: $tcp_mib MiB; from
  $(awk '{printf "%.0f", $2 * 4 / 1024}' <<<"$BENCH_TCP_MEM") MiB on (\`net.ipv4.tcp_mem\`) the kernel would close
  everybody's receive windows between exchanges, which is what slow readers first cost the others on a host that lets it
  come to that.

## Where the ratio is not what we want

The aims are 0.65 for 1000 x 64 B, 0.75 for 64 x 16 KiB, 0.70 for connections, 1.0 for bulk, with a p99 and a rate no worse.
Shares are of the worker's CPU (\`perf record -g\`); values are of the run in which something was tried, so compare them
with each other only.

- *1000 x 64 B*: 4 % are spent in user space, 72 % in the kernel's send with loopback's receive behind it, 16 % in its
  receive; in these, 17 % wake load and origin (an interrupt to the other CPU each) and 8 % set TCP's timers. Tried: buffers
  a cache line apart from the page size (8.8 us before, 8.2 after; kept), 64 receive buffers instead of 128 (no difference;
  kept, since the memory of 64 is spared), 32 (they run out: 11 us), waiting for 8 or 16 completions at once (no difference), no transactions and no shared descriptor
  table (\`make bench-price\`: within 2 %).
- *64 x 16 KiB*: each message fills a buffer, so this is a stream and spliced: 6 % in user space, 54 % in the splice to the
  socket (29 % loopback's receive behind it), 13 % in the one from it, 17 % waiting (10 % of it the switch to another process),
  10 % waking load and origin. Tried: received and sent by the ring (12.4 us), spliced with five calls a message (11.8), with
  the two there are now (10.3). The rate and the p99 are those of a load which takes all of CPU 1 to make and compare 16 KiB
  patterns: the less the proxy works the oftener it sleeps, and each wake-up is an interrupt that CPU 1 pays (14 % of its
  time against 6 % beside HAProxy).
- *bulk, one connection*: 7 % in user space, 40 % in the splice to the socket, 20 % in the one from it, 22 % waiting for the
  load, nearly all of it the switch to another process and back: with one connection the worker is done before the next bytes
  come. So the ratio is noise in when who sleeps: between 0.85 and 1.26 from run to run, and HAProxy's own values spread as far.
  512 KiB a splice was the best of 32 KiB to 1 MiB.
- *bulk, 16 connections*: 60 % in the splice to the socket, 23 % in the one from it, 4 % in user space, 5 % waiting. The rate is
  that of CPU 1, as it is for HAProxy with splice.
- *few TIME_WAITs*: 21 % in close, 18 % in the ring's sends, 17 % in its connects, 10 % in shutdown, 10 % in accepting with
  what is asked of the new socket, 6 % in choosing a server with making its socket, 7 % in user space. A connection's calls are the same for
  all proxies, so only where the kernel searches for ports, as any busy host comes to, is there much to win: the row above.
  Tried: \`TCP_DEFER_ACCEPT\` (35 to 37 us with it, 32 to 33 without), \`TCP_FASTOPEN_CONNECT\` (31.4 instead of 32.3, and
  what it costs in \`core/DECISIONS.md\`).
MD
