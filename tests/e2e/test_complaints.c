/* What commands say where they cannot do what they are told, and what would be right. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(complaints, 60);

enum { NOBODY = 65534 };

static int run(const char *const *words, const char **said)
{
    const char *argv[12] = {bed_penstock_path()};
    struct bed_process process;

    for (int i = 0; words[i] != NULL; i++) {
        argv[i + 1] = words[i];
    }
    int result = bed_run(argv, &process);
    *said = bed_format("%s%s", bed_read_file(process.out), bed_read_file(process.err));
    return result;
}

#define RUN(said, ...) run((const char *const[]){__VA_ARGS__, NULL}, said)

Test(complaints, of_words_that_are_not_understood)
{
    const char *said;

    cr_expect_eq(RUN(&said, "status"), 2);
    cr_expect(strstr(said, "-c FILE or -n NAME") != NULL, "%s", said);
    cr_expect_eq(RUN(&said, "status", "-c", "x.yaml", "-n", "x"), 2);
    cr_expect(strstr(said, "one of them") != NULL, "%s", said);
    cr_expect_eq(RUN(&said, "stop", "--now", "-n", "../sshd"), 2);
    cr_expect(strstr(said, "'../sshd' is not a name") != NULL, "%s", said);
    cr_expect_eq(RUN(&said, "stop", "--json", "-n", "x"), 2);
    cr_expect(strstr(said, "cannot understand --json") != NULL, "%s", said);
    cr_expect_eq(RUN(&said, "status", "-n", bed.name), 1);
    cr_expect(strstr(said, "no instance") != NULL, "%s", said);
    bed_end();
}

static bool become_nobody(void)
{
    return setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}

Test(complaints, to_another_user)
{
    if (geteuid() != 0) {
        cr_skip("root only");
    }
    penstock_start_to(1);
    const char *argv[] = {bed_penstock_path(), "status", "-n", bed.name, NULL};
    struct bed_process process = bed_spawn(argv, become_nobody);
    cr_expect_neq(bed_wait(process.pid), 0);
    cr_expect(strstr(bed_read_file(process.err), "that takes root") != NULL, "%s",
              bed_read_file(process.err));
    bed_end();
}

/* What cannot follow a signal is not waited for. */
Test(complaints, that_the_supervisor_is_stopped)
{
    const char *said;

    penstock_start_to(1);
    cr_assert_eq(kill(bed.penstock, SIGSTOP), 0);
    WAIT_UNTIL(RUN(&said, "reload", "-c", bed_path("penstock.yaml")) == 1 &&
               strstr(said, bed_format("kill -CONT %d", bed.penstock)) != NULL);
    cr_assert_eq(kill(bed.penstock, SIGCONT), 0);
    WAIT_UNTIL(RUN(&said, "reload", "-c", bed_path("penstock.yaml")) == 0);
    bed_end();
}

Test(complaints, of_a_file_that_is_not_followed)
{
    const char *other = bed_path("other.yaml");
    const char *said;

    penstock_start_to(1);
    bed_write_file(other, bed_read_file(bed_path("penstock.yaml")));
    cr_expect_eq(RUN(&said, "reload", "-c", other), 1);
    cr_expect(strstr(said, bed_format("follows %s, not %s", bed_path("penstock.yaml"), other)) != NULL, "%s",
              said);
    cr_expect_eq(penstock_number("generation"), 1);
    cr_assert_eq(symlink("penstock.yaml", bed_path("link.yaml")), 0);
    cr_expect_eq(RUN(&said, "reload", "-c", bed_path("link.yaml")), 0, "%s", said);
    bed_end();
}

/* So that one can be started in its place. */
Test(complaints, none_when_started_after_a_stop)
{
    const char *said;

    penstock_start_to(1);
    cr_assert_eq(RUN(&said, "stop", "-n", bed.name), 0, "%s", said);
    cr_expect_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    penstock_start_again();
    bed_end();
}
