#include "shm/fault_point.h"

#ifdef PENSTOCK_FAULT_POINTS

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static struct fault_choice *obeyed; /* NULL: not a worker */

void fault_point_obey(struct fault_choice *choice)
{
    obeyed = choice;
}

void fault_point_pass(enum fault_point point)
{
    /* Pairs with the release of the test that writes the choice. */
    if (obeyed == NULL || __atomic_load_n(&obeyed->point, __ATOMIC_ACQUIRE) != point ||
        --obeyed->countdown > 0) {
        return;
    }
    uint32_t next = obeyed->next;
    obeyed->next = FAULT_NONE;
    obeyed->countdown = obeyed->next_countdown;
    obeyed->deaths++;
    __atomic_store_n(&obeyed->point, next, __ATOMIC_RELEASE); /* pairs with the test that waits for it */
    (void)tgkill(getpid(), gettid(), SIGKILL);                /* the worker's filter allows this one */
}

#endif
