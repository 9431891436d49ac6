// test_alloc.c - the interface as a whole, while the system refuses.
//
// The library is made ready before main, so a failure has to be asked for in the environment: each
// run is this program, started again. See OS_FAKE_FAIL_AT and OS_FAKE_FAIL_FROM in os_fake.c.
#include "allot.h"
#include "heap/registry.h"
#include "page/pageheap.h"
#include "slab/slab.h"
#include "unit.h"

#include <errno.h>

enum { BLOCKS_MAX = 300, STEPS = 800 };

static struct {
    struct check_random random;
    unsigned char *block[BLOCKS_MAX];
    size_t size[BLOCKS_MAX];
} model;

static size_t draw_size(void) {
    uint64_t largest = check_random_below(&model.random, 24);
    return (size_t)check_random_below(&model.random, (uint64_t)1 << (largest < 22 ? largest : 14));
}

static unsigned char pattern(size_t at) {
    return (unsigned char)(at * 7 + 1);
}

static void fill(size_t at) {
    if (model.size[at] > 0) {
        model.block[at][0] = model.block[at][model.size[at] - 1] = pattern(at);
    }
}

static void check_block(size_t at, size_t size) {
    if (size > 0 && model.block[at][0] != pattern(at)) {
        fail_msg("the first byte of a block changed");
    }
    if (size > 0 && size == model.size[at] && model.block[at][size - 1] != pattern(at)) {
        fail_msg("the last byte of a block changed");
    }
}

static void step_take(size_t at) {
    size_t size = draw_size();
    unsigned how = (unsigned)check_random_below(&model.random, 4);
    errno = 0;
    unsigned char *block = how == 0   ? allot_calloc(1, size)
                           : how == 1 ? allot_aligned((size_t)16 << size % 12, size)
                                      : allot_malloc(size);
    UNIT_CHECK(errno, ==, block != NULL ? 0 : ENOMEM);
    for (size_t i = 0; how == 0 && block != NULL && i < size; i++) {
        UNIT_CHECK(block[i], ==, 0);
    }
    model.block[at] = block;
    model.size[at] = size;
    if (block != NULL) {
        fill(at);
    }
}

static void step_change(size_t at) {
    size_t old = model.size[at], size = draw_size() + 1;
    check_block(at, old);
    if (check_random_below(&model.random, 3) == 0) {
        errno = 0;
        unsigned char *block = allot_realloc(model.block[at], size);
        UNIT_CHECK(errno, ==, block != NULL ? 0 : ENOMEM);
        if (block == NULL) {
            check_block(at, old);  // a failure leaves the old block
            return;
        }
        model.block[at] = block;
        check_block(at, size < old ? size : old);
        model.size[at] = size;
        fill(at);
    } else {
        allot_free(model.block[at]);
        model.block[at] = NULL;
    }
}

static void steps(int count) {
    for (int i = 0; i < count; i++) {
        size_t at = (size_t)check_random_below(&model.random, BLOCKS_MAX);
        if (model.block[at] == NULL) {
            step_take(at);
        } else {
            step_change(at);
        }
        os_fake.now_ms += i % 100 == 0 ? 200 : 0;
        if (i % 500 == 0) {
            pageheap_validate();
            slab_validate();
        }
    }
}

// Everything was given back: nothing but caches' leases is left.
static void check_end(void) {
    for (size_t at = 0; at < BLOCKS_MAX; at++) {
        allot_free(model.block[at]);
    }
    registry_purge();
    struct slab_stats slabs;
    struct registry_stats threads;
    slab_read_stats(&slabs);
    registry_read_stats(&threads);
    UNIT_CHECK(slabs.taken_blocks, ==, 0);
    UNIT_CHECK(threads.cached.blocks, ==, 0);
    UNIT_CHECK(allot_malloc(1000) != NULL, ==, 1);
}

// In a process of its own.
static int run_scenario(void) {
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    model.random.state = 42;  // the same calls in each run
    steps(STEPS);
    bool was_reached = os_fake.failed_count > 0 || os_fake.fail_at == 0;
    os_fake_fail(0, false);
    steps(STEPS / 5);
    check_end();
    return was_reached ? 0 : UNIT_NOT_REACHED;
}

static int start_again(uint64_t k, bool from) {
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)k);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (k > 0) {
            setenv(from ? "OS_FAKE_FAIL_FROM" : "OS_FAKE_FAIL_AT", number, 1);
        }
        alarm(300);
        execl("/proc/self/exe", "test_alloc", "--scenario", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != UNIT_NOT_REACHED)) {
        fail_msg("status 0x%x; repeat with OS_FAKE_FAIL_%s=%s PROGRAM --scenario", (unsigned)status,
                 from ? "FROM" : "AT", number);
    }
    return WEXITSTATUS(status);
}

static void sweep(bool from) {
    uint64_t k = 1;
    while (start_again(k, from) != UNIT_NOT_REACHED) {
        k++;
    }
    printf("%llu calls failed\n", (unsigned long long)k - 1);
    UNIT_CHECK(k, >, 8);
}

static void random_use_of_the_interface_loses_nothing(void) {
    UNIT_CHECK(start_again(0, false), ==, 0);
}

static void one_failed_call_does_no_harm(void) {
    sweep(false);
}

static void the_system_may_refuse_everything_from_any_call_on(void) {
    sweep(true);
}

static const struct unit_case cases[] = {
    UNIT(random_use_of_the_interface_loses_nothing),
    UNIT(one_failed_call_does_no_harm),
    UNIT(the_system_may_refuse_everything_from_any_call_on),
};

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--scenario") == 0) {
        return run_scenario();
    }
    return unit_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
