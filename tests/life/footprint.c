// footprint.c - resident memory: at start, per block, after a change of sizes,
// and what has gone back to the system when nothing more is called.
#include "case.h"

// A block whose first byte of each page has been written.
static void *touch(void *block, size_t bytes) {
    CHECK(block != NULL, "malloc(%zu)", bytes);
    for (size_t at = 0; at < bytes; at += 4096) {
        ((volatile char *)block)[at] = 1;
    }
    return block;
}

static size_t resident_growth(size_t before) {
    size_t here = case_anonymous_bytes();

    return here > before ? here - before : 0;
}

// ---- At start ----------------------------------------------------------------------

// Run with and without the library.
PART(report_of_the_first_malloc) {
    volatile char *block = malloc(1);
    char text[32];

    CHECK(block != NULL, "malloc");
    block[0] = 1;
    int used = snprintf(text, sizeof text, "%zu\n", case_anonymous_bytes());
    CHECK(write(STDOUT_FILENO, text, (size_t)used) == used, "write");
}

static size_t start_bytes(const char *preload) {
    int ends[2];
    char text[32] = "";

    CHECK(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        unsetenv("ALLOT_TEST_EXPECT");
        if (preload == NULL) {
            unsetenv("LD_PRELOAD");
        } else {
            setenv("LD_PRELOAD", preload, 1);
        }
        execl("/proc/self/exe", case_self, "report_of_the_first_malloc", NULL);
        _exit(1);
    }
    case_wait(child);
    CHECK(read(ends[0], text, sizeof text - 1) > 0, "no report");
    return strtoull(text, NULL, 10);
}

CASE(the_first_malloc_leaves_at_most_256_kib_resident) {
    const char *library = getenv("LD_PRELOAD");

    if (library == NULL) {
        case_skip("nothing is preloaded");
    }
    size_t with = start_bytes(library);
    size_t without = start_bytes(NULL);
    printf("%zu KiB with the library, %zu KiB without\n", with / KIB, without / KIB);
    CHECK(with <= without + 256 * KIB, "%zu KiB with the library, %zu KiB without", with / KIB,
          without / KIB);
}

// ---- Per block ---------------------------------------------------------------------

CASE(ten_million_blocks_of_8_bytes_take_at_most_1_02_times_as_much) {
    size_t blocks_count = 10000000;
    size_t before = case_anonymous_bytes();

    for (size_t i = 0; i < blocks_count; i++) {
        volatile uint64_t *block = malloc(8);
        CHECK(block != NULL, "block %zu", i);
        *block = i;
    }
    size_t grown = resident_growth(before);
    printf("%.4f times 8 N\n", (double)grown / (double)(blocks_count * 8));
    CHECK(grown <= blocks_count * 8 / 100 * 102, "%zu KiB for %zu KiB", grown / KIB,
          blocks_count * 8 / KIB);
}

CASE(memory_freed_in_one_size_is_used_in_another) {
    size_t small_count = 128 * MIB / 100;
    size_t large_count = 125 * MIB / 1024;
    void **blocks = case_array(small_count * sizeof *blocks);
    size_t before = case_anonymous_bytes();

    for (size_t i = 0; i < small_count; i++) {
        blocks[i] = touch(malloc(100), 100);
    }
    size_t peak = resident_growth(before);
    for (size_t i = 0; i < small_count; i++) {
        free(blocks[i]);
    }
    for (size_t i = 0; i < large_count; i++) {
        blocks[i] = touch(malloc(1024), 1024);
    }
    size_t shifted = resident_growth(before);
    printf("%zu KiB as blocks of 100 bytes, then %zu KiB as blocks of 1 KiB\n", peak / KIB,
           shifted / KIB);
    CHECK(shifted <= peak + peak / 20, "%zu KiB, after the shift %zu KiB", peak / KIB,
          shifted / KIB);
}

