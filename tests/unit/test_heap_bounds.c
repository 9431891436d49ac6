// test_heap_bounds.c - first-class heaps: the last free block, the largest sizes, a heap of no one.
#include "heap/heap.h"

#include "allot.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

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

static void *free_one(void *block) {
    allot_free(block);
    return NULL;
}

// The mixed granule and one slab, both full; then a block of the granule comes back.
static void a_block_of_the_mixed_granule_is_found_behind_a_full_slab(void) {
    struct allot_heap_options options = plain();
    options.reserve_bytes = 2 * GRANULE_BYTES;
    options.refuse_overflow = true;
    allot_heap *heap = create(&options);
    void *first = allot_heap_malloc(heap, 64);
    for (size_t i = 1; i < 2 * GRANULE_BYTES / 64; i++) {
        assert_non_null(allot_heap_malloc(heap, 64));
    }
    void *back = first;
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        UNIT_CHECK(pthread_create(&thread, NULL, free_one, back), ==, 0);
        UNIT_CHECK(pthread_join(thread, NULL), ==, 0);
        back = allot_heap_malloc(heap, 64);
        assert_non_null(back);
    }
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void sizes_beyond_all_memory_are_refused(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    void *block = allot_heap_malloc(heap, 10);
    uint64_t before = live(heap);
    for (size_t size = SIZE_MAX; size >= (size_t)1 << 59; size -= size / 7) {
        errno = 0;
        assert_null(allot_heap_malloc(heap, size));
        UNIT_CHECK(errno, ==, ENOMEM);
        assert_null(allot_heap_calloc(heap, 1, size));
        assert_null(allot_heap_realloc(heap, block, size));
        UNIT_CHECK(stats_of(heap).peak_bytes, <, (size_t)1 << 62);
        UNIT_CHECK(live(heap), ==, before);
    }
    assert_null(allot_heap_malloc(heap, PTRDIFF_MAX));
    assert_null(allot_heap_realloc(heap, block, PTRDIFF_MAX));
    UNIT_CHECK(live(heap), ==, before);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_heap_of_no_one_may_be_destroyed(void) {
    struct allot_heap_options options = plain();
    allot_heap *parent = create(&options);
    options.parent = parent;
    allot_heap *child = create(&options);
    UNIT_CHECK(allot_heap_disown(parent), ==, 0);
    errno = 0;
    UNIT_CHECK(allot_heap_destroy(parent), ==, -1);
    UNIT_CHECK(errno, ==, EBUSY);
    UNIT_CHECK(allot_heap_disown(parent), ==, -1);  // it is still of no one
    UNIT_CHECK(allot_heap_disown(child), ==, 0);
    UNIT_CHECK(allot_heap_destroy(child), ==, 0);
    UNIT_CHECK(allot_heap_destroy(parent), ==, 0);
}

static const struct unit_case cases[] = {
    UNIT(a_block_of_the_mixed_granule_is_found_behind_a_full_slab),
    UNIT(sizes_beyond_all_memory_are_refused),
    UNIT(a_heap_of_no_one_may_be_destroyed),
};

int main(int argc, char **argv) {
    return unit_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
