// contract.c - what Lua's manual demands of an allocator, of both that allot_lua.h has.
#include "state.h"

enum { HELD = 300, SIZE_MAX_TESTED = 5000 };

struct subject {
    lua_Alloc alloc;
    void *ud;
    allot_heap *heap;
};

static struct subject subject_of(int is_counting, const struct allot_heap_options *wish) {
    static struct allot_lua_counts counts;
    allot_heap *heap = allot_heap_create(wish);
    CHECK(heap != NULL);
    memset(&counts, 0, sizeof counts);
    counts.heap = heap;
    if (is_counting) {
        return (struct subject){allot_lua_alloc_counting, &counts, heap};
    }
    return (struct subject){allot_lua_alloc, heap, heap};
}

static struct allot_heap_options plain(void) {
    return (struct allot_heap_options){.size_bytes = sizeof(struct allot_heap_options)};
}

static void nothing_of_size_0_is_nothing(void) {
    struct allot_heap_options wish = plain();
    for (int is_counting = 0; is_counting < 2; is_counting++) {
        struct subject at = subject_of(is_counting, &wish);
        for (size_t osize = 0; osize < 100; osize++) {
            CHECK(at.alloc(at.ud, NULL, osize, 0) == NULL);
        }
        CHECK_UINT(stats_of(at.heap).malloc_calls, ==, 0);
        CHECK_INT(allot_heap_destroy(at.heap), ==, 0);
    }
}

static void size_0_frees(void) {
    struct allot_heap_options wish = plain();
    for (int is_counting = 0; is_counting < 2; is_counting++) {
        struct subject at = subject_of(is_counting, &wish);
        for (size_t size = 1; size < 100000; size += 1 + size / 7) {
            void *block = at.alloc(at.ud, NULL, LUA_TTABLE, size);
            CHECK(block != NULL);
            CHECK_UINT(stats_of(at.heap).live_bytes, >=, size);
            CHECK(at.alloc(at.ud, block, size, 0) == NULL);
            CHECK_UINT(stats_of(at.heap).live_bytes, ==, 0);
        }
        CHECK_INT(allot_heap_destroy(at.heap), ==, 0);
    }
}

struct held {
    unsigned char *block;
    size_t size;
    unsigned char fill;
};

static void check_fill(const struct held *held, size_t size) {
    for (size_t i = 0; i < size; i++) {
        CHECK_UINT(held->block[i], ==, held->fill);
    }
}

// One step of a random sequence: allocate, resize or free.
static void step(const struct subject *at, struct held *held, struct check_random *random) {
    size_t size = (size_t)check_random_below(random, SIZE_MAX_TESTED);
    size_t osize = held->block != NULL ? held->size : (size_t)check_random_below(random, 12);
    unsigned char *fresh = at->alloc(at->ud, held->block, osize, size);
    CHECK((fresh == NULL) == (size == 0));
    size_t kept = held->block == NULL ? 0 : held->size < size ? held->size : size;
    held->block = fresh;
    check_fill(held, kept);
    held->size = size;
    held->fill = (unsigned char)check_random_next(random);
    if (fresh != NULL) {
        CHECK_ALIGNED(fresh, size <= 8 ? 8 : 16);
        memset(fresh, held->fill, size);
    }
}

static void blocks_keep_their_bytes_and_are_counted(void) {
    struct allot_heap_options wish = plain();
    for (int kind = 0; kind < 4; kind++) {
        static struct held held[HELD];
        wish.shared = kind >= 2;
        struct subject at = subject_of(kind % 2, &wish);
        struct check_random random = {check_seed() + (uint64_t)kind};
        for (int i = 0; i < 60000; i++) {
            step(&at, &held[check_random_below(&random, HELD)], &random);
        }
        uint64_t live = 0;
        for (int i = 0; i < HELD; i++) {
            live += held[i].block != NULL ? allot_usable_size(held[i].block) : 0;
        }
        CHECK_UINT(stats_of(at.heap).live_bytes, ==, live);
        for (int i = 0; i < HELD; i++) {
            at.alloc(at.ud, held[i].block, held[i].size, 0);
            held[i].block = NULL;
        }
        CHECK_UINT(stats_of(at.heap).live_bytes, ==, 0);
        CHECK_INT(allot_heap_destroy(at.heap), ==, 0);
    }
}