static void *blow_up_thread(void *peak) {
    size_t blocks_count = 150 * MIB / 500;
    void **blocks = case_array(blocks_count * sizeof *blocks);

    for (size_t i = 0; i < blocks_count; i++) {
        blocks[i] = touch(malloc(500), 500);
    }
    *(size_t *)peak = case_anonymous_bytes();
    for (size_t i = 0; i < blocks_count; i++) {
        free(blocks[i]);
    }
    munmap(blocks, blocks_count * sizeof *blocks);
    return NULL;
}

CASE(what_one_thread_used_and_freed_another_uses_again) {
    size_t first = 0;
    size_t peak = 0;

    case_join(case_thread(blow_up_thread, &first));
    for (int i = 0; i < 2; i++) {
        size_t here = 0;
        case_join(case_thread(blow_up_thread, &here));
        peak = here > peak ? here : peak;
    }
    CHECK(peak <= first + first / 20, "%zu KiB in the first thread, %zu KiB in later ones",
          first / KIB, peak / KIB);
}

// ---- Back to the system --------------------------------------------------------------

enum order { IN_ORDER, IN_REVERSE, IN_DISORDER };

// `bytes` in blocks of `least`..`most` bytes, freed in some order, then nothing
// but waiting: after a second at most `left_most` are resident.
static void demand_return(size_t bytes, size_t least, size_t most, enum order order,
                          size_t left_most) {
    case_need_memory(3 * bytes);
    size_t blocks_limit = bytes / ((least + most) / 2) * 5 / 4 + 16;
    void **blocks = case_array(blocks_limit * sizeof *blocks);
    uint64_t state = case_seed();
    size_t blocks_count = 0;
    size_t before = case_anonymous_bytes();

    for (size_t total = 0; total < bytes && blocks_count < blocks_limit; blocks_count++) {
        size_t block_bytes = least + case_random(&state) % (most - least + 1);
        blocks[blocks_count] = touch(malloc(block_bytes), block_bytes);
        total += block_bytes;
    }
    size_t peak = resident_growth(before);
    for (size_t i = 0; i < blocks_count; i++) {
        size_t other = order == IN_DISORDER ? case_random(&state) % blocks_count : i;
        void *swapped = blocks[i];
        blocks[i] = blocks[other];
        blocks[other] = swapped;
    }
    for (size_t i = 0; i < blocks_count; i++) {
        free(blocks[order == IN_REVERSE ? blocks_count - 1 - i : i]);
    }
    case_sleep_ms(1000);
    size_t idle = resident_growth(before);
    malloc_trim(0);
    size_t trimmed = resident_growth(before);
    printf("%zu KiB at the peak, %zu KiB after 1 s of idling, %zu KiB after a trim\n", peak / KIB,
           idle / KIB, trimmed / KIB);
    CHECK(peak >= bytes, "only %zu KiB at the peak", peak / KIB);
    CHECK(idle <= left_most, "%zu KiB at the peak, %zu KiB after 1 s of idling", peak / KIB,
          idle / KIB);
    CHECK(trimmed <= peak / 100 + MIB, "%zu KiB at the peak, %zu KiB after a trim", peak / KIB,
          trimmed / KIB);
}

CASE(an_idle_process_has_given_back_98_percent_of_its_small_blocks) {
    demand_return(GIB, 16, 1000, IN_ORDER, GIB / 50);
}

CASE(an_idle_process_has_given_back_small_blocks_freed_in_reverse) {
    demand_return(256 * MIB, 64, 512, IN_REVERSE, 24 * MIB);
}

CASE(an_idle_process_has_given_back_small_blocks_freed_in_disorder) {
    demand_return(256 * MIB, 100, 2000, IN_DISORDER, 24 * MIB);
}

CASE(an_idle_process_has_given_back_90_percent_of_its_medium_blocks) {
    demand_return(256 * MIB, 10 * KIB, 300 * KIB, IN_DISORDER, 256 * MIB / 10);
}

CASE(an_idle_process_has_given_back_90_percent_of_its_large_blocks) {
    demand_return(GIB, MIB, 30 * MIB, IN_ORDER, GIB / 10);
}

