/*
 * The report at the end of a run. Rates are over the running phase (its end to the last completion included
 * only where connections turn over), latencies over all of it. Nothing here can fail but the output.
 */
#include "bench/load_report.h"

#include "bench/load_mode.h"
#include "bench/report.h"

#include <stdio.h>
#include <sys/resource.h>

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)LOOP_NS_PER_S : 0;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void add_latency(struct report *report, const struct load *load)
{
    static const struct {
        const char *key;
        double fraction;
    } rows[] = {
        {"latency_p50_us", 0.5},    {"latency_p90_us", 0.9}, {"latency_p99_us", 0.99},
        {"latency_p999_us", 0.999}, {"latency_max_us", 1.0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t ns = histogram_quantile(&load->latency_ns, rows[i].fraction);
        report_add_real(report, rows[i].key, REPORT_US, (double)ns / 1000);
        if (load->latency_ns.count == 0)
            report_hide_last(report);
    }
}

static void add_bad(struct report *report, const struct load_counters *counters)
{
    report_add_count(report, "connect_failures", REPORT_COUNT, counters->connect_failures);
    report_add_count(report, "mismatches", REPORT_COUNT, counters->mismatches);
    report_add_count(report, "resets", REPORT_COUNT, counters->resets);
    report_add_count(report, "short", REPORT_COUNT, counters->short_ends);
    report_add_count(report, "closed_early", REPORT_COUNT, counters->closed_early);
    report_add_count(report, "unfinished", REPORT_COUNT, counters->unfinished);
}

static void add_work(struct report *report, const struct load *load, double seconds)
{
    const struct load_counters *counters = &load->counters;
    double per_second = seconds > 0 ? 1 / seconds : 0;

    report_add_count(report, "opened", REPORT_COUNT, counters->opened);
    report_add_count(report, "completed", REPORT_COUNT, counters->completed);
    report_add_real(report, "completed_per_s", REPORT_PER_S, (double)counters->completed * per_second);
    report_add_count(report, "bytes_up", REPORT_BYTES, counters->bytes_up);
    report_add_count(report, "bytes_down", REPORT_BYTES, counters->bytes_down);
    report_add_real(report, "bytes_up_per_s", REPORT_BYTES_PER_S, (double)counters->bytes_up * per_second);
    report_add_real(report, "bytes_down_per_s", REPORT_BYTES_PER_S,
                    (double)counters->bytes_down * per_second);
}

void load_report_print(const struct load *load)
{
    struct report report;
    /* Units still completed while finishing belong to the rate of the modes that turn over. */
    uint64_t end_ns = load->over_ns;
    if (load->mode->fixed_set && load->finishing_ns > 0)
        end_ns = load->finishing_ns;
    double seconds = seconds_between(load->running_ns, end_ns);

    report_init(&report);
    report_add_text(&report, "mode", load->mode->name);
    report_add_text(&report, "unit", load->mode->unit);
    report_add_bool(&report, "ok", load_is_well(load));
    report_add_bool(&report, "interrupted", load->interrupted);
    report_add_count(&report, "seed", REPORT_COUNT, load->options.seed);
    report_add_count(&report, "connections", REPORT_COUNT, load->options.connections);
    report_add_real(&report, "opening_s", REPORT_S,
                    load->mode->fixed_set ? seconds_between(load->opening_ns, load->running_ns) : 0);
    report_add_real(&report, "seconds", REPORT_S, seconds);
    add_work(&report, load, seconds);
    add_latency(&report, load);
    report_add_real(&report, "longest_gap_ms", REPORT_MS, (double)load->longest_gap_ns / 1e6);
    report_add_count(&report, "connect_retries", REPORT_COUNT, load->counters.connect_retries);
    add_bad(&report, &load->counters);
    report_add_real(&report, "cpu_s", REPORT_S, cpu_seconds());
    if (load->options.json)
        report_print_json(&report, stdout);
    else
        report_print_text(&report, stdout);
}
