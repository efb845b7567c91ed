#include "cmd/time_wait_view.h"

#include <stdio.h>
#include <string.h>

#include "cmd/text.h"

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static uint32_t load32(const uint32_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

void time_wait_view_read(struct time_wait_view *view, const struct region *region)
{
    const struct region_time_wait *state = &region->header->time_wait;
    const struct flow_sweep *sweep = region_row(region, TABLE_FLOW_SWEEP, 0);
    uint32_t two_msl_ms = load32(&state->two_msl_ms);

    *view = (struct time_wait_view){
        .owned = load32(&state->owned) != 0,
        .two_msl_ms = two_msl_ms != 0 ? two_msl_ms : IMAGE_TWO_MSL_MS, /* 0: before it was decided */
        .interfaces = load32(&state->interfaces),
        .kernel_destroyed = load(&state->destroyed),
        .sweep_rounds = load(&sweep->rounds),
        .sweep_freed = load(&sweep->freed),
        .sweep_round_ms = load32(&sweep->round_ms),
    };
#define TIME_WAIT_COUNTER(name, what) view->counters.name = load(&state->counters.name);
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
    if (!view->owned) {
        memcpy(view->why, state->why, sizeof(view->why) - 1);
    }
}

const char *time_wait_mode_text(const struct time_wait_view *view)
{
    return view->owned ? "owned" : "kernel";
}

const char *time_wait_describe(char text[TIME_WAIT_TEXT_MAX], const struct time_wait_view *view)
{
    char two_msl[TEXT_NUMBER_MAX];

    if (view->owned) {
        snprintf(text, TIME_WAIT_TEXT_MAX, "owned, 2MSL %s, %u interface%s",
                 text_duration(two_msl, view->two_msl_ms), view->interfaces,
                 view->interfaces == 1 ? "" : "s");
    } else {
        snprintf(text, TIME_WAIT_TEXT_MAX, "the kernel keeps it%s%s", view->why[0] != '\0' ? ": " : "",
                 view->why);
    }
    return text;
}