// Blocks of which one in ten stays: most pages have none.
static size_t leave_holes(size_t *live) {
    enum { BLOCKS = 32768 };
    static void *blocks[BLOCKS];
    uint64_t state = case_seed();
    size_t before = case_anonymous_bytes();

    case_need_memory(512 * MIB);
    *live = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t bytes = 2000 + case_random(&state) % 6000;
        blocks[i] = touch(malloc(bytes), bytes);
        *live += i % 10 == 0 ? bytes : 0;
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 10 != 0) {
            free(blocks[i]);
        }
    }
    return before;
}

CASE(a_trim_gives_back_the_pages_between_blocks_in_use) {
    size_t live;
    size_t before = leave_holes(&live);

    malloc_trim(0);
    size_t left = resident_growth(before);
    CHECK(left <= 2 * live + 4 * MIB, "%zu KiB live, %zu KiB resident", live / KIB, left / KIB);
}

CASE(a_process_at_work_gives_back_the_pages_between_blocks_that_stay) {
    size_t live;
    size_t before = leave_holes(&live);

    for (int i = 0; i < 200; i++) {
        enum { MANY = 8000 };
        static void *many[MANY];
        for (int k = 0; k < MANY; k++) {
            many[k] = touch(malloc(64), 1);
        }
        for (int k = 0; k < MANY; k++) {
            free(many[k]);
        }
        case_sleep_ms(10);
    }
    size_t left = resident_growth(before);
    CHECK(left <= 3 * live + 8 * MIB, "%zu KiB live, %zu KiB resident", live / KIB, left / KIB);
}

CASE(a_zeroed_block_takes_memory_only_for_what_is_written) {
    size_t before = case_anonymous_bytes();

    for (int i = 0; i < 200; i++) {
        char *block = calloc(1, 4 * MIB);
        for (size_t at = 0; at < 4 * MIB; at += 256 * KIB) {
            CHECK(block[at] == 0, "byte %zu is %d", at, block[at]);
            block[at] = 1;
        }
        free(block);
    }
    size_t left = resident_growth(before);
    CHECK(left <= MIB, "%zu KiB left", left / KIB);
}

CASE(a_single_huge_block_goes_back_at_once) {
    size_t before = case_anonymous_bytes();

    case_need_memory(GIB);
    free(touch(malloc(300 * MIB), 300 * MIB));
    size_t left = resident_growth(before);
    CHECK(left <= 20 * MIB, "%zu KiB left", left / KIB);
}

struct sleeper {
    pthread_barrier_t filled;
    pthread_barrier_t leave;
};

static void *sleeping_thread(void *argument) {
    struct sleeper *sleeper = argument;
    enum { BLOCKS = 100000 };
    void **blocks = case_array(BLOCKS * sizeof *blocks);

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = touch(malloc(400), 400);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    munmap(blocks, BLOCKS * sizeof *blocks);
    pthread_barrier_wait(&sleeper->filled);
    pthread_barrier_wait(&sleeper->leave);
    return NULL;
}

CASE(sleeping_threads_keep_little_of_what_they_freed) {
    enum { THREADS = 16 };
    static struct sleeper sleeper;
    pthread_t threads[THREADS];
    size_t before = case_anonymous_bytes();

    pthread_barrier_init(&sleeper.filled, NULL, THREADS + 1);
    pthread_barrier_init(&sleeper.leave, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = case_thread(sleeping_thread, &sleeper);
    }
    pthread_barrier_wait(&sleeper.filled);
    case_sleep_ms(600);
    size_t left = resident_growth(before);
    // 16 threads, 40 MB each: 16 MiB may be dirty, each may cache at most 1 MiB.
    CHECK(left <= 40 * MIB, "%zu KiB left", left / KIB);
    pthread_barrier_wait(&sleeper.leave);
    for (int i = 0; i < THREADS; i++) {
        case_join(threads[i]);
    }
}

// ---- Statistics and the kernel -------------------------------------------------------

