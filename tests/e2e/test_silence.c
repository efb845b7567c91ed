/* What TCP alone tells of a peer: one that takes its time over what it was sent is not silent. */
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_product.h"

TestSuite(silence, .init = product_begin, .fini = product_fini, .timeout = 90);

enum { BYTES = 10000, STEP = 500, IDLE_MS = 3000, PAUSE_MS = 250 };

/* No byte more can be sent meanwhile, since there is none: the acknowledgements are all there is. */
Test(silence, is_not_that_of_a_peer_which_acknowledges)
{
    struct penstock_config config = {
        .before_exec = product_enter_cgroup,
        .timeouts = bed_format("idle: %dms", IDLE_MS),
    };

    product_configure(&config, "mode: kernel");
    penstock_start(&config);
    struct conversation conversation = conversation_through(bed.port, product_listener(), false, true);
    net_write_pattern(conversation.server, 1, BYTES);
    for (uint32_t taken = STEP; taken < BYTES; taken += STEP) {
        struct lab_segment ack = lab_segment(&conversation.peer, LAB_ACK, 0);
        ack.ack += taken;
        lab_send(&conversation.peer, &ack);
        bed_pause_ms(PAUSE_MS);
    }
    cr_expect_eq(penstock_number("sessions"), 1, "%s", penstock_access_log());
    penstock_expect_end("idle_timeout");
}
