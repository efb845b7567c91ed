#include "cmd/exporter/leaders.h"

#include "cmd/exporter/sessions.h"
#include "io/clock.h"

enum { READING_SHARE = 10 };

int leaders_read(struct leaders *leaders, const struct region *region)
{
    static const struct top_rows none;
    uint64_t begun_us = clock_now_us();

    if (leaders->rows.read_us != 0 && begun_us - leaders->rows.read_us < leaders->cost_us * READING_SHARE) {
        return 0;
    }
    int result = top_rows_read(&leaders->rows, &none, region);
    leaders->counts[0] = top_rows_first(&leaders->rows, TOP_BY_BYTES, leaders->first[0], LEADERS_MAX);
    leaders->counts[1] = top_rows_first(&leaders->rows, TOP_BY_AGE, leaders->first[1], LEADERS_MAX);
    leaders->counts[2] = top_rows_first(&leaders->rows, TOP_BY_QUEUED, leaders->first[2], LEADERS_MAX);
    while (leaders->counts[2] > 0 && leaders->first[2][leaders->counts[2] - 1].queued == 0) {
        leaders->counts[2]--;
    }
    leaders->cost_us = clock_now_us() - begun_us;
    return result;
}

static void print_first(FILE *out, const struct top_row *first, size_t count, const struct region *region)
{
    uint64_t now_us = clock_now_us();
    struct session session;
    const char *comma = "";

    fprintf(out, "[");
    for (size_t i = 0; i < count; i++) {
        struct session_walk at = {.region = region, .slot = first[i].slot, .index = first[i].index};
        if (session_slab_read(region, at.slot, at.index, &session) &&
            session.generation == first[i].generation) {
            fprintf(out, "%s", comma);
            session_print_json(out, &at, &session, now_us);
            comma = ",\n";
        }
    }
    fprintf(out, "]");
}

void leaders_print(FILE *out, const struct leaders *leaders, const struct region *region)
{
    fprintf(out, "{\"bytes\":");
    print_first(out, leaders->first[0], leaders->counts[0], region);
    fprintf(out, ",\"age\":");
    print_first(out, leaders->first[1], leaders->counts[1], region);
    fprintf(out, ",\"queued\":");
    print_first(out, leaders->first[2], leaders->counts[2], region);
    fprintf(out, "}\n");
}