static uint64_t explained(const struct allot_stats *stats) {
    return stats->live_bytes + stats->cached_bytes + stats->partial_bytes + stats->dirty_bytes +
           stats->metadata_bytes;
}

CASE(statistics_sum_to_the_figure_of_the_kernel) {
    enum { BLOCKS = 400000 };
    void **blocks = case_array(BLOCKS * sizeof *blocks);
    uint64_t state = case_seed();
    size_t test_bytes = case_anonymous_bytes();

    if (allot_stats == NULL) {
        case_skip("not the library under test");
    }
    for (int phase = 0; phase < 4; phase++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            if (phase % 2 == 0) {
                size_t bytes = 1 + case_random(&state) % (i % 2000 == 0 ? 500000 : 600);
                blocks[i] = malloc(bytes);
                CHECK(blocks[i] != NULL, "malloc(%zu)", bytes);
                memset(blocks[i], 1, malloc_usable_size(blocks[i]));
            } else if (phase == 3 || case_random(&state) % 2 == 0) {
                free(blocks[i]);
                blocks[i] = NULL;
            }
        }
        for (size_t i = 0; phase == 1 && i < BLOCKS; i++) {
            free(blocks[i]);
        }
        struct allot_stats stats = {.size_bytes = sizeof stats};
        CHECK(allot_stats(&stats), "allot_stats: %s", strerror(errno));
        size_t kernel = case_anonymous_bytes() - test_bytes;
        size_t resident = case_resident_bytes();
        uint64_t sum = explained(&stats);
        printf("phase %d: %llu KiB explained, the kernel says %zu KiB\n", phase,
               (unsigned long long)sum / KIB, kernel / KIB);
        // Pages never touched may be counted; slabs hold at most a few of those.
        CHECK(kernel <= sum + sum / 50 + MIB, "phase %d: %llu KiB explained, kernel %zu KiB", phase,
              (unsigned long long)sum / KIB, kernel / KIB);
        CHECK(sum <= kernel + kernel / 20 + 2 * MIB, "phase %d: %llu KiB explained, kernel %zu KiB",
              phase, (unsigned long long)sum / KIB, kernel / KIB);
        CHECK(stats.resident_bytes <= resident + MIB && resident <= stats.resident_bytes + MIB,
              "resident %llu KiB, kernel %zu KiB", (unsigned long long)stats.resident_bytes / KIB,
              resident / KIB);
        CHECK(stats.committed_bytes <= stats.reserved_bytes, "%llu committed, %llu reserved",
              (unsigned long long)stats.committed_bytes, (unsigned long long)stats.reserved_bytes);
        CHECK(stats.metadata_bytes <= 2 * MIB + sum / 50, "metadata %llu KiB of %llu KiB",
              (unsigned long long)stats.metadata_bytes / KIB, (unsigned long long)sum / KIB);
    }
}

CASE(statistics_never_become_negative_nor_fall_when_they_are_totals) {
    struct allot_stats last = {.size_bytes = sizeof last};

    if (allot_stats == NULL) {
        case_skip("not the library under test");
    }
    allot_stats(&last);
    for (uint64_t i = 0; i < 200; i++) {
        struct allot_stats here = {.size_bytes = sizeof here};
        case_churn(i, 2000);
        free(touch(malloc(i * 100000 + 1), i * 100000 + 1));
        CHECK(allot_stats(&here), "allot_stats");
        const uint64_t *currents = &here.live_bytes;
        for (const uint64_t *at = currents; at <= &here.resident_bytes; at++) {
            CHECK(*at < (uint64_t)1 << 62, "field %td is %llu", at - currents,
                  (unsigned long long)*at);
        }
        CHECK(here.refill_calls >= last.refill_calls && here.flush_calls >= last.flush_calls &&
                  here.purge_calls >= last.purge_calls && here.purge_bytes >= last.purge_bytes &&
                  here.map_calls >= last.map_calls && here.large_calls >= last.large_calls,
              "round %llu: a total has fallen", (unsigned long long)i);
        last = here;
    }
}
