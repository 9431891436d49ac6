// test_heap_idle.c - what heaps and pools do not use: how long it stays, and where it then goes.
#include "heap/heap.h"
#include "heap/heapspan.h"
#include "heap/registry.h"
#include "page/pageheap.h"

#include "allot.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>

enum { BLOCKS = 400, BLOCK_BYTES = 4096, IDLE_MS = 1000 };

static void *block[BLOCKS * 2];

static allot_heap *create(uint32_t idle_ms) {
    struct allot_heap_options options = {.size_bytes = sizeof options, .idle_ms = idle_ms};
    allot_heap *heap = allot_heap_create(&options);
    assert_non_null(heap);
    return heap;
}

static size_t held(const allot_heap *heap) {
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_heap_stats(heap, &stats));
    return stats.held_bytes;
}

static struct pageheap_stats pages(void) {
    struct pageheap_stats stats;
    pageheap_read_stats(&stats);
    return stats;
}

// All at once, and all back; returns what was held at the most.
static size_t burst(allot_heap *heap) {
    for (size_t i = 0; i < BLOCKS; i++) {
        block[i] = allot_heap_malloc(heap, BLOCK_BYTES);
        assert_non_null(block[i]);
    }
    size_t most = held(heap);
    for (size_t i = 0; i < BLOCKS; i++) {
        allot_heap_free(heap, block[i]);
    }
    heap_validate(heap);
    return most;
}

static void pass(allot_heap *heap, uint64_t ms) {
    os_fake.now_ms += ms;
    heap_tick();
    heap_validate(heap);
}

// ---- Heaps

