/*
 * The server with the fewest sessions for its weight; among equals, round robin decides.
 */
#include "core/balance.h"

enum { CREDIT_MAX = 1 << 20 }; /* bounds the credit of a server that is never chosen */

/* Below 0 if a has fewer sessions for its weight than b. By cross multiplication: no division, no rounding. */
static int64_t compare(const struct balance_candidate *a, const struct balance_candidate *b)
{
    return (int64_t)a->sessions * b->weight - (int64_t)b->sessions * a->weight;
}

int balance_least_sessions(const struct balance_candidate *candidates, uint32_t count)
{
    int best = -1;

    for (uint32_t i = 0; i < count; i++) {
        if (candidates[i].weight == 0) {
            continue;
        }
        if (*candidates[i].credit < CREDIT_MAX) {
            *candidates[i].credit += (int32_t)candidates[i].weight;
        }
        int64_t order = best < 0 ? -1 : compare(&candidates[i], &candidates[best]);
        if (order < 0 || (order == 0 && *candidates[i].credit > *candidates[best].credit)) {
            best = (int)i;
        }
    }
    if (best >= 0) {
        *candidates[best].credit = 0;
    }
    return best;
}
