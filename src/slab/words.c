// words.c - bits of slabs with more blocks than a record has room for.      layer 3
#include "slab/words.h"

#include "os/lock.h"
#include "page/region.h"

#include <string.h>

enum {
    WORDS_LOG2_MIN = 3,  // arrays of 8, 16 and 32
    WORDS_POOLS = 3,
};

static struct {
    struct lock lock;
    uint64_t *free[WORDS_POOLS];
} words_state;

static unsigned words_pool(unsigned word_count) {
    return word_count <= 8 ? 0 : word_count <= 16 ? 1 : 2;
}

uint64_t *words_take(unsigned word_count) {
    unsigned pool = words_pool(word_count);
    lock_take(&words_state.lock);
    uint64_t *words = words_state.free[pool];
    if (words != NULL) {
        words_state.free[pool] = (uint64_t *)(uintptr_t)words[0];
    }
    lock_give(&words_state.lock);
    return words != NULL ? words : region_take_meta(sizeof(uint64_t) << (WORDS_LOG2_MIN + pool));
}

void words_give(_Atomic(uint64_t) *words, unsigned word_count) {
    unsigned pool = words_pool(word_count);
    lock_take(&words_state.lock);
    atomic_store_explicit(&words[0], (uintptr_t)words_state.free[pool], memory_order_relaxed);
    words_state.free[pool] = (uint64_t *)words;
    lock_give(&words_state.lock);
}

void words_repair(void) {
    lock_reset(&words_state.lock);
    memset(words_state.free, 0, sizeof words_state.free);
}