// Shrinks all that fits under the limit, in heaps where no smaller block can be had.
static void shrink_all(const struct subject *at, size_t from) {
    static unsigned char *block[4096];
    size_t count = 0;
    while (count < 4096 && (block[count] = at->alloc(at->ud, NULL, 0, from)) != NULL) {
        memset(block[count++], 0x5c, from);
    }
    CHECK(count < 4096);
    uint64_t live = stats_of(at->heap).live_bytes;
    for (size_t size = from; size > 0; size = size * 3 / 4) {
        size_t smaller = size * 3 / 4;
        for (size_t i = 0; i < count && smaller > 0; i++) {
            block[i] = at->alloc(at->ud, block[i], size, smaller);
            CHECK(block[i] != NULL);
            CHECK_UINT(block[i][0], ==, 0x5c);
            CHECK_UINT(block[i][smaller - 1], ==, 0x5c);
        }
        CHECK_UINT(stats_of(at->heap).live_bytes, <=, live);
        from = smaller > 0 ? smaller : from;
    }
    for (size_t i = 0; i < count; i++) {
        at->alloc(at->ud, block[i], from, 0);
    }
    CHECK_UINT(stats_of(at->heap).live_bytes, ==, 0);
}

static void making_a_block_smaller_never_fails(void) {
    struct allot_heap_options wish = plain();
    wish.limit_bytes = wish.reserve_bytes = 128 * KIB;
    for (int kind = 0; kind < 4; kind++) {
        wish.refuse_overflow = kind >= 2;
        struct subject at = subject_of(kind % 2, &wish);
        shrink_all(&at, 1000);
        shrink_all(&at, 64);
        shrink_all(&at, 9000);
        CHECK_INT(allot_heap_destroy(at.heap), ==, 0);
    }
}

static void without_memory_a_block_is_as_it_was(void) {
    struct allot_heap_options wish = plain();
    wish.limit_bytes = 64 * KIB;
    for (int is_counting = 0; is_counting < 2; is_counting++) {
        struct subject at = subject_of(is_counting, &wish);
        unsigned char *block = at.alloc(at.ud, NULL, LUA_TSTRING, 40 * KIB);
        CHECK(block != NULL);
        memset(block, 3, 40 * KIB);
        CHECK(at.alloc(at.ud, NULL, LUA_TSTRING, 40 * KIB) == NULL);
        CHECK(at.alloc(at.ud, block, 40 * KIB, 65 * KIB) == NULL);
        CHECK(at.alloc(at.ud, block, 40 * KIB, SIZE_MAX) == NULL);
        CHECK(at.alloc(at.ud, block, 40 * KIB, SIZE_MAX - 1) == NULL);
        CHECK_UINT(block[40 * KIB - 1], ==, 3);
        block = at.alloc(at.ud, block, 40 * KIB, 60 * KIB);  // counts instead of the old size
        CHECK(block != NULL);
        CHECK_UINT(block[40 * KIB - 1], ==, 3);
        CHECK(at.alloc(at.ud, block, 60 * KIB, 0) == NULL);
        CHECK_UINT(stats_of(at.heap).live_bytes, ==, 0);
        CHECK_INT(allot_heap_destroy(at.heap), ==, 0);
    }
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        CHECK_CASE(nothing_of_size_0_is_nothing),
        CHECK_CASE(size_0_frees),
        CHECK_CASE(blocks_keep_their_bytes_and_are_counted),
        CHECK_CASE(making_a_block_smaller_never_fails),
        CHECK_CASE(without_memory_a_block_is_as_it_was),
    };
    return check_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
