#!/usr/bin/awk -f
# Tables in Markdown from the raw lines of bench/run.sh:
#   workload unit proxy cpu machine_cpu rate p50 p99 p99.9, separated by tabs; one line a round. All figures: medians.
# table=workloads: CPU per operation side by side with the ratio, then everything. table=plain: one proxy, everything.
# table=medians: for the chart, workload unit proxy cpu, with tabs.

BEGIN {
    FS = "\t"
    proxies = split("penstock haproxy-splice haproxy nginx direct penstock-spin", proxy, " ")
    title["penstock"] = "Penstock"
    title["penstock-spin"] = "Penstock, spin"
    title["haproxy-splice"] = "HAProxy, splice"
    title["haproxy"] = "HAProxy"
    title["nginx"] = "nginx"
    title["direct"] = "no proxy"
}

{
    if (!($1 in unit)) {
        unit[$1] = $2
        workload[++workloads] = $1
        if (length($1) > widest)
            widest = length($1)
    }
    key = $1 SUBSEP $3
    count[key]++
    for (i = 4; i <= 9; i++)
        raw[key, i, count[key]] = $i
}

# Sorts the rounds' values of a column; returns their median and sets low and high. "-" if there is none.
function median(key, column,    n, i, j, v, sorted) {
    n = count[key]
    if (n == 0 || raw[key, column, 1] == "-")
        return "-"
    for (i = 1; i <= n; i++) {
        v = raw[key, column, i] + 0
        for (j = i - 1; j > 0 && sorted[j] > v; j--)
            sorted[j + 1] = sorted[j]
        sorted[j + 1] = v
    }
    low = sorted[1]
    high = sorted[n]
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function decimals(value, digits) {
    return value == "-" ? "-" : sprintf("%." digits "f", value)
}

function cpu_digits(what) {
    return unit[what] == "us" ? 2 : 3
}

# The lesser of HAProxy (both ways) and nginx.
function best_other(what,    i, cpu, best) {
    for (i = 2; i <= 4; i++) {
        cpu = median(what SUBSEP proxy[i], 4)
        if (cpu != "-" && (best == "" || cpu < best))
            best = cpu
    }
    return best
}

function print_comparison(    w, i, what, other) {
    printf "| %-*s | unit | %8s | %15s | %8s | %8s | %-18s |\n", widest, "CPU per operation", title["penstock"],
        title["haproxy-splice"], title["haproxy"], title["nginx"], "to the best other"
    print "|---|---|---:|---:|---:|---:|---:|"
    for (w = 1; w <= workloads; w++) {
        what = workload[w]
        printf "| %-*s | %4s", widest, what, unit[what]
        for (i = 1; i <= 4; i++)
            printf " | %*s", i == 2 ? 15 : 8, decimals(median(what SUBSEP proxy[i], 4), cpu_digits(what))
        other = best_other(what)
        printf " | %18s |\n", (other > 0) ? sprintf("%.2f", median(what SUBSEP "penstock", 4) / other) : "-"
    }
    print ""
}

function print_all(    w, i, what, key, cpu, span) {
    printf "| %-*s | %-15s | %7s | %15s | %8s | %9s | %7s | %7s | %8s |\n", widest, "workload", "", "CPU/op", "lowest, highest",
        "machine", "rate", "p50 us", "p99 us", "p99.9 us"
    print "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for (w = 1; w <= workloads; w++) {
        what = workload[w]
        for (i = 1; i <= proxies; i++) {
            key = what SUBSEP proxy[i]
            if (!(key in count))
                continue
            cpu = decimals(median(key, 4), cpu_digits(what))
            span = decimals(low, cpu_digits(what)) ", " decimals(high, cpu_digits(what))
            if (proxy[i] == "direct")
                cpu = span = "-"
            printf "| %-*s | %-15s | %7s | %15s | %8s | %9s | %7s | %7s | %8s |\n", widest, what, title[proxy[i]], cpu, span,
                decimals(median(key, 5), cpu_digits(what)),
                unit[what] == "us" ? decimals(median(key, 6), 0) "/s" : decimals(median(key, 6), 2) " GB/s",
                decimals(median(key, 7), 0), decimals(median(key, 8), 0), decimals(median(key, 9), 0)
        }
    }
}

function print_medians(    w, i, key) {
    for (w = 1; w <= workloads; w++)
        for (i = 1; i <= 4; i++) {
            key = workload[w] SUBSEP proxy[i]
            printf "%s\t%s\t%s\t%s\t%.4f\n", workload[w], unit[workload[w]], proxy[i], title[proxy[i]], median(key, 4)
        }
}

END {
    if (table == "medians") {
        print_medians()
    } else {
        if (table == "workloads")
            print_comparison()
        print_all()
    }
}
