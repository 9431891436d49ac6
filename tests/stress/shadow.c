// shadow.c - one thread does random things to random blocks, and a model knows what must be true:
// a map of the intervals in use, and for each block its size, alignment, usable size and contents.
#include "pattern.h"
#include "sizes.h"

#define LIVE_MAX 3000
#define LARGE_LIVE_BYTES_MAX ((size_t)256 << 20)

static struct live {
    struct pattern_block block;
    size_t usable;
    bool is_sized;  // free_sized may be used
} live[LIVE_MAX];
static size_t live_count;
static size_t live_bytes;

// The model: intervals in use, sorted by address.
static struct interval {
    uintptr_t from;
    uintptr_t to;
} intervals[LIVE_MAX];
static size_t interval_count;

/// The first interval that does not end before `address`.
static size_t interval_find(uintptr_t address) {
    size_t low = 0, high = interval_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (intervals[middle].to <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void interval_add(const void *bytes, size_t usable) {
    uintptr_t from = (uintptr_t)bytes, to = from + (usable ? usable : 1);
    size_t place = interval_find(from);
    if (place < interval_count && intervals[place].from < to) {
        CHECK_FAIL("the block %p of %zu bytes overlaps the one at %p of %zu bytes", bytes, usable,
                   (void *)intervals[place].from,
                   (size_t)(intervals[place].to - intervals[place].from));
    }
    memmove(&intervals[place + 1], &intervals[place],
            (interval_count - place) * sizeof(intervals[0]));
    intervals[place].from = from;
    intervals[place].to = to;
    interval_count++;
}

static void interval_remove(const void *bytes) {
    size_t place = interval_find((uintptr_t)bytes);
    CHECK_UINT(place, <, interval_count);
    CHECK_UINT(intervals[place].from, ==, (uintptr_t)bytes);
    interval_count--;
    memmove(&intervals[place], &intervals[place + 1],
            (interval_count - place) * sizeof(intervals[0]));
}

/// A block came into being: it must be new, aligned and large enough.
static void admit(struct live *slot, void *bytes, size_t size, size_t align, uint64_t owner) {
    CHECK_ALIGNED(bytes, align);
    size_t usable = api_usable_size(bytes);
    CHECK_UINT(usable, >=, size);
    interval_add(bytes, usable);
    slot->block = (struct pattern_block){(unsigned char *)bytes, size, owner};
    slot->usable = usable;
    live_bytes += usable;
    pattern_fill(&slot->block);
}

/// The last look at a block before it is freed or resized.
static void dismiss(struct live *slot) {
    CHECK_UINT(api_usable_size(slot->block.bytes), ==, slot->usable);
    pattern_check(&slot->block);
    interval_remove(slot->block.bytes);
    live_bytes -= slot->usable;
}

static size_t natural_align(size_t size) {
    return size <= 8 ? 8 : 16;
}

static void check_zero(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i]) {
            CHECK_FAIL("byte %zu of the zeroed block %p is 0x%02x", i, (const void *)bytes,
                       bytes[i]);
        }
    }
}

static void do_allocate(struct check_random *random, uint64_t step) {
    size_t size = sizes_draw(random, check_random_below(random, 50) ? 16 : 23);
    size_t align = natural_align(size);
    unsigned char *bytes;
    switch (check_random_below(random, 8)) {
    case 0:
        bytes = (unsigned char *)api_calloc(1, size);
        CHECK_PTR(bytes, !=, NULL);
        check_zero(bytes, 0, size);
        break;
    case 1:
        align = sizes_draw_align(random);
        bytes = (unsigned char *)api_aligned(align, size);
        break;
    case 2:
        align = sizes_draw_align(random);
        bytes = (unsigned char *)allot_aligned_zeroed(align, size);
        CHECK_PTR(bytes, !=, NULL);
        check_zero(bytes, 0, size);
        break;
    case 3: bytes = (unsigned char *)api_realloc(NULL, size); break;
    default: bytes = (unsigned char *)api_malloc(size); break;
    }
    live[live_count].is_sized = align == natural_align(size);
    admit(&live[live_count++], bytes, size, align, step);
}

