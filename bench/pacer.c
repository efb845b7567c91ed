/*
 * Deliberate slowness: mostly short pauses after small reads, now and then a long stall that fills every
 * buffer on the way.
 */
#include "bench/pacer.h"

void pacer_init(struct pacer *pacer, uint64_t seed)
{
    rng_init(&pacer->rng, seed);
    pacer->budget_ms = PACER_BUDGET_MS;
}

size_t pacer_read_bytes(struct pacer *pacer, size_t max)
{
    if (pacer->budget_ms == 0)
        return max;
    size_t bytes = 1 + (size_t)rng_log_uniform(&pacer->rng, 32768);
    return bytes < max ? bytes : max;
}

uint32_t pacer_pause_ms(struct pacer *pacer)
{
    uint32_t pause_ms;
    uint64_t dice = rng_below(&pacer->rng, 100);

    if (dice < 25)
        return 0;
    if (dice < 98)
        pause_ms = 1 + (uint32_t)rng_below(&pacer->rng, 40);
    else
        pause_ms = 300 + (uint32_t)rng_below(&pacer->rng, 1200);
    if (pause_ms > pacer->budget_ms)
        pause_ms = pacer->budget_ms;
    pacer->budget_ms -= pause_ms;
    return pause_ms;
}
