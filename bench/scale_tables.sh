# shellcheck shell=bash disable=SC2154 # part of bench/scale.sh, which has set what is used here
# The figures of bench/SCALING.md, as markdown, from the raw values in $work.

# kernel STAGE: bytes of kernel objects that Penstock holds for each session, without load's and origins'.
kernel() {
    echo $((($(slab_bytes "penstock.$1") - $(slab_bytes penstock.0) - $(slab_bytes "direct.$1") + $(slab_bytes direct.0)) / $1))
}

# other STAGE: the kernel's memory that is no object, likewise.
other() {
    local penstock=$(($(cat "$work/other.penstock.$1") - $(cat "$work/other.penstock.0")))
    local direct=$(($(cat "$work/other.direct.$1") - $(cat "$work/other.direct.0")))
    echo $((penstock > direct ? (penstock - direct) * 1024 / $1 : 0)) # others' come and go
}

# queued STAGE: pages that hold or are set aside for bytes in socket buffers, likewise, but of all sessions.
queued() {
    local pages=$(($(cat "$work/queued.penstock.$1") - $(cat "$work/queued.penstock.0") - $(cat "$work/queued.direct.$1") + $(cat "$work/queued.direct.0")))
    echo $((pages > 0 ? pages : 0)) # others' sockets come and go
}

pss() { awk -v stage="$1" '$1 == stage {print $2}' "$work/pss.tsv"; }

ratio() { awk -v a="$1" -v b="$2" -v digits="${3:-2}" 'BEGIN {printf "%.*f", digits, a / b}'; }

# gib BYTES: of ten million of those.
gib() { ratio $(($1 * 10000000)) 1073741824 1; }

# mean_adoption COLUMN: us a session.
mean_adoption() { awk -F'\t' -v column="$1" '$2 > 0 {n++; sum += $column / $1} END {printf "%.2f", sum / n}' "$work/adoptions.tsv"; }

