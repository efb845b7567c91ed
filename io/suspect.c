#include "io/suspect.h"

#include "io/relay.h"

void suspect_note(struct worker *worker)
{
    struct worker_slot *slot = worker->slot;
    uint32_t session = slot->handling;

    undo_begin(&slot->undo); /* or an adoption that dies here would count the same death twice */
    relay_save(worker, &slot->handling, sizeof(slot->handling));
    relay_save(worker, &slot->fault, sizeof(slot->fault));
    relay_save(worker, &slot->suspect, sizeof(slot->suspect));
    if (slot->fault != 0) {
        bool same = session == slot->suspect.session && session < worker->slab.capacity &&
                    worker->slab.sessions[session].generation == slot->suspect.generation;
        slot->suspect.faults = same ? slot->suspect.faults + 1 : 1;
        slot->suspect.session = session;
        slot->suspect.generation =
            session < worker->slab.capacity ? worker->slab.sessions[session].generation : 0;
    }
    slot->fault = 0;
    slot->handling = SESSION_NONE;
    undo_commit(&slot->undo);
}

bool suspect_is_poison(const struct worker *worker, uint32_t session)
{
    const struct slot_suspect *suspect = &worker->slot->suspect;

    return suspect->faults >= SUSPECT_FAULTS_MAX && suspect->session == session &&
           session < worker->slab.capacity &&
           worker->slab.sessions[session].generation == suspect->generation;
}

/* A signal sent by somebody else has a code of 0 or less (sigaction(2)); abort() sends one to itself. */
void suspect_fault(struct worker_slot *slot, int code, int sender, int self)
{
    if (code > 0 || sender == self) {
        slot->fault = 1;
    }
}
