// test_heap.c - first-class heaps: blocks, limits, trees, owners, and the end of them.
#include "heap/heap.h"

#include "allot.h"
#include "api/options.h"
#include "unit.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { BLOCKS_MAX = 4000 };

static struct allot_heap_options plain(void) {
    return (struct allot_heap_options){.size_bytes = sizeof(struct allot_heap_options)};
}

static allot_heap *create(const struct allot_heap_options *options) {
    allot_heap *heap = allot_heap_create(options);
    assert_non_null(heap);
    return heap;
}

static struct allot_heap_stats stats_of(const allot_heap *heap) {
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_heap_stats(heap, &stats));
    return stats;
}

static uint64_t live(const allot_heap *heap) {
    return stats_of(heap).live_bytes;
}

static uint64_t process_live(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_stats(&stats));
    return stats.live_bytes;
}

// ---- Blocks

static void every_size_is_aligned_usable_and_counted(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (size_t size = 0; size < 70000; size += size < 2100 ? 1 : 517) {
        uint64_t before = live(heap);
        char *block = allot_heap_malloc(heap, size);
        assert_non_null(block);
        UNIT_CHECK((uintptr_t)block % (size <= 8 ? 8 : 16), ==, 0);
        memset(block, 0x5a, size);
        UNIT_CHECK(allot_usable_size(block), >=, size);
        UNIT_CHECK(live(heap) - before, ==, allot_usable_size(block));
        assert_ptr_equal(allot_heap_of(block), heap);
        if (size % 3 != 0) {
            allot_heap_free_sized(heap, block, size);
            UNIT_CHECK(live(heap), ==, before);
        }
    }
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void every_alignment_is_kept(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (size_t align = 1; align <= 1 * MIB; align *= 2) {
        for (size_t size = 0; size < 3000; size += 97) {
            char *block = allot_heap_aligned(heap, align, size);
            assert_non_null(block);
            UNIT_CHECK((uintptr_t)block % align, ==, 0);
            memset(block, 1, size);
        }
    }
    errno = 0;
    assert_null(allot_heap_aligned(heap, 24, 8));
    UNIT_CHECK(errno, ==, EINVAL);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static struct {
    struct check_random random;
    unsigned char *block[BLOCKS_MAX];
    size_t size[BLOCKS_MAX];
} model;

static void model_check(size_t at) {
    for (size_t i = 0; model.block[at] != NULL && i < model.size[at]; i += 61) {
        UNIT_CHECK(model.block[at][i], ==, (unsigned char)at);
    }
}

static void model_step(allot_heap *heap, size_t at) {
    static const size_t most[] = {64, 400, 5000, 200000};
    size_t size =
        (size_t)check_random_below(&model.random, most[check_random_below(&model.random, 4)]);
    unsigned how = (unsigned)check_random_below(&model.random, 8);
    model_check(at);
    if (how < 3 && model.block[at] != NULL) {
        allot_heap_free(heap, model.block[at]);
        model.block[at] = NULL;
        return;
    }
    if (model.block[at] == NULL) {
        model.block[at] =
            how == 4 ? allot_heap_calloc(heap, 1, size) : allot_heap_malloc(heap, size);
        for (size_t i = 0; how == 4 && model.block[at] != NULL && i < size; i++) {
            UNIT_CHECK(model.block[at][i], ==, 0);
        }
    } else {
        unsigned char *moved = allot_heap_realloc(heap, model.block[at], size);
        if (moved == NULL && size > 0) {
            return;
        }
        model.block[at] = moved;
        for (size_t i = 0; moved != NULL && i < size && i < model.size[at]; i += 61) {
            UNIT_CHECK(moved[i], ==, (unsigned char)at);
        }
    }
    model.size[at] = model.block[at] != NULL ? size : 0;
    if (model.block[at] != NULL) {
        memset(model.block[at], (int)at, size);
    }
}

static void model_compare(const allot_heap *heap) {
    uint64_t bytes = 0;
    uint64_t blocks = 0;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        bytes += model.block[i] != NULL ? allot_usable_size(model.block[i]) : 0;
        blocks += model.block[i] != NULL;
    }
    UNIT_CHECK(live(heap), ==, bytes);
    UNIT_CHECK(stats_of(heap).live_blocks, ==, blocks);
    UNIT_CHECK(stats_of(heap).held_bytes, >=, bytes);
    UNIT_CHECK(stats_of(heap).peak_bytes, >=, bytes);
}

static void model_run(allot_heap *heap) {
    memset(&model, 0, sizeof model);
    model.random = (struct check_random){check_seed()};
    for (size_t step = 0; step < 60000; step++) {
        model_step(heap, (size_t)check_random_below(&model.random, BLOCKS_MAX));
        if (step % 5000 == 0) {
            model_compare(heap);
            heap_validate(heap);
        }
    }
    model_compare(heap);
    heap_validate(heap);
}

static void live_bytes_and_blocks_are_exact_at_every_moment(void) {
    uint64_t before = process_live();
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    model_run(heap);
    UNIT_CHECK(process_live() - before, ==, live(heap));
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    UNIT_CHECK(process_live(), ==, before);
}

static void a_shared_heap_and_one_with_few_classes_keep_the_same_promises(void) {
    static const size_t classes[] = {48, 112, 1504, 4096};
    struct allot_heap_options options = plain();
    options.shared = true;
    options.classes = classes;
    options.class_count = 4;
    allot_heap *heap = create(&options);
    model_run(heap);
    UNIT_CHECK(allot_usable_size(allot_heap_malloc(heap, 1500)), ==, 1504);
    UNIT_CHECK(allot_usable_size(allot_heap_malloc(heap, 10)), ==, 48);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void blocks_of_every_kind_may_be_freed_by_free(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (size_t size = 1; size < 300000; size += size / 2 + 1) {
        allot_free(allot_heap_malloc(heap, size));
        allot_free_sized(allot_heap_malloc(heap, size), size);
        char *block = allot_realloc(allot_heap_malloc(heap, size), size * 3);
        assert_ptr_equal(allot_heap_of(block), heap);
        allot_heap_free(NULL, block);
    }
    UNIT_CHECK(live(heap), ==, 0);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static bool count_block(void *block, size_t usable_bytes, void *context) {
    (void)block;
    ((size_t *)context)[0]++;
    ((size_t *)context)[1] += usable_bytes;
    return true;
}

static void a_walk_visits_each_live_block_once(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    size_t seen[2] = {0, 0};
    for (size_t i = 0; i < 3000; i++) {
        void *block = allot_heap_malloc(heap, i * 13 % 40000);
        if (i % 3 == 0) {
            allot_heap_free(heap, block);
        }
    }
    assert_true(allot_heap_walk(heap, count_block, seen));
    UNIT_CHECK(seen[0], ==, 2000);
    UNIT_CHECK(seen[1], ==, live(heap));
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void what_is_free_leaves_a_heap_that_is_trimmed(void) {
    static void *block[BLOCKS_MAX];
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        block[i] = allot_heap_malloc(heap, 16 + i % 700);
    }
    uint64_t held = stats_of(heap).held_bytes;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        allot_heap_free(heap, block[i]);
    }
    UNIT_CHECK(allot_heap_trim(heap), >, 0);
    UNIT_CHECK(stats_of(heap).held_bytes, ==, 0);
    UNIT_CHECK(held, >, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

// Pages of stacks are used again, but not for records: a late free may count itself there.
static void heaps_come_and_go_whatever_their_pages_held(void) {
    static void *block[BLOCKS_MAX];
    for (int round = 0; round < 20; round++) {
        struct allot_heap_options options = plain();
        allot_heap *heap[4];
        for (size_t k = 0; k < 4; k++) {
            heap[k] = create(&options);
        }
        for (size_t k = 0; k < 4; k++) {
            for (size_t i = 0; i < BLOCKS_MAX; i++) {
                block[i] = allot_heap_malloc(heap[k], 16 + i % 600);
            }
            for (size_t i = 0; i < BLOCKS_MAX; i++) {
                allot_heap_free(heap[k], block[i]);
            }
        }
        for (size_t k = 0; k < 4; k++) {
            UNIT_CHECK(live(heap[k]), ==, 0);
            UNIT_CHECK(allot_heap_destroy(heap[k]), ==, 0);
        }
    }
}

static void a_new_heap_of_few_blocks_holds_one_granule(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    UNIT_CHECK(stats_of(heap).held_bytes, ==, 0);
    for (size_t i = 0; i < 20; i++) {
        assert_non_null(allot_heap_malloc(heap, 16 + i * 20));
    }
    UNIT_CHECK(stats_of(heap).held_bytes, ==, GRANULE_BYTES);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

// ---- Limits

static void a_limit_is_reached_to_the_byte_and_not_passed(void) {
    struct allot_heap_options options = plain();
    options.limit_bytes = 1 * MIB;
    allot_heap *heap = create(&options);
    size_t count = 0;
    void *last = NULL;
    errno = 0;
    for (void *block = allot_heap_malloc(heap, 64); block != NULL; count++) {
        last = block;
        block = allot_heap_malloc(heap, 64);
    }
    UNIT_CHECK(errno, ==, ENOMEM);
    UNIT_CHECK(count, ==, 1 * MIB / 64);
    UNIT_CHECK(live(heap), ==, 1 * MIB);
    UNIT_CHECK(stats_of(heap).peak_bytes, ==, 1 * MIB);
    UNIT_CHECK(stats_of(heap).refused_calls, ==, 1);
    allot_heap_free(heap, last);
    assert_null(allot_heap_malloc(heap, 65));
    assert_non_null(allot_heap_malloc(heap, 64));
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_limit_can_be_moved_and_grace_goes_beyond_it(void) {
    struct allot_heap_options options = plain();
    options.limit_bytes = 4096;
    options.grace_bytes = 1024;
    allot_heap *heap = create(&options);
    void *block = allot_heap_malloc(heap, 4096);
    assert_null(allot_heap_malloc(heap, 16));
    UNIT_CHECK(allot_heap_set_grace(heap, true), ==, 0);
    void *extra = allot_heap_malloc(heap, 1024);
    assert_non_null(extra);
    assert_null(allot_heap_malloc(heap, 16));
    UNIT_CHECK(allot_heap_set_grace(heap, false), ==, 0);
    allot_heap_free(heap, extra);
    assert_null(allot_heap_malloc(heap, 16));
    UNIT_CHECK(allot_heap_set_limit(heap, 8192), ==, 0);
    assert_non_null(allot_heap_malloc(heap, 4096));
    UNIT_CHECK(allot_heap_set_limit(heap, 16), ==, 0);
    allot_heap_free(heap, block);
    assert_null(allot_heap_malloc(heap, 16));
    UNIT_CHECK(allot_heap_set_limit(heap, 0), ==, 0);
    assert_non_null(allot_heap_malloc(heap, 1 * MIB));
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static struct {
    unsigned count;
    size_t live[16];
} reports;

static void note_report(allot_heap *heap, size_t live_bytes, void *context) {
    assert_ptr_equal(context, &reports);
    allot_heap_free(heap, allot_heap_malloc(heap, 100));
    reports.live[reports.count++ % 16] = live_bytes;
}

static void reports_come_beyond_the_soft_limit_and_at_each_doubling(void) {
    for (int shared = 0; shared < 2; shared++) {
        struct allot_heap_options options = plain();
        options.soft_limit_bytes = 1024;
        options.report = note_report;
        options.context = &reports;
        options.shared = shared != 0;
        allot_heap *heap = create(&options);
        reports.count = 0;
        for (size_t bytes = 0; bytes < 8192; bytes += 64) {
            assert_non_null(allot_heap_malloc(heap, 64));
        }
        UNIT_CHECK(reports.count, ==, 3);
        UNIT_CHECK(reports.live[0], ==, 1024 + 64);
        UNIT_CHECK(reports.live[1], ==, 2048 + 64);
        UNIT_CHECK(reports.live[2], ==, 4096 + 64);
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
}

static void a_block_counts_in_every_ancestor_and_the_first_limit_refuses(void) {
    struct allot_heap_options options = plain();
    options.limit_bytes = 4096;
    allot_heap *root = create(&options);
    options.parent = root;
    options.limit_bytes = 0;
    allot_heap *middle = create(&options);
    options.parent = middle;
    options.limit_bytes = 1024;
    allot_heap *leaf = create(&options);
    assert_non_null(allot_heap_malloc(leaf, 1024));
    assert_null(allot_heap_malloc(leaf, 16));
    assert_non_null(allot_heap_malloc(middle, 2048));
    assert_non_null(allot_heap_malloc(root, 1024));
    UNIT_CHECK(stats_of(root).tree_bytes, ==, 4096);
    UNIT_CHECK(stats_of(root).live_bytes, ==, 1024);
    UNIT_CHECK(stats_of(middle).tree_bytes, ==, 3072);
    assert_null(allot_heap_malloc(middle, 16));
    UNIT_CHECK(allot_heap_destroy(middle), ==, -1);
    UNIT_CHECK(errno, ==, EBUSY);
    UNIT_CHECK(allot_heap_destroy(leaf), ==, 0);
    UNIT_CHECK(stats_of(root).tree_bytes, ==, 3072);
    assert_non_null(allot_heap_malloc(middle, 1024));
    assert_null(allot_heap_malloc(middle, 16));
    UNIT_CHECK(allot_heap_destroy(middle), ==, 0);
    UNIT_CHECK(allot_heap_destroy(root), ==, 0);
}

static void a_tree_without_limits_adds_up(void) {
    struct allot_heap_options options = plain();
    allot_heap *root = create(&options);
    options.parent = root;
    allot_heap *leaf = create(&options);
    assert_non_null(allot_heap_malloc(leaf, 1024));
    assert_non_null(allot_heap_malloc(root, 512));
    UNIT_CHECK(stats_of(root).tree_bytes, ==, 1536);
    UNIT_CHECK(allot_heap_set_limit(root, 2000), ==, -1);
    UNIT_CHECK(errno, ==, EBUSY);
    UNIT_CHECK(allot_heap_destroy(leaf), ==, 0);
    UNIT_CHECK(stats_of(root).tree_bytes, ==, 512);
    UNIT_CHECK(allot_heap_destroy(root), ==, 0);
}

static void all_of_a_reserve_can_be_used_again_and_nothing_beyond_it(void) {
    static void *block[BLOCKS_MAX];
    struct allot_heap_options options = plain();
    options.reserve_bytes = 1 * MIB;
    options.refuse_overflow = options.prefault = options.lock_memory = true;
    allot_heap *heap = create(&options);
    for (size_t size = 100; size <= 5000; size *= 7) {
        size_t count = 0;
        while (count < BLOCKS_MAX && (block[count] = allot_heap_malloc(heap, size)) != NULL) {
            count++;
        }
        UNIT_CHECK(count * size, >, count < BLOCKS_MAX ? 1 * MIB * 85 / 100 : 0);
        UNIT_CHECK(stats_of(heap).held_bytes, ==, 1 * MIB);
        for (size_t i = 0; i < count; i++) {
            allot_heap_free(heap, block[i]);
        }
        allot_heap_trim(heap);
        UNIT_CHECK(live(heap), ==, 0);
    }
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void refuse(struct allot_heap_options options, int error) {
    errno = 0;
    assert_null(allot_heap_create(&options));
    UNIT_CHECK(errno, ==, error);
}

static void senseless_options_are_refused(void) {
    static const size_t falling[] = {64, 32};
    static const size_t odd[] = {24};
    static const size_t large[] = {40000};
    struct allot_heap_options good = plain();
    good.limit_bytes = 1 * MIB;
    struct allot_heap_options bad = good;
    bad.size_bytes--;
    refuse(bad, EINVAL);
    errno = 0;
    assert_null(allot_heap_create(NULL));
    UNIT_CHECK(errno, ==, EINVAL);
    bad = good, bad.reserve_bytes = 2 * MIB;
    refuse(bad, ERANGE);
    bad = good, bad.soft_limit_bytes = 2 * MIB, bad.report = note_report;
    refuse(bad, ERANGE);
    bad = good, bad.soft_limit_bytes = 1;
    refuse(bad, EINVAL);
    bad = good, bad.prefault = true;
    refuse(bad, EINVAL);
    bad = good, bad.classes = falling, bad.class_count = 2;
    refuse(bad, EINVAL);
    bad = good, bad.classes = odd, bad.class_count = 1;
    refuse(bad, EINVAL);
    bad = good, bad.classes = large, bad.class_count = 1;
    refuse(bad, E2BIG);
    bad = good, bad.classes = falling, bad.class_count = ALLOT_HEAP_CLASSES_MAX + 1;
    refuse(bad, E2BIG);
    bad = good, bad.limit_bytes = 0, bad.reserve_bytes = SIZE_MAX;
    refuse(bad, ENOMEM);
}

// ---- Owners

struct visit {
    allot_heap *heap;
    void **block;
    size_t count;
    int error;
};

static void a_heap_is_exact_whatever_its_memory_was_before(void) {
    static void *block[BLOCKS_MAX];
    allot_heap *heap[64];
    struct allot_heap_options options = plain();
    allot_heap *first = create(&options);
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        block[i] = allot_heap_malloc(first, 16 + i % 1000);
    }
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        allot_heap_free(first, block[i]);  // stacks grow and fill pages
    }
    UNIT_CHECK(allot_heap_destroy(first), ==, 0);
    for (int i = 0; i < 64; i++) {
        heap[i] = create(&options);
        assert_non_null(allot_heap_malloc(heap[i], 16));
        UNIT_CHECK(live(heap[i]), ==, 16);
    }
    for (int i = 0; i < 64; i++) {
        UNIT_CHECK(allot_heap_destroy(heap[i]), ==, 0);
    }
}

static void *free_all(void *context) {
    struct visit *visit = context;
    for (size_t i = 0; i < visit->count; i++) {
        allot_free(visit->block[i]);
    }
    return NULL;
}

static void *try_to_use(void *context) {
    struct visit *visit = context;
    errno = 0;
    visit->error = allot_heap_malloc(visit->heap, 100000) == NULL ? errno : 0;
    visit->error = allot_heap_adopt(visit->heap) == -1 && errno == EBUSY ? visit->error : -1;
    visit->error = allot_heap_destroy(visit->heap) == -1 && errno == EPERM ? visit->error : -1;
    visit->error = allot_heap_disown(visit->heap) == -1 && errno == EPERM ? visit->error : -1;
    visit->error = allot_heap_set_limit(visit->heap, 1) == -1 && errno == EPERM ? visit->error : -1;
    visit->error = allot_heap_trim(visit->heap) == 0 && errno == EPERM ? visit->error : -1;
    return NULL;
}

// A thread that has a cache, which makes the difference on fast paths.
static void *free_through_the_heap(void *context) {
    struct visit *visit = context;
    allot_free(allot_malloc(1));
    errno = 0;
    visit->error = allot_heap_malloc(visit->heap, 64) == NULL ? errno : 0;
    allot_heap_free(visit->heap, visit->block[0]);
    allot_heap_free_sized(visit->heap, visit->block[1], 64);
    return NULL;
}

static void *take_over(void *context) {
    struct visit *visit = context;
    visit->error = allot_heap_adopt(visit->heap);
    for (size_t i = 0; i < visit->count; i++) {
        visit->block[i] = allot_heap_malloc(visit->heap, 16 + i % 3000);
    }
    return NULL;
}

static void in_a_thread(void *(*run)(void *), struct visit *visit) {
    pthread_t thread;
    UNIT_CHECK(pthread_create(&thread, NULL, run, visit), ==, 0);
    UNIT_CHECK(pthread_join(thread, NULL), ==, 0);
}

static void what_other_threads_freed_is_used_again(void) {
    static void *block[BLOCKS_MAX];
    struct allot_heap_options options = plain();
    options.limit_bytes = 16 * MIB;
    allot_heap *heap = create(&options);
    uint64_t held = 0;
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < BLOCKS_MAX; i++) {
            block[i] = allot_heap_malloc(heap, i % 100 == 0 ? 40000 : 16 + i % 1000);
            assert_non_null(block[i]);
        }
        held = round == 1 ? stats_of(heap).held_bytes : held;
        in_a_thread(free_all, &(struct visit){heap, block, BLOCKS_MAX, 0});
        UNIT_CHECK(live(heap), ==, 0);
        UNIT_CHECK(stats_of(heap).remote_free_blocks, ==, (uint64_t)(round + 1) * BLOCKS_MAX);
        heap_validate(heap);
    }
    UNIT_CHECK(stats_of(heap).held_bytes, <=, held);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void only_the_owner_may_use_a_heap(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    struct visit visit = {.heap = heap};
    in_a_thread(try_to_use, &visit);
    UNIT_CHECK(visit.error, ==, EPERM);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void the_stacks_are_the_owners_alone(void) {
    void *block[3];
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 3; i++) {
            block[i] = allot_heap_malloc(heap, 64);
        }
        allot_heap_free(heap, block[2]);  // it waits in a stack
        struct visit visit = {heap, block, 2, 0};
        UNIT_CHECK(round == 1 ? 0 : allot_heap_disown(heap), ==, 0);
        in_a_thread(free_through_the_heap, &visit);
        UNIT_CHECK(visit.error, ==, EPERM);
        UNIT_CHECK(stats_of(heap).remote_free_blocks, ==, (uint64_t)round * 2);
        UNIT_CHECK(live(heap), ==, 0);
    }
    UNIT_CHECK(allot_heap_adopt(heap), ==, 0);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_heap_passes_from_thread_to_thread_and_on_from_the_dead(void) {
    static void *block[100];
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (int i = 0; i < 20; i++) {
        UNIT_CHECK(allot_heap_disown(heap), ==, 0);
        struct visit visit = {heap, block, 100, -1};
        in_a_thread(take_over, &visit);  // and ends as the owner
        UNIT_CHECK(visit.error, ==, 0);
        UNIT_CHECK(allot_heap_adopt(heap), ==, 0);
        UNIT_CHECK(allot_heap_adopt(heap), ==, 0);
        for (size_t k = 0; k < 50; k++) {
            allot_heap_free(heap, block[k]);
        }
        heap_validate(heap);
    }
    UNIT_CHECK(stats_of(heap).live_blocks, ==, 1000);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_purge_reaches_heaps_that_nobody_uses(void) {
    struct allot_heap_options options = plain();
    allot_heap *idle = create(&options);
    allot_heap *own = create(&options);
    allot_heap_free(idle, allot_heap_malloc(idle, 100));
    allot_heap_free(own, allot_heap_malloc(own, 100));
    UNIT_CHECK(allot_heap_disown(idle), ==, 0);
    UNIT_CHECK(stats_of(idle).held_bytes, >, 0);
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    UNIT_CHECK(stats_of(idle).held_bytes, ==, 0);
    UNIT_CHECK(stats_of(own).held_bytes, ==, 0);
    UNIT_CHECK(allot_heap_adopt(idle), ==, 0);
    UNIT_CHECK(allot_heap_destroy(idle), ==, 0);
    UNIT_CHECK(allot_heap_destroy(own), ==, 0);
}

// ---- Given memory

static void a_heap_in_given_memory_keeps_the_same_promises(void) {
    static char memory[24 << 20];
    struct allot_heap_options options = plain();
    options.memory = memory + 5;
    options.memory_bytes = sizeof memory - 100;
    allot_heap *heap = create(&options);
    uint64_t before = process_live();
    model_run(heap);
    UNIT_CHECK(process_live(), ==, before);
    size_t seen[2] = {0, 0};
    assert_true(allot_heap_walk(heap, count_block, seen));
    UNIT_CHECK(seen[0], ==, stats_of(heap).live_blocks);
    refuse(options, EEXIST);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    UNIT_CHECK(memory[sizeof memory - 1], ==, 0);
}

static void blocks_in_given_memory_may_be_freed_by_free_and_by_others(void) {
    static char memory[1 << 20];
    static void *block[100];
    struct allot_heap_options options = plain();
    options.memory = memory;
    options.memory_bytes = sizeof memory;
    options.limit_bytes = 200 << 10;
    allot_heap *heap = create(&options);
    for (size_t i = 0; i < 100; i++) {
        block[i] = allot_realloc(allot_heap_malloc(heap, 100), 1024);
        assert_ptr_equal(allot_heap_of(block[i]), heap);
        UNIT_CHECK(allot_usable_size(block[i]), ==, 1024);
    }
    assert_null(allot_heap_malloc(heap, (100 << 10) + 1));
    in_a_thread(free_all, &(struct visit){heap, block, 50, 0});
    for (size_t i = 50; i < 100; i++) {
        allot_free_sized(block[i], 1024);
    }
    UNIT_CHECK(live(heap), ==, 0);
    UNIT_CHECK(stats_of(heap).remote_free_blocks, ==, 50);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void given_memory_of_every_small_size_is_refused_or_works(void) {
    static char memory[6000];
    for (size_t bytes = 0; bytes < sizeof memory; bytes++) {
        struct allot_heap_options options = plain();
        options.memory = memory + bytes % 64;
        options.memory_bytes = bytes - (bytes > 64 ? 64 : 0);
        allot_heap *heap = allot_heap_create(&options);
        if (heap == NULL) {
            UNIT_CHECK(errno, ==, ERANGE);
            continue;
        }
        assert_non_null(allot_heap_malloc(heap, 1));
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
}

// Ends with 0; with SIGKILL if it makes a system call.
static int churn_without_system_calls(allot_heap *heap) {
    void *block[64] = {NULL};
    bool is_right = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
    for (size_t i = 0; i < 100000; i++) {
        allot_heap_free(heap, block[i % 64]);
        block[i % 64] = allot_heap_malloc(heap, i * 31 % 3000);
        is_right &= block[i % 64] != NULL;
        block[i % 64] = allot_heap_realloc(heap, block[i % 64], 1 + i * 17 % 3000);
    }
    is_right &= allot_heap_destroy(heap) == 0;
    syscall(SYS_exit, is_right ? 0 : 1);
    return 1;
}

static void a_heap_in_given_memory_makes_no_system_call(void) {
    static char memory[1 << 20];
    if (CHECK_TSAN) {
        return;  // the sanitizer's own thread would outlive ours
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct allot_heap_options options = plain();
        options.memory = memory;
        options.memory_bytes = sizeof memory;
        churn_without_system_calls(create(&options));
    }
    int status = -1;
    UNIT_CHECK(waitpid(pid, &status, 0), ==, pid);
    UNIT_CHECK(status, ==, 0);
}

// ---- Misuse

static void a_block_freed_twice_is_reported(void) {
    static void *block[200];
    options_state.misuse = OPTIONS_MISUSE_IGNORE;
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    struct allot_stats before = {.size_bytes = sizeof before};
    struct allot_stats after = {.size_bytes = sizeof after};
    allot_stats(&before);
    for (size_t i = 0; i < 200; i++) {
        block[i] = allot_heap_malloc(heap, 600);
    }
    in_a_thread(free_all, &(struct visit){heap, block, 200, 0});
    in_a_thread(free_all, &(struct visit){heap, block, 200, 0});
    allot_stats(&after);
    UNIT_CHECK(after.misuse_count - before.misuse_count, ==, 200);
    allot_heap_free(heap, (char *)allot_heap_malloc(heap, 600) + 16);
    allot_heap_trim(heap);
    allot_stats(&after);
    UNIT_CHECK(after.misuse_count - before.misuse_count, ==, 201);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void without_memory_a_heap_says_so_and_loses_nothing(void) {
    struct allot_heap_options options = plain();
    options.reserve_bytes = 256 * KIB;
    allot_heap *heap = allot_heap_create(&options);
    if (heap == NULL) {
        UNIT_CHECK(errno, ==, ENOMEM);
        return;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < 3000; i++) {
        errno = 0;
        char *block = allot_heap_malloc(heap, i * 7 % 50000);
        UNIT_CHECK(errno, ==, block != NULL ? 0 : ENOMEM);
        bytes += block != NULL ? allot_usable_size(block) : 0;
    }
    UNIT_CHECK(live(heap), ==, bytes);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static const struct unit_case cases[] = {
    UNIT(every_size_is_aligned_usable_and_counted),
    UNIT(every_alignment_is_kept),
    UNIT(live_bytes_and_blocks_are_exact_at_every_moment),
    UNIT(a_shared_heap_and_one_with_few_classes_keep_the_same_promises),
    UNIT(blocks_of_every_kind_may_be_freed_by_free),
    UNIT(a_walk_visits_each_live_block_once),
    UNIT(what_is_free_leaves_a_heap_that_is_trimmed),
    UNIT(heaps_come_and_go_whatever_their_pages_held),
    UNIT(a_new_heap_of_few_blocks_holds_one_granule),
    UNIT(a_limit_is_reached_to_the_byte_and_not_passed),
    UNIT(a_limit_can_be_moved_and_grace_goes_beyond_it),
    UNIT(reports_come_beyond_the_soft_limit_and_at_each_doubling),
    UNIT(a_block_counts_in_every_ancestor_and_the_first_limit_refuses),
    UNIT(a_tree_without_limits_adds_up),
    UNIT(all_of_a_reserve_can_be_used_again_and_nothing_beyond_it),
    UNIT(senseless_options_are_refused),
    UNIT(a_heap_is_exact_whatever_its_memory_was_before),
    UNIT(what_other_threads_freed_is_used_again),
    UNIT(only_the_owner_may_use_a_heap),
    UNIT(the_stacks_are_the_owners_alone),
    UNIT(a_heap_passes_from_thread_to_thread_and_on_from_the_dead),
    UNIT(a_purge_reaches_heaps_that_nobody_uses),
    UNIT(a_heap_in_given_memory_keeps_the_same_promises),
    UNIT(blocks_in_given_memory_may_be_freed_by_free_and_by_others),
    UNIT(a_heap_in_given_memory_makes_no_system_call),
    UNIT(given_memory_of_every_small_size_is_refused_or_works),
    UNIT(a_block_freed_twice_is_reported),
    UNIT_WITH_FAILURES(without_memory_a_heap_says_so_and_loses_nothing),
};

int main(int argc, char **argv) {
    return unit_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