floor_bytes=$((($(slab_bytes floor.1) - $(slab_bytes floor.0)) / floor_pairs))
last=${stages##* }
second=${stages% *}
second=${second##* }
first=${stages%% *}
user_slope=$((($(pss "$last") - $(pss "$second")) * 1024 / (last - second)))
kernel_bytes=$(kernel "$last")
other_bytes=$(other "$last")

cat <<MARKDOWN

All of this section is **measured**: \`make bench-scale\`, $took s, on a virtual machine with $(nproc) CPUs ($(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)),
$(awk '/^MemTotal:/ {printf "%.0f", $2 / 1048576}' /proc/meminfo) GiB, Linux $(uname -r | grep -o '^[0-9]*\.[0-9]*'). At most $nofile open files a process, so $workers workers; all on CPU 0, load and
$(loads_for) origins on CPU 1.

### Memory

| sessions, all idle for 6 s and more | user memory of all processes | since 0 sessions, each | kernel objects each | of the floor |
|---:|---:|---:|---:|---:|
| 0 | $(ratio "$(pss 0)" 1024 1) MiB | | | |
MARKDOWN
for stage in $stages; do
    echo "| $stage | $(ratio "$(pss "$stage")" 1024 1) MiB | $((($(pss "$stage") - $(pss 0)) * 1024 / stage)) B | $(kernel "$stage") B | $(ratio "$(kernel "$stage")" "$floor_bytes") |"
done
cat <<MARKDOWN

- **User memory of one more session** (slope from $second to $last): **$user_slope B**. What the first $first
  take more is what each worker keeps whatever comes: its receive buffers, pages begun.
- **Kernel memory of a session: $kernel_bytes B** of objects at $last. **The floor is $floor_bytes B**: one connected and one accepted
  socket with a POLL each, $floor_pairs of those ([floor.c](floor.c)). Ratio $(ratio "$kernel_bytes" "$floor_bytes").
- Page tables, stacks, vmalloc and per-CPU memory: $other_bytes B a session more.
- Of \`tcp_mem\`, the memory of socket buffers: $(queued "$last") pages for all $last sessions.

The largest kernel objects, bytes a session:

| object | Penstock | floor |
|---|---:|---:|
MARKDOWN
awk -v n="$last" -v pairs="$floor_pairs" -v p0="$work/slabs.penstock.0" -v p1="$work/slabs.penstock.$last" -v d0="$work/slabs.direct.0" \
    -v d1="$work/slabs.direct.$last" -v f0="$work/slabs.floor.0" -v f1="$work/slabs.floor.1" '
    function add(file, sum, by) { while ((getline line <file) > 0) { split(line, part, " "); sum[part[1]] += by * part[2] * part[3]; name[part[1]] } }
    BEGIN {
        add(p1, p, 1); add(p0, p, -1); add(d1, p, -1); add(d0, p, 1); add(f1, f, 1); add(f0, f, -1)
        for (k in name) if (p[k] / n >= 16 || f[k] / pairs >= 16) printf "| `%s` | %.0f | %.0f |\n", k, p[k] / n, f[k] / pairs
    }' | sort -t'|' -k3,3nr

cat <<MARKDOWN

### Adoption

A worker is killed by SIGKILL beside $last idle sessions in all and 110 connections with an exchange every 10 ms.
*Took*: \`took_us\` in Penstock's log, from the new worker's start until every session is served again. Of that the CPU
it has had, and how long it has waited for the CPU (both until a moment later: a few exchanges are in it). The longest
wait for an answer on any of the 110 connections is the time from the kill until the next answer.

| sessions of the worker | adoption took | CPU | waited for the CPU | longest wait for an answer |
|---:|---:|---:|---:|---:|
MARKDOWN
awk -F'\t' '$2 == 0 {printf "| (nobody killed) | - | - | - | %.1f ms |\n", $5; next}
    {printf "| %d | %.1f ms | %.1f ms | %.1f ms | %.1f ms |\n", $1, $2 / 1000, $3 / 1000, $4 / 1000, $5}' "$work/adoptions.tsv"
echo
printf 'Mean: %s us a session, %s us of it CPU.' "$(mean_adoption 2)" "$(mean_adoption 3)"
if [ -s "$work/notes" ]; then
    echo " Something went wrong in this run, see the notes."
else
    echo " Afterwards every one of the $last connections had another exchange; none was lost."
fi
cat <<MARKDOWN

### CPU

| load | workers | idle sessions beside | CPU of Penstock per exchange | exchanges/s | p50 | p99 |
|---|---:|---:|---:|---:|---:|---:|
MARKDOWN
# The median of those that were measured more than once.
sort -s -t$'\t' -k1,1 -k2,2n -k3,3n -k4,4n "$work/exchanges.tsv" | awk -F'\t' '
    function flush(   m) {
        if (!n) return
        m = int((n + 1) / 2)
        split(row[m], f, "\t")
        printf "| %s | %d | %d | %.2f us | %d | %.0f us | %.0f us |\n", f[1] == "ten" ? "10 x 64 B, no pause" : "1,000 x 64 B, 100 ms of pause", f[2], \
            f[3], f[4], f[5], f[6], f[7]
    }
    {key = $1 "\t" $2 "\t" $3; if (key != last) {flush(); n = 0; last = key} row[++n] = $0 "\t"; row[n] = $1 "\t" $2 "\t" $3 "\t" $4 "\t" $5 "\t" $6 "\t" $7}
    END {flush()}'
# What the sessions add, not the workers.
idle_share=$(awk -F'\t' 'NR == 1 {none = $2} {share = $2 - none} END {print (share > 0 ? share : 0)}' "$work/idle_cpu.tsv")
cat <<MARKDOWN

- CPU of all of Penstock while every session is idle, of one CPU: $(awk -F'\t' '{printf "%s%.2f %% at %s", (NR > 1 ? ", " : ""), $2, $1}' "$work/idle_cpu.tsv").
- Opening: $(cat "$work"/idle-*.json | awk '{sub(/.*"opening_s":[ ]*/, ""); sum += $1 + 0} END {printf "%.1f", sum}') s for all $last, one load after the other, an exchange on each included.
- \`penstock status\` reads all of them: $((status_us / 1000)) ms.
- Connects that found no source port in the worker's part of the range: $(value port_fallbacks "$work/status.end.json"); failed:
  $(value connect_failures "$work/status.end.json"); connections without a flow entry: $(value flow_failures "$work/status.end.json").
- 128 workers with room for $((128 * per_worker)) sessions and not one of them: ready after $(ratio "$most_ms" 1000 1) s, $((most_kib / 1024)) MiB of user memory,
  $((most_space_kib / 1048576)) GiB of address space.

### What looking costs

Ping-pong beside $last idle sessions, in turn alone, with ten requests a second that the exporter answers without a look, and
with ten scrapes of all metrics a second. Medians of three rounds of 2 s, with their extremes.

$(scrapes_table)

### What ten million would take

**Derived** from the above, for 10,000,000 idle sessions:

| | each | in all |
|---|---:|---:|
| user memory: $user_slope B measured, and 217 B for flow entries and tags at 60 % load | $((user_slope + 217)) B | $(gib $((user_slope + 217))) GiB |
| kernel memory: objects, and the rest | $((kernel_bytes + other_bytes)) B | $(gib $((kernel_bytes + other_bytes))) GiB |
| together | $((user_slope + 217 + kernel_bytes + other_bytes)) B | $(gib $((user_slope + 217 + kernel_bytes + other_bytes))) GiB |
| the kernel's floor | $floor_bytes B | $(gib "$floor_bytes") GiB |
| adoption of a worker with 14,336 sessions | $(mean_adoption 2) us | $(awk -v us="$(mean_adoption 2)" 'BEGIN {printf "%.0f", us * 14.336}') ms ($(awk -v us="$(mean_adoption 3)" 'BEGIN {printf "%.0f", us * 14.336}') ms CPU) |
| CPU while all are idle, without what each worker takes anyway | | $(awk -v share="$idle_share" -v n="$last" 'BEGIN {printf "%.1f", share * 1e7 / n / 100}') CPUs |
MARKDOWN
if [ -s "$work/notes" ]; then
    printf '\nNotes of this run:\n\n'
    sed 's/^note: /- /' "$work/notes"
fi
echo
