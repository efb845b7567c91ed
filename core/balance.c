#include "core/balance.h"

int balance_pick(enum balance_kind kind, const struct balance_candidate *candidates, uint32_t count)
{
    switch (kind) {
    case BALANCE_LEAST_SESSIONS:
        return balance_least_sessions(candidates, count);
    case BALANCE_ROUND_ROBIN:
        break;
    }
    return balance_round_robin(candidates, count);
}
