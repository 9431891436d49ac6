// twin.c - bits of slabs whose blocks have accounts.                       layer 3
#include "slab/twin.h"

#include "base/bits.h"
#include "os/lock.h"
#include "slab/words.h"

#include <string.h>

static struct {
    struct lock lock;
    uint64_t *free[SIZECLASS_SLABS];  // linked by the first word of the bits
} twin_state;

// Bits of a slab of a twin, contents indeterminate, with accounts before them: that
// of block i is the i-th from the end, and there is one more than there are blocks.
// The memory is used again for the same class only. NULL: there is none.
static uint64_t *twin_take_words(unsigned kind) {
    const struct sizeclass *class = &sizeclass_table[kind];
    size_t accounts = bits_round_up((class->block_count + 1) * sizeof(uint16_t), sizeof(uint64_t));
    lock_take(&twin_state.lock);
    uint64_t **first = &twin_state.free[kind - SIZECLASS_END];
    uint64_t *words = *first;
    if (words != NULL) {
        *first = (uint64_t *)(uintptr_t)words[0];
    }
    lock_give(&twin_state.lock);
    if (words == NULL) {
        char *memory = region_take_meta(accounts + class->word_count * sizeof(uint64_t));
        words = memory != NULL ? (uint64_t *)(void *)(memory + accounts) : NULL;
    }
    return words;
}

static void twin_give_words(_Atomic(uint64_t) *words, unsigned kind) {
    lock_take(&twin_state.lock);
    uint64_t **first = &twin_state.free[kind - SIZECLASS_END];
    atomic_store_explicit(&words[0], (uintptr_t)*first, memory_order_relaxed);
    *first = (uint64_t *)words;
    lock_give(&twin_state.lock);
}

static bool twin_has_inline_words(unsigned kind) {
    return sizeclass_table[kind].word_count <= SPAN_INLINE_WORDS && !sizeclass_is_twin(kind);
}

bool twin_attach_words(struct span *span, unsigned kind) {
    if (twin_has_inline_words(kind)) {
        __atomic_store_n(&span->words, span->as.bits, __ATOMIC_RELAXED);
        return true;
    }
    uint64_t *words = sizeclass_is_twin(kind) ? twin_take_words(kind)
                                              : words_take(sizeclass_table[kind].word_count);
    if (words == NULL) {
        return false;  // a giver that is late may still read what stands there
    }
    __atomic_store_n(&span->words, (_Atomic(uint64_t) *)words, __ATOMIC_RELAXED);
    return true;
}

void twin_detach_words(struct span *span, unsigned kind) {
    if (twin_has_inline_words(kind)) {
        return;
    }
    _Atomic(uint64_t) *words = span->words;
    __atomic_store_n(&span->words, span->as.bits, __ATOMIC_RELAXED);
    if (sizeclass_is_twin(kind)) {
        twin_give_words(words, kind);
    } else {
        words_give(words, sizeclass_table[kind].word_count);
    }
}

void twin_describe(uint32_t slab, unsigned kind) {
    const struct sizeclass *class = &sizeclass_table[kind];
    struct span *first = region_span(slab);
    for (uint32_t i = 0; i < class->granule_count; i++) {
        struct span *span = first + i;
        __atomic_store_n(&span->kind, (uint8_t)kind, __ATOMIC_RELAXED);
        span->as.tagged.accounts = twin_place(first->words, 0);
        span->as.tagged.size_bytes = class->size_bytes;
        span->as.tagged.reciprocal = class->reciprocal;
        span->as.tagged.skip_bytes = i << GRANULE_LOG2;
        span->as.tagged.kind = kind - SIZECLASS_TWIN;
    }
}

void twin_repair(void) {
    lock_reset(&twin_state.lock);
    memset(twin_state.free, 0, sizeof twin_state.free);
}