static void empty_slabs_stay_for_as_long_as_was_asked(void) {
    allot_heap *heap = create(IDLE_MS);
    size_t most = burst(heap);
    UNIT_CHECK(held(heap), ==, most);
    uint64_t takes = pages().take_calls;
    for (int round = 0; round < 5; round++) {
        pass(heap, IDLE_MS - 1);
        UNIT_CHECK(burst(heap), ==, most);
    }
    UNIT_CHECK(pages().take_calls, ==, takes);
    pass(heap, 1);
    UNIT_CHECK(held(heap), ==, most);
    pass(heap, IDLE_MS);
    UNIT_CHECK(held(heap), ==, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void without_a_time_empty_slabs_leave_at_once(void) {
    allot_heap *heap = create(0);
    size_t most = burst(heap);
    UNIT_CHECK(held(heap), <, most / 4);
    pass(heap, IDLE_MS);
    UNIT_CHECK(held(heap), >, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void what_leaves_goes_back_to_the_system(void) {
    allot_heap *heap = create(IDLE_MS);
    size_t most = burst(heap);
    uint64_t purged = os_fake.purged_bytes;
    pass(heap, 1);  // it sees that the heap was used
    UNIT_CHECK(os_fake.purged_bytes, ==, purged);
    pass(heap, IDLE_MS);
    UNIT_CHECK(os_fake.purged_bytes - purged, >=, most);
    uint64_t calls = os_fake.call_count;
    pass(heap, IDLE_MS);
    UNIT_CHECK(os_fake.call_count, ==, calls);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_heap_in_use_lets_go_of_what_it_does_not_need(void) {
    allot_heap *heap = create(IDLE_MS);
    size_t most = burst(heap);
    for (int i = 0; i < 100; i++) {  // its owner looks by himself
        os_fake.now_ms += IDLE_MS / 50;
        for (int k = 0; k < 40; k++) {
            block[k] = allot_heap_malloc(heap, BLOCK_BYTES);
        }
        for (int k = 0; k < 40; k++) {
            allot_heap_free(heap, block[k]);
        }
    }
    UNIT_CHECK(held(heap), <, most / 2);
    UNIT_CHECK(held(heap), >=, 20 * BLOCK_BYTES);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void for_good_means_until_it_is_trimmed(void) {
    allot_heap *heap = create(ALLOT_IDLE_NEVER);
    size_t most = burst(heap);
    pass(heap, 1);
    pass(heap, UINT32_MAX);
    UNIT_CHECK(held(heap), ==, most);
    UNIT_CHECK(allot_heap_trim(heap), ==, most);
    UNIT_CHECK(held(heap), ==, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void what_a_heap_kept_is_free_when_it_is_destroyed(void) {
    size_t before = pages().used_bytes;
    for (int round = 0; round < 10; round++) {
        allot_heap *heap = create(ALLOT_IDLE_NEVER);
        burst(heap);
        for (size_t size = 16; size <= 1 << 20; size *= 2) {
            allot_heap_free(heap, allot_heap_malloc(heap, size));
        }
        heap_validate(heap);
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
    UNIT_CHECK(pages().used_bytes, ==, before);
}

// Its stacks, and the slabs of what they hold, are the owner's.
static void of_a_heap_that_another_thread_owns_only_the_empty_slabs_leave(void) {
    allot_heap *heap = create(IDLE_MS);
    size_t most = burst(heap);
    atomic_store(&heap->owner, registry_thread_id() + 1);  // of some thread
    os_fake.now_ms += IDLE_MS;
    heap_tick();
    size_t left = held(heap);
    UNIT_CHECK(left, <, most / 4);
    UNIT_CHECK(left, >, 0);
    os_fake.now_ms += IDLE_MS;
    heap_tick();
    UNIT_CHECK(held(heap), ==, left);
    atomic_store(&heap->owner, 0);  // from here on of nobody
    heap_tick();
    os_fake.now_ms += IDLE_MS;
    heap_tick();
    UNIT_CHECK(held(heap), ==, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void *release_idle(void *heap) {
    heapspan_release(heap, IDLE_MS);
    return NULL;
}

// As an owner gives spans while the thread of ALLOT_BACKGROUND waits for him.
static void what_was_kept_while_another_thread_waited_is_not_old(void) {
    os_fake.has_threads = true;
    allot_heap *heap = create(IDLE_MS);
    size_t most = burst(heap);
    pthread_t thread;
    lock_take(&heap->span_lock);
    UNIT_CHECK(pthread_create(&thread, NULL, release_idle, heap), ==, 0);
    while (atomic_load(&heap->span_lock.word) != 2) {
        sched_yield();
    }
    os_fake.now_ms += 1;
    for (unsigned i = 0; i < HEAP_KEPT_LISTS; i++) {
        for (uint32_t at = heap->kept[i]; at != 0; at = region_span(at)->as.owned.all_next) {
            region_span(at)->as.owned.all_prev = (uint32_t)os_fake.now_ms;
        }
    }
    lock_give(&heap->span_lock);
    UNIT_CHECK(pthread_join(thread, NULL), ==, 0);
    UNIT_CHECK(held(heap), ==, most);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

// What a child would have that is forked at this moment. [H4]
static void spans_on_their_way_out_count_no_more(void) {
    os_fake.has_threads = true;
    allot_heap *heap = create(IDLE_MS);
    burst(heap);
    size_t left = held(heap) - heapspan_count_kept(heap);
    bool is_cut = false;
    pthread_t thread;
    os_fake.now_ms += IDLE_MS;
    pageheap_hold();  // where the other thread will wait
    UNIT_CHECK(pthread_create(&thread, NULL, release_idle, heap), ==, 0);
    while (!is_cut) {
        sched_yield();
        lock_take(&heap->span_lock);
        is_cut = true;
        for (unsigned i = 0; i < HEAP_KEPT_LISTS; i++) {
            is_cut = is_cut && heap->kept[i] == 0;
        }
        UNIT_CHECK(!is_cut || atomic_load(&heap->kept_bytes) == 0, ==, true);
        UNIT_CHECK(!is_cut || held(heap) == left, ==, true);
        lock_give(&heap->span_lock);
    }
    pageheap_let_go();
    UNIT_CHECK(pthread_join(thread, NULL), ==, 0);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

// The parent's other thread had the lock, and had counted the spans but in one of two places.
static void in_a_child_what_is_held_is_counted_anew(void) {
    struct allot_heap_options options = {.size_bytes = sizeof options, .idle_ms = IDLE_MS};
    options.reserve_bytes = 100000;
    allot_heap *heap = allot_heap_create(&options);
    assert_non_null(heap);
    assert_non_null(allot_heap_malloc(heap, 40));
    burst(heap);
    assert_non_null(allot_heap_malloc(heap, 300000));
    size_t left = held(heap) - heapspan_count_kept(heap);
    lock_take(&heap->span_lock);
    memset(heap->kept, 0, sizeof heap->kept);
    atomic_store(&heap->kept_bytes, 0);
    heap_repair();
    allot_heap_free(heap, allot_heap_malloc(heap, BLOCK_BYTES));
    allot_heap_free(heap, allot_heap_aligned(heap, 64, BLOCK_BYTES));
    UNIT_CHECK(held(heap), ==, left);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void given_memory_has_no_idle_time(void) {
    static _Alignas(4096) char memory[1 << 16];
    struct allot_heap_options options = {.size_bytes = sizeof options, .idle_ms = IDLE_MS};
    options.memory = memory;
    options.memory_bytes = sizeof memory;
    allot_heap *heap = allot_heap_create(&options);
    assert_non_null(heap);
    allot_heap_free(heap, allot_heap_malloc(heap, 1000));
    pass(heap, IDLE_MS);
    UNIT_CHECK(held(heap), ==, sizeof memory);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void without_memory_a_heap_that_keeps_loses_nothing(void) {
    struct allot_heap_options options = {.size_bytes = sizeof options, .idle_ms = IDLE_MS};
    allot_heap *heap = allot_heap_create(&options);
    for (int round = 0; round < 2 && heap != NULL; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            block[i] = allot_heap_malloc(heap, 40 << i % 12);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            allot_heap_free(heap, block[i]);
        }
        heap_validate(heap);
        pass(heap, IDLE_MS / 2);
    }
    if (heap != NULL) {
        pass(heap, IDLE_MS);
        pass(heap, IDLE_MS);
        UNIT_CHECK(held(heap), ==, 0);
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
}

// ---- Pools

static allot_pool *create_pool(uint32_t idle_ms) {
    struct allot_pool_options options = {.size_bytes = sizeof options, .idle_ms = idle_ms};
    options.object_bytes = BLOCK_BYTES;
    options.count = BLOCKS;
    allot_pool *pool = allot_pool_create(&options);
    assert_non_null(pool);
    return pool;
}

static struct allot_pool_stats stats_of(const allot_pool *pool) {
    struct allot_pool_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_pool_stats(pool, &stats));
    return stats;
}

static size_t pool_burst(allot_pool *pool) {
    UNIT_CHECK(allot_pool_take_many(pool, block, BLOCKS * 3 / 2), ==, BLOCKS * 3 / 2);
    size_t most = stats_of(pool).held_bytes;
    allot_pool_give_many(pool, block, BLOCKS * 3 / 2);
    return most;
}

static void a_burst_that_comes_again_finds_what_the_last_one_left(void) {
    allot_pool *pool = create_pool(IDLE_MS);
    size_t most = pool_burst(pool);
    uint64_t takes = pages().take_calls;
    for (int round = 0; round < 5; round++) {
        os_fake.now_ms += IDLE_MS - 1;
        heap_tick();
        UNIT_CHECK(pool_burst(pool), ==, most);
    }
    UNIT_CHECK(pages().take_calls, ==, takes);
    heap_tick();
    os_fake.now_ms += IDLE_MS;
    heap_tick();
    UNIT_CHECK(stats_of(pool).held_bytes, ==, stats_of(pool).reserve_bytes);
    allot_pool_destroy(pool);
}

static void a_pool_in_use_within_its_bound_lets_go_by_itself(void) {
    allot_pool *pool = create_pool(IDLE_MS);
    size_t most = pool_burst(pool);
    uint64_t purged = os_fake.purged_bytes;
    for (int i = 0; i < 200; i++) {
        UNIT_CHECK(stats_of(pool).held_bytes, >, most * 9 / 10);
        allot_pool_give(pool, allot_pool_take(pool));
    }
    os_fake.now_ms += IDLE_MS;
    for (int i = 0; i < 200; i++) {
        allot_pool_give(pool, allot_pool_take(pool));
    }
    size_t reserve = stats_of(pool).reserve_bytes;
    UNIT_CHECK(stats_of(pool).held_bytes, <=, reserve + reserve / 50 + 64 * KIB);
    UNIT_CHECK(os_fake.purged_bytes - purged, >=, (most - reserve) * 4 / 5);
    allot_pool_destroy(pool);
}

static void trimming_a_pool_lets_go_of_all_that_it_keeps(void) {
    allot_pool *pool = create_pool(ALLOT_IDLE_NEVER);
    size_t most = pool_burst(pool);
    size_t reserve = stats_of(pool).reserve_bytes;
    UNIT_CHECK(stats_of(pool).held_bytes, ==, most);
    UNIT_CHECK(allot_pool_trim(pool), ==, most - reserve);
    UNIT_CHECK(stats_of(pool).held_bytes, ==, reserve);
    allot_pool_destroy(pool);
}

static const struct unit_case cases[] = {
    UNIT(empty_slabs_stay_for_as_long_as_was_asked),
    UNIT(without_a_time_empty_slabs_leave_at_once),
    UNIT(what_leaves_goes_back_to_the_system),
    UNIT(a_heap_in_use_lets_go_of_what_it_does_not_need),
    UNIT(for_good_means_until_it_is_trimmed),
    UNIT(what_a_heap_kept_is_free_when_it_is_destroyed),
    UNIT(of_a_heap_that_another_thread_owns_only_the_empty_slabs_leave),
    UNIT(what_was_kept_while_another_thread_waited_is_not_old),
    UNIT(spans_on_their_way_out_count_no_more),
    UNIT(in_a_child_what_is_held_is_counted_anew),
    UNIT(given_memory_has_no_idle_time),
    UNIT_WITH_FAILURES(without_memory_a_heap_that_keeps_loses_nothing),
    UNIT(a_burst_that_comes_again_finds_what_the_last_one_left),
    UNIT(a_pool_in_use_within_its_bound_lets_go_by_itself),
    UNIT(trimming_a_pool_lets_go_of_all_that_it_keeps),
};

UNIT_MAIN(cases)
