/*
 * Smooth weighted round robin: every candidate earns its weight, the richest is chosen and pays the sum. Over any
 * run of (sum of weights) choices each server is chosen exactly weight times, and never in a lump.
 */
#include "core/balance.h"

int balance_round_robin(const struct balance_candidate *candidates, uint32_t count)
{
    int best = -1;
    int32_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (candidates[i].weight == 0) {
            continue;
        }
        total += (int32_t)candidates[i].weight;
        *candidates[i].credit += (int32_t)candidates[i].weight;
        if (best < 0 || *candidates[i].credit > *candidates[best].credit) {
            best = (int)i;
        }
    }
    if (best >= 0) {
        *candidates[best].credit -= total;
    }
    return best;
}
