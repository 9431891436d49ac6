// pool_idle.c - a pool whose program is silent after a burst: the purge thread gives back what the
// burst left, and not before it was idle for so long.
#include "../support/check.h"
#include "../support/memory.h"

#include <allot.h>
#include <time.h>

enum { CLIENTS = 5000, BURST = CLIENTS * 3 / 2, VALUE_BYTES = 4096, IDLE_MS = 2000 };

const char *allot_defaults = "background=on,purge_delay=100ms";

static void *value[BURST];

static void sleep_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void touch_and_give_all(allot_pool *pool) {
    CHECK_UINT(allot_pool_take_many(pool, value, BURST), ==, BURST);
    for (size_t i = 0; i < BURST; i++) {
        *(char *)value[i] = 1;
    }
    allot_pool_give_many(pool, value, BURST);
}

// A busy machine may make it later; that it never comes is what fails.
static void what_a_burst_left_goes_back_after_the_idle_time(void) {
    if (CHECK_TSAN || CHECK_ASAN) {
        CHECK_SKIP("a sanitizer has memory of its own");
    }
    struct allot_pool_options options = {.size_bytes = sizeof options};
    options.object_bytes = VALUE_BYTES;
    options.count = CLIENTS;
    options.prefault = true;
    options.idle_ms = IDLE_MS;
    allot_pool *pool = allot_pool_create(&options);
    CHECK(pool != NULL);
    size_t bound = memory_resident_bytes();
    touch_and_give_all(pool);
    size_t most = memory_resident_bytes();
    CHECK_UINT(most, >=, bound + (size_t)CLIENTS / 2 * VALUE_BYTES * 9 / 10);
    size_t small = bound + (size_t)CLIENTS * VALUE_BYTES / 50;
    for (int i = 0; i < 200 && memory_resident_bytes() > small; i++) {
        sleep_ms(100);
    }
    CHECK_UINT(memory_resident_bytes(), <=, small);
    allot_pool_destroy(pool);
}

static const struct check_case cases[] = {
    CHECK_CASE(what_a_burst_left_goes_back_after_the_idle_time),
};

CHECK_MAIN(cases)
