// region_pool.c - processes share a pool, at different addresses, and are killed in the middle.
#include "../support/check.h"

#include <allot.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

enum { REGION_BYTES = 4 << 20, STEP_REGION_BYTES = 512 << 10, SLOTS = 200 };

// What a process holds, in memory of its own that others may read when it is dead.
struct ledger {
    struct {
        uint64_t offset;  // 0: nothing
        bool is_going;    // it is being freed, or was
    } slots[SLOTS];
    uint64_t operations;
};

static struct {
    int file;
    allot_region_pool *pool;
    size_t region_bytes;
    struct ledger *survivor, *victim;
} world;

// ---- Working -------------------------------------------------------------------

static void *map_shared(size_t size_bytes, int file) {
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void begin(size_t region_bytes) {
    world.region_bytes = region_bytes;
    world.file = memfd_create("region", MFD_CLOEXEC);
    CHECK_INT(ftruncate(world.file, region_bytes), ==, 0);
    void *region = map_shared(region_bytes, world.file);
    world.pool = allot_region_pool_create(region, region_bytes);
    CHECK(world.pool != NULL);
    world.survivor = map_shared(sizeof(struct ledger), -1);
    world.victim = map_shared(sizeof(struct ledger), -1);
}

static struct allot_region_pool_stats stats_of(void) {
    struct allot_region_pool_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_region_pool_stats(world.pool, &stats));
    return stats;
}

// The first and the last words of a block say where it is.
static void check_block(uint64_t offset) {
    uint64_t *block = allot_region_pool_at(world.pool, offset);
    size_t words = allot_region_pool_usable_size(world.pool, block) / sizeof(*block);
    CHECK_UINT(words, >, 0);
    CHECK_UINT(block[0], ==, offset);
    CHECK_UINT(block[words - 1], ==, offset);
}

static void take(struct ledger *ledger, size_t at, size_t size_bytes) {
    uint64_t *block = allot_region_pool_malloc(world.pool, size_bytes);
    if (block != NULL) {
        uint64_t offset = allot_region_pool_offset(world.pool, block);
        size_t words = allot_region_pool_usable_size(world.pool, block) / sizeof(*block);
        block[0] = block[words - 1] = offset;
        __atomic_store_n(&ledger->slots[at].is_going, false, __ATOMIC_RELEASE);
        __atomic_store_n(&ledger->slots[at].offset, offset, __ATOMIC_RELEASE);
    }
}

static void give(struct ledger *ledger, size_t at) {
    uint64_t offset = ledger->slots[at].offset;
    check_block(offset);
    __atomic_store_n(&ledger->slots[at].is_going, true, __ATOMIC_RELEASE);
    CHECK_INT(allot_region_pool_free(world.pool, allot_region_pool_at(world.pool, offset)), ==, 0);
    __atomic_store_n(&ledger->slots[at].offset, 0, __ATOMIC_RELEASE);
}

static void work(struct ledger *ledger, struct check_random *random) {
    size_t at = check_random_below(random, SLOTS), kind = check_random_below(random, 16);
    ledger->operations++;
    if (ledger->slots[at].offset != 0) {
        give(ledger, at);
    } else {
        take(ledger, at, check_random_below(random, kind == 0 ? 50000 : kind < 4 ? 3000 : 200));
    }
}

static void give_all(struct ledger *ledger) {
    for (size_t at = 0; at < SLOTS; at++) {
        if (ledger->slots[at].offset != 0) {
            give(ledger, at);
        }
    }
}

// In another process, at another address.
static void enter_elsewhere(void) {
    void *region = map_shared(world.region_bytes, world.file);
    CHECK_PTR(region, !=, world.pool);
    CHECK_INT(munmap(world.pool, world.region_bytes), ==, 0);
    world.pool = allot_region_pool_open(region, world.region_bytes);
    CHECK(world.pool != NULL);
}

static void expect_end(pid_t child) {
    int status = -1;
    CHECK_INT(waitpid(child, &status, 0), ==, child);
    CHECK_INT(status, ==, 0);
}

