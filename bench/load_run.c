/*
 * One run of load: phases, time and totals. All memory is taken by load_init; a lack of descriptors is found
 * there too, so that a run that began is not cut short by a limit.
 */
#include "bench/load_run.h"

#include "bench/report.h"
#include "bench/socket.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CONNECTING_MAX  256 /* below any usual accept backlog */
#define FILES_RESERVED  16
#define TIMERS_RESERVED 4
#define RAMP_NS         (10 * LOOP_NS_PER_MS)
#define COMPLAINTS_MAX  20

/* --- phases ------------------------------------------------------------------------------------------ */

static void for_each_open(struct load *load, void (*visit)(struct load_conn *conn))
{
    for (size_t i = 0; visit != NULL && i < load->options.connections; i++)
        if (load_conn_at(load, i)->state == LOAD_CONN_OPEN)
            visit(load_conn_at(load, i));
}

static void begin_over(struct load *load)
{
    load->phase = LOAD_OVER;
    load->over_ns = loop_clock_ns();
    load->counters.unfinished += load->live;
    for (size_t i = 0; i < load->options.connections; i++)
        load_conn_settle_gap(load_conn_at(load, i));
    loop_stop(load->loop);
}

/* For whoever measures the processes between the two ends without the opening and closing of the set. */
static void tell_phase(const struct load *load, const char *phase)
{
    const struct load_counters *counters = &load->counters;
    int fd = (int)load->options.phase_fd;

    if (fd > 0 && dprintf(fd, "%s %llu %llu\n", phase, (unsigned long long)counters->completed,
                          (unsigned long long)counters->bytes_down) < 0)
        fprintf(stderr, "load: --phase-fd %d: %s\n", fd, strerror(errno));
}

static void close_waiting(struct load *load)
{
    for (size_t i = 0; i < load->options.connections; i++)
        if (load_conn_at(load, i)->state == LOAD_CONN_WAITING)
            load_conn_close(load_conn_at(load, i));
}

static void begin_finishing(struct load *load)
{
    load->phase = LOAD_FINISHING;
    load->finishing_ns = loop_clock_ns();
    tell_phase(load, "finishing");
    loop_timer_cancel(load->loop, &load->ramp);
    loop_timer_arm(load->loop, &load->phase_end, load->options.finish_ms * LOOP_NS_PER_MS);
    close_waiting(load);
    for_each_open(load, load->mode->finish);
    load_advance(load);
}

static void begin_running(struct load *load)
{
    load->phase = LOAD_RUNNING;
    load->running_ns = loop_clock_ns();
    tell_phase(load, "running");
    loop_timer_arm(load->loop, &load->phase_end, load->options.run_ms * LOOP_NS_PER_MS);
    for_each_open(load, load->mode->begin);
}

/* How many connections may have been opened by now. */
static size_t open_allowance(const struct load *load)
{
    if (load->options.open_rate == 0)
        return load->options.connections;
    uint64_t elapsed_ms = (loop_clock_ns() - load->opening_ns) / LOOP_NS_PER_MS;
    uint64_t allowance = 1 + load->options.open_rate * elapsed_ms / 1000;
    return allowance < load->options.connections ? (size_t)allowance : (size_t)load->options.connections;
}

static void open_more(struct load *load)
{
    size_t allowance = open_allowance(load);

    while (load->next_conn < allowance && load->connecting < CONNECTING_MAX) {
        if (!load->mode->fixed_set && !load_claim(load)) {
            load->next_conn = load->options.connections;
            return;
        }
        /* Counted first: opening may call back into load_advance. */
        load_conn_open(load_conn_at(load, load->next_conn++));
    }
    if (load->next_conn < load->options.connections && load->next_conn >= allowance && load->ramp.slot == 0)
        loop_timer_arm(load->loop, &load->ramp, RAMP_NS);
}

void load_advance(struct load *load)
{
    static bool entered; /* a connection that opens or fails at once calls back: the outer call goes on */
    if (entered)
        return;
    entered = true;
    if (load->phase < LOAD_FINISHING)
        open_more(load);
    bool all_tried = load->next_conn == load->options.connections;
    if (load->phase == LOAD_OPENING && all_tried && load->connecting == 0)
        begin_running(load);
    if (load->phase == LOAD_RUNNING && all_tried && load->live == 0)
        begin_finishing(load);
    if (load->phase == LOAD_FINISHING && load->live == 0)
        begin_over(load);
    entered = false;
}

static void phase_end_due(struct loop_timer *timer)
{
    struct load *load = LOOP_OWNER(timer, struct load, phase_end);
    if (load->phase == LOAD_RUNNING)
        begin_finishing(load);
    else
        begin_over(load);
}

static void ramp_due(struct loop_timer *timer)
{
    load_advance(LOOP_OWNER(timer, struct load, ramp));
}

/* The first signal ends the run early, the second gives up what is open. Handled from a timer, since it may
 * close connections whose events lie in the same batch. */
static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct load *load = LOOP_OWNER(source, struct load, signals);
    (void)events;
    if (loop_signal_take(source) == 0)
        return;
    load->abandoned = load->interrupted;
    load->interrupted = true;
    if (load->phase < LOAD_FINISHING) {
        load->next_conn = load->options.connections;
        if (load->phase == LOAD_OPENING)
            load->running_ns = loop_clock_ns();
        load->phase = LOAD_RUNNING;
    }
    loop_timer_arm(load->loop, &load->phase_end,
                   load->phase == LOAD_RUNNING || load->abandoned ? 0 : LOOP_NS_PER_S);
}