static void do_free(struct check_random *random) {
    struct live *slot = &live[check_random_below(random, live_count)];
    dismiss(slot);
    // free_sized is not for what aligned_alloc gave, nor for a size that no allocation had.
    if (slot->is_sized && check_random_below(random, 4) == 0) {
        api_free_sized(slot->block.bytes, slot->block.size);
    } else {
        api_free(slot->block.bytes);
    }
    *slot = live[--live_count];
}

static void do_resize(struct check_random *random, uint64_t step) {
    struct live *slot = &live[check_random_below(random, live_count)];
    struct pattern_block old = slot->block;
    size_t size = 1 + (check_random_below(random, 3) ? sizes_draw(random, 16)
                                                     : old.size + check_random_below(random, 100));
    bool is_zeroed = check_random_below(random, 4) == 0;
    dismiss(slot);
    unsigned char *bytes =
        (unsigned char *)(is_zeroed ? allot_realloc_zeroed(old.bytes, old.size, size)
                                    : api_realloc(old.bytes, size));
    CHECK_PTR(bytes, !=, NULL);
    slot->block.bytes = bytes;
    pattern_check_moved(&slot->block, old.size < size ? old.size : size, old.bytes, old.size);
    if (is_zeroed && size > old.size) {
        check_zero(bytes, old.size, size);
    }
    slot->is_sized = true;
    admit(slot, bytes, size, natural_align(size), step);
}

static void do_expand(struct check_random *random, uint64_t step) {
    struct live *slot = &live[check_random_below(random, live_count)];
    struct pattern_block old = slot->block;
    size_t size = 1 + old.size / 2 + check_random_below(random, old.size + 20);
    dismiss(slot);
    bool is_done = allot_expand(old.bytes, size);
    slot->is_sized = slot->is_sized && !is_done;  // a block that shrank in place keeps its size
    if (!is_done) {
        CHECK_UINT(api_usable_size(old.bytes), ==, slot->usable);
    }
    pattern_check_moved(&slot->block, size < old.size && is_done ? size : old.size, old.bytes,
                        old.size);
    admit(slot, old.bytes, is_done ? size : old.size, 8, step);
}

static void do_one_thing(struct check_random *random, uint64_t step, size_t target) {
    uint64_t choice = check_random_below(random, 100);
    bool is_full = live_count >= target || live_bytes > LARGE_LIVE_BYTES_MAX;
    if (live_count == 0 || (choice < 55 && !is_full)) {
        do_allocate(random, step);
    } else if (choice < 75 || is_full) {
        do_free(random);
    } else if (choice < 93) {
        do_resize(random, step);
    } else {
        do_expand(random, step);
    }
    if (choice == 99 && check_random_below(random, 100) == 0) {
        allot_purge(check_random_below(random, 64 << 20), ALLOT_NO_DEADLINE);
    }
}

static void the_model_agrees_with_every_step(void) {
    struct check_random random = {check_seed()};
    uint64_t steps = check_is_long() ? 20000000 : CHECK_TSAN || CHECK_ASAN ? 100000 : 400000;
    struct allot_stats before = {.size_bytes = sizeof(before)};
    struct allot_stats after = {.size_bytes = sizeof(after)};
    CHECK(allot_stats(&before));
    size_t target = LIVE_MAX;
    for (uint64_t step = 0; step < steps; step++) {
        if (step % 20000 == 0) {  // the heap breathes
            target = 1 + check_random_below(&random, LIVE_MAX);
        }
        do_one_thing(&random, step, target);
        if (step % 50000 == 0) {
            uint64_t bytes = 0;
            for (size_t i = 0; i < live_count; i++) {
                bytes += live[i].usable;
            }
            CHECK_UINT(bytes, ==, live_bytes);
            CHECK(allot_stats(&after));
            CHECK_UINT(after.live_bytes - before.live_bytes, ==, live_bytes);
            CHECK_UINT(after.live_blocks - before.live_blocks, ==, live_count);
        }
    }
    while (live_count > 0) {
        do_free(&random);
    }
    CHECK(allot_stats(&after));
    CHECK_UINT(after.live_bytes, ==, before.live_bytes);
    CHECK_UINT(after.live_blocks, ==, before.live_blocks);
    CHECK_UINT(after.misuse_count, ==, 0);
}

static const struct check_case cases[] = {
    CHECK_CASE(the_model_agrees_with_every_step),
};

CHECK_MAIN(cases)