static void two_processes_share_a_pool_at_different_addresses(void) {
    begin(REGION_BYTES);
    struct check_random random = {check_seed()};
    pid_t child = fork();
    CHECK_INT(child, >=, 0);
    if (child == 0) {
        enter_elsewhere();
        random.state++;
    }
    struct ledger *ledger = child == 0 ? world.victim : world.survivor;
    for (size_t i = 0; i < 500000; i++) {
        work(ledger, &random);
    }
    give_all(ledger);
    if (child == 0) {
        _exit(0);
    }
    expect_end(child);
    CHECK(allot_region_pool_validate(world.pool));
    CHECK_UINT(stats_of().live_blocks, ==, 0);
    CHECK_UINT(stats_of().largest_bytes, ==, stats_of().free_bytes);
}

// ---- Killing -------------------------------------------------------------------

static bool holds(const struct ledger *ledger, uint64_t offset) {
    bool is_held = false;
    for (size_t at = 0; at < SLOTS; at++) {
        is_held |= ledger->slots[at].offset == offset;
    }
    return is_held;
}

static size_t unknown_count;

// Blocks of nobody: what a process was about to get or to note when it was killed.
static bool free_unknown(void *context, void *ptr, size_t usable_bytes) {
    uint64_t offset = allot_region_pool_offset(world.pool, ptr);
    (void)context;
    (void)usable_bytes;
    if (!holds(world.survivor, offset)) {
        CHECK_INT(allot_region_pool_free(world.pool, ptr), ==, 0);
        unknown_count++;
    }
    return true;
}

// What the ledger of a dead process says is true, and it held one block more at most.
static void bury(void) {
    for (size_t at = 0; at < SLOTS; at++) {
        uint64_t offset = world.victim->slots[at].offset;
        if (offset != 0 && !world.victim->slots[at].is_going) {
            give(world.victim, at);
        }
    }
    unknown_count = 0;
    CHECK(allot_region_pool_walk(world.pool, free_unknown, NULL));
    CHECK_UINT(unknown_count, <=, 1);
    memset(world.victim, 0, sizeof(*world.victim));
    uint64_t held = 0;
    for (size_t at = 0; at < SLOTS; at++) {
        held += world.survivor->slots[at].offset != 0;
    }
    CHECK(allot_region_pool_validate(world.pool));
    CHECK_UINT(stats_of().live_blocks, ==, held);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void a_process_may_be_killed_at_any_moment_under_load(void) {
    begin(REGION_BYTES);
    size_t kills = check_is_long() ? 5000 : 400;
    struct check_random random = {check_seed()};
    for (size_t i = 0; i < kills; i++) {
        pid_t child = fork();
        CHECK_INT(child, >=, 0);
        if (child == 0) {
            enter_elsewhere();
            struct check_random own = {check_random_next(&random)};
            for (;;) {
                work(world.victim, &own);
            }
        }
        uint64_t least = check_random_below(&random, 300);
        uint64_t end_ns = now_ns() + check_random_below(&random, 1000000);
        while (__atomic_load_n(&world.victim->operations, __ATOMIC_RELAXED) < least ||
               now_ns() < end_ns) {
            work(world.survivor, &random);
        }
        CHECK_INT(kill(child, SIGKILL), ==, 0);
        int status = 0;
        do {  // it may die while this process waits for the lock, or later
            work(world.survivor, &random);
        } while (waitpid(child, &status, WNOHANG) == 0);
        CHECK(WIFSIGNALED(status));
        bury();
    }
    give_all(world.survivor);
    printf("%zu killed, %" PRIu64 " of them in the middle of a call\n", kills,
           stats_of().repair_count);
    CHECK_UINT(stats_of().repair_count, >, 0);
    CHECK_UINT(stats_of().live_blocks, ==, 0);
    CHECK_UINT(stats_of().largest_bytes, ==, stats_of().free_bytes);
}

// ---- Killing after each instruction ------------------------------------------------

enum { STEP_BLOCKS = 40, STEP_POINTS = 100, STEPS = 200000 };

static void *step_blocks[STEP_BLOCKS];

// The last of a class, so that a slab is made; pages; blocks of full slabs; the last in a slab.
static void step_small(void) {
    (void)!allot_region_pool_malloc(world.pool, 5000);
}
static void step_large(void) {
    (void)!allot_region_pool_malloc(world.pool, 30000);
}
static void step_give_small(void) {
    allot_region_pool_free(world.pool, step_blocks[0]);
}
static void step_give_large(void) {
    allot_region_pool_free(world.pool, step_blocks[1]);
}
static void step_give_last(void) {
    allot_region_pool_free(world.pool, step_blocks[2]);
}
static void step_drop(void) {
    stats_of();
}

static void step_begin(void) {
    begin(STEP_REGION_BYTES);
    for (size_t i = 0; i < STEP_BLOCKS; i++) {
        static const size_t sizes[] = {100, 20000, 2500, 8192};
        step_blocks[i] = allot_region_pool_malloc(world.pool, sizes[i % 4]);
        CHECK(step_blocks[i] != NULL);
    }
    for (size_t i = 6; i < STEP_BLOCKS; i++) {
        if (i % 4 >= 2) {
            CHECK_INT(allot_region_pool_free(world.pool, step_blocks[i]), ==, 0);
        }
    }
}

static pid_t step_child(void (*step)(void)) {
    pid_t child = fork();
    CHECK_INT(child, >=, 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(CHECK_SKIPPED);
        }
        raise(SIGSTOP);
        step();
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), ==, child);
    if (!WIFSTOPPED(status)) {
        CHECK_SKIP("this process may not trace another one");
    }
    return child;
}