/* --- progress ---------------------------------------------------------------------------------------- */

static void progress_due(struct loop_timer *timer)
{
    struct load *load = LOOP_OWNER(timer, struct load, progress);
    const struct load_counters *now = &load->counters;
    struct load_counters *last = &load->progress_last;
    double seconds = (double)load->options.report_ms / 1000;
    char up[32], down[32];

    report_format_bytes((double)(now->bytes_up - last->bytes_up) / seconds, up, sizeof(up));
    report_format_bytes((double)(now->bytes_down - last->bytes_down) / seconds, down, sizeof(down));
    uint64_t bad =
        now->connect_failures + now->mismatches + now->resets + now->short_ends + now->closed_early;
    fprintf(stderr, "%7.1f s  open %-7zu %s %-10llu %10.0f /s  up %12s/s  down %12s/s  bad %llu\n",
            (double)(loop_clock_ns() - load->opening_ns) / (double)LOOP_NS_PER_S,
            load->live - load->connecting, load->mode->unit, (unsigned long long)now->completed,
            (double)(now->completed - last->completed) / seconds, up, down, (unsigned long long)bad);
    *last = *now;
    loop_timer_arm(load->loop, timer, load->options.report_ms * LOOP_NS_PER_MS);
}

/* --- for the modes ----------------------------------------------------------------------------------- */

bool load_claim(struct load *load)
{
    if (load->phase >= LOAD_FINISHING)
        return false;
    if (load->options.count > 0 && load->started >= load->options.count)
        return false;
    load->started++;
    return true;
}

void load_count_error(struct load *load, int error)
{
    static unsigned complaints;
    const char *text;

    if (error == LOAD_ERROR_MISMATCH) {
        load->counters.mismatches++;
        text = "wrong bytes";
    } else if (error == LOAD_ERROR_SHORT) {
        load->counters.short_ends++;
        text = "ended early";
    } else {
        load->counters.resets++;
        text = strerror(-error);
    }
    if (complaints++ < COMPLAINTS_MAX)
        fprintf(stderr, "load: connection failed: %s\n", text);
}

bool load_is_well(const struct load *load)
{
    const struct load_counters *counters = &load->counters;
    return counters->connect_failures + counters->mismatches + counters->resets + counters->short_ends +
               counters->closed_early + counters->unfinished ==
           0;
}

/* --- life cycle -------------------------------------------------------------------------------------- */

static int check_files(const struct load *load)
{
    size_t files = socket_raise_limit();
    if (files >= load->options.connections + FILES_RESERVED)
        return 0;
    fprintf(stderr, "load: %llu connections need %llu open files, the hard limit allows %zu (ulimit -Hn)\n",
            (unsigned long long)load->options.connections,
            (unsigned long long)load->options.connections + FILES_RESERVED, files);
    return -EMFILE;
}

static void init_seed(struct load *load)
{
    uint64_t *seed = &load->options.seed;
    if (!load->options.seed_set && getrandom(seed, sizeof(*seed), 0) != sizeof(*seed))
        *seed = loop_clock_ns();
    rng_init(&load->rng, *seed);
}

int load_init(struct load *load, const struct load_options *options, const struct load_mode *mode)
{
    static const int signals[] = {SIGINT, SIGTERM};

    memset(load, 0, sizeof(*load));
    load->signals = (struct loop_source){.fd = -1, .ready = signal_ready};
    load->options = *options;
    load->mode = mode;
    load->ramp.fire = ramp_due;
    load->phase_end.fire = phase_end_due;
    load->progress.fire = progress_due;
    histogram_init(&load->latency_ns);
    init_seed(load);
    int error = check_files(load);
    if (error != 0)
        return error;
    load->loop = loop_create(options->connections + TIMERS_RESERVED);
    load->scratch = malloc(LOAD_SCRATCH_BYTES);
    load->conns = calloc(options->connections, mode->conn_size);
    if (load->loop == NULL || load->scratch == NULL || load->conns == NULL) {
        fprintf(stderr, "load: out of memory\n");
        return -ENOMEM;
    }
    for (size_t i = 0; i < options->connections; i++) {
        load_conn_at(load, i)->load = load;
        load_conn_at(load, i)->source.fd = -1;
    }
    error = loop_signal_open(load->loop, &load->signals, signals, 2);
    if (error != 0)
        fprintf(stderr, "load: signals: %s\n", strerror(-error));
    return error;
}

int load_run(struct load *load)
{
    load->opening_ns = loop_clock_ns();
    if (load->options.report_ms > 0)
        loop_timer_arm(load->loop, &load->progress, load->options.report_ms * LOOP_NS_PER_MS);
    if (!load->mode->fixed_set)
        begin_running(load);
    load_advance(load);
    return loop_run(load->loop);
}

void load_fini(struct load *load)
{
    for (size_t i = 0; load->conns != NULL && i < load->options.connections; i++)
        loop_source_close(load->loop, &load_conn_at(load, i)->source);
    if (load->loop != NULL)
        loop_source_close(load->loop, &load->signals);
    loop_destroy(load->loop);
    free(load->conns);
    free(load->scratch);
}