// Lets the child go on by some instructions, or to its second stop; returns how many.
static size_t step_by(pid_t child, size_t most) {
    size_t count = 0;
    int status = 0;
    for (; count < most; count++) {
        CHECK_INT(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), ==, 0);
        CHECK_INT(waitpid(child, &status, 0), ==, child);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
            break;
        }
    }
    return count;
}

static void step_end(pid_t child) {
    int status = 0;
    kill(child, SIGKILL);
    do {
        CHECK_INT(waitpid(child, &status, 0), ==, child);
    } while (!WIFSIGNALED(status));
}

static void step_check(uint64_t before, uint64_t after) {
    CHECK(allot_region_pool_validate(world.pool));
    uint64_t live_blocks = stats_of().live_blocks;
    CHECK(live_blocks == before || live_blocks == after);
    for (size_t size_bytes = 50; size_bytes < 20000; size_bytes *= 3) {
        void *block = allot_region_pool_malloc(world.pool, size_bytes);
        CHECK(block != NULL);
        CHECK_INT(allot_region_pool_free(world.pool, block), ==, 0);
    }
    CHECK(allot_region_pool_validate(world.pool));
    CHECK_UINT(stats_of().live_blocks, ==, live_blocks);
}

static void step_through(void (*step)(void), int difference) {
    char *saved = map_shared(world.region_bytes, -1);
    memcpy(saved, world.pool, world.region_bytes);
    pid_t child = step_child(step);
    size_t total = step_by(child, SIZE_MAX);
    step_end(child);
    uint64_t repairs = 0;
    size_t points = STEPS / total < STEP_POINTS ? STEPS / total + 5 : STEP_POINTS;
    size_t stride = total / points + 1;
    struct check_random random = {check_seed()};
    for (size_t at = check_random_below(&random, stride); at < total; at += stride) {
        memcpy(world.pool, saved, world.region_bytes);
        uint64_t before = stats_of().live_blocks;
        memcpy(world.pool, saved, world.region_bytes);
        child = step_child(step);
        step_by(child, at);
        step_end(child);
        step_check(before, before + (uint64_t)(int64_t)difference);
        repairs += stats_of().repair_count;
    }
    memcpy(world.pool, saved, world.region_bytes);
    CHECK_INT(munmap(saved, world.region_bytes), ==, 0);
    printf("%zu instructions, %" PRIu64 " repairs\n", total, repairs);
    CHECK_UINT(repairs, >, 0);
}

static void a_process_may_be_killed_after_any_instruction(void) {
    step_begin();
    step_through(step_small, 1);
    step_through(step_large, 1);
    step_through(step_give_small, -1);
    step_through(step_give_large, -1);
    step_through(step_give_last, -1);
    step_through(step_drop, 0);
}

static const struct check_case cases[] = {
    CHECK_CASE(two_processes_share_a_pool_at_different_addresses),
    CHECK_CASE(a_process_may_be_killed_at_any_moment_under_load),
    CHECK_CASE(a_process_may_be_killed_after_any_instruction),
};
CHECK_MAIN(cases)
