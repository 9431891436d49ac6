// heapslab.c - the blocks of a heap: slabs, the mixed granule, large ones.  layer 5
#include "heap/heapslab.h"

#include "base/bits.h"
#include "heap/budget.h"
#include "heap/heapspan.h"
#include "os/check.h"
#include "os/os.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/slab.h"
#include "slab/words.h"

#include <string.h>

#define HEAPSLAB_LARGE_UNIT_BYTES (4 * KIB)
#define HEAPSLAB_REMOTE_COUNT (((uint64_t)1 << HEAP_REMOTE_SHIFT) - 1)

static enum span_state heapslab_state(uint32_t slab) {
    return (enum span_state)atomic_load_explicit(&region_span(slab)->state, memory_order_relaxed);
}

static void heapslab_set_state(uint32_t slab, enum span_state state) {
    atomic_store_explicit(&region_span(slab)->state, state, memory_order_relaxed);
}

static const struct sizeclass *heapslab_class(const struct allot_heap *heap, uint32_t slab) {
    return &heap->classes[region_span(slab)->kind];
}

static _Atomic(uint64_t) *heapslab_words(uint32_t slab) {
    return __atomic_load_n(&region_span(slab)->words, __ATOMIC_RELAXED);
}

static unsigned heapslab_count_free(const struct sizeclass *class, uint32_t slab) {
    const _Atomic(uint64_t) *words = heapslab_words(slab);
    unsigned count = 0;
    for (unsigned i = 0; i < class->word_count; i++) {
        count += bits_count(atomic_load_explicit(&words[i], memory_order_seq_cst));
    }
    return count;
}

// ---- The gate

static void heapslab_await_remote(struct allot_heap *heap) {
    for (unsigned i = 0;
         (atomic_load_explicit(&heap->remote, memory_order_seq_cst) & HEAPSLAB_REMOTE_COUNT) != 0;
         i++) {
        if (i < 100) {
            COMPILER_PAUSE();
        } else {
            os_sleep_ms(0);
        }
    }
}

// While the gate is shut, nobody else touches the heap's spans.
void heapslab_shut_gate(struct allot_heap *heap) {
    atomic_store_explicit(&heap->is_gated, true, memory_order_seq_cst);
    heapslab_await_remote(heap);
}

void heapslab_open_gate(struct allot_heap *heap) {
    atomic_store_explicit(&heap->is_gated, false, memory_order_release);
}

// ---- The mixed granule

static uint32_t heapslab_align_units(size_t size_bytes) {
    size_t align = size_bytes & -size_bytes;
    return align > ((size_t)1 << HEAP_UNIT_LOG2) ? (uint32_t)(align >> HEAP_UNIT_LOG2) : 1;
}

static uint32_t heapslab_used_units(const struct allot_heap *heap) {
    return atomic_load_explicit(&heap->mixed_used, memory_order_relaxed);
}

static char *heapslab_unit_address(const struct allot_heap *heap, uint32_t unit) {
    return region_address(heap->mixed) + ((size_t)unit << HEAP_UNIT_LOG2);
}

static bool heapslab_has_mixed(struct allot_heap *heap) {
    if (heap->mixed != 0) {
        return true;
    }
    bool is_zero;
    uint32_t mixed = heapspan_take(heap, KIND_INSIDE, 1, 1, &is_zero);
    if (mixed == 0) {
        return false;
    }
    for (uint32_t i = 0; i < heapslab_used_units(heap); i++) {
        atomic_store_explicit(&heap->units[i], 0, memory_order_relaxed);
    }
    heapslab_set_state(mixed, SPAN_LEASED);
    atomic_store_explicit(&heap->mixed_used, 0, memory_order_relaxed);
    atomic_store_explicit(&heap->mixed_free, 0, memory_order_relaxed);
    heap->mixed = mixed;
    heapspan_publish(mixed, 1);
    return true;
}

static void *heapslab_find_unit(struct allot_heap *heap, unsigned kind) {
    if (atomic_load_explicit(&heap->mixed_free, memory_order_relaxed) == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < heapslab_used_units(heap); i++) {
        uint8_t unit = atomic_load_explicit(&heap->units[i], memory_order_acquire);
        if (unit == (kind | HEAP_UNIT_FREE)) {
            atomic_store_explicit(&heap->units[i], (uint8_t)kind, memory_order_relaxed);
            atomic_fetch_sub_explicit(&heap->mixed_free, 1, memory_order_relaxed);
            return heapslab_unit_address(heap, i);
        }
    }
    return NULL;
}

// Blocks are aligned as they are in a slab, where that is to a power of two that
// divides their size.
static void *heapslab_take_mixed(struct allot_heap *heap, unsigned kind) {
    size_t size = heap->classes[kind].size_bytes;
    if (size > HEAP_MIXED_MAX || heap->is_uniform || !heapslab_has_mixed(heap)) {
        return NULL;
    }
    void *block = heapslab_find_unit(heap, kind);
    if (block != NULL) {
        return block;
    }
    uint32_t first = (uint32_t)bits_round_up(heap->mixed_used, heapslab_align_units(size));
    uint32_t count = (uint32_t)((size + (1u << HEAP_UNIT_LOG2) - 1) >> HEAP_UNIT_LOG2);
    if (first + count > HEAP_UNITS) {
        return NULL;
    }
    for (uint32_t i = heapslab_used_units(heap); i < first + count; i++) {
        atomic_store_explicit(&heap->units[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&heap->units[first], (uint8_t)kind, memory_order_relaxed);
    atomic_store_explicit(&heap->mixed_used, first + count, memory_order_relaxed);
    return heapslab_unit_address(heap, first);
}

// False if it is free already, or no block. Release: what its user did to the
// block happens before its next use.
static bool heapslab_give_mixed(struct allot_heap *heap, const void *block) {
    size_t offset = (size_t)((const char *)block - region_address(heap->mixed));
    size_t unit = offset >> HEAP_UNIT_LOG2;
    uint8_t kind = atomic_load_explicit(&heap->units[unit], memory_order_relaxed);
    bool is_block = kind != 0 && (kind & HEAP_UNIT_FREE) == 0 && offset == unit << HEAP_UNIT_LOG2 &&
                    unit < heapslab_used_units(heap);
    if (is_block) {
        atomic_fetch_add_explicit(&heap->mixed_free, 1, memory_order_relaxed);
        uint8_t before =
            atomic_fetch_or_explicit(&heap->units[unit], HEAP_UNIT_FREE, memory_order_release);
        is_block = (before & HEAP_UNIT_FREE) == 0;
    }
    return is_block;
}

// ---- Lists of partial slabs. Owner only.

static void heapslab_link(struct allot_heap *heap, uint32_t slab) {
    struct span *span = region_span(slab);
    struct heap_bin *bin = &heap->bins[span->kind];
    span->list_prev = 0;
    span->list_next = bin->partial;
    if (bin->partial != 0) {
        region_span(bin->partial)->list_prev = slab;
    }
    bin->partial = slab;
    heapslab_set_state(slab, SPAN_PARTIAL);
}

static void heapslab_unlink(struct allot_heap *heap, uint32_t slab) {
    const struct span *span = region_span(slab);
    if (span->list_next != 0) {
        region_span(span->list_next)->list_prev = span->list_prev;
    }
    if (span->list_prev != 0) {
        region_span(span->list_prev)->list_next = span->list_next;
    } else {
        heap->bins[span->kind].partial = span->list_next;
    }
}

// ---- Slabs

static uint32_t heapslab_create(struct allot_heap *heap, unsigned kind) {
    const struct sizeclass *class = &heap->classes[kind];
    uint64_t *words = words_take(class->word_count);
    bool is_zero;
    uint32_t slab = words != NULL ? heapspan_take(heap, kind, class->granule_count,
                                                  class->granule_count, &is_zero)
                                  : 0;
    if (slab == 0) {
        if (words != NULL) {
            words_give((_Atomic(uint64_t) *)words, class->word_count);
        }
        return 0;
    }
    struct span *span = region_span(slab);
    __atomic_store_n(&span->words, (_Atomic(uint64_t) *)words, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < class->word_count; i++) {
        uint64_t bits = i + 1u < class->word_count ? UINT64_MAX : class->last_word;
        atomic_store_explicit(&span->words[i], bits, memory_order_relaxed);
    }
    heapslab_set_state(slab, SPAN_LEASED);
    heapspan_publish(slab, class->granule_count);
    return slab;
}

static void heapslab_destroy(struct allot_heap *heap, uint32_t slab) {
    const struct sizeclass *class = heapslab_class(heap, slab);
    struct span *span = region_span(slab);
    region_set_kind(slab, class->granule_count, KIND_INSIDE);
    _Atomic(uint64_t) *words = span->words;
    __atomic_store_n(&span->words, span->as.bits, __ATOMIC_RELAXED);
    words_give(words, class->word_count);
    heapslab_set_state(slab, SPAN_NONE);
    heapspan_give(heap, slab);
}

// A thread that freed the last block may not be through with the slab.
static bool heapslab_is_quiet(const struct allot_heap *heap, uint32_t slab) {
    uint64_t remote = atomic_load_explicit(&heap->remote, memory_order_seq_cst);
    return (remote & HEAPSLAB_REMOTE_COUNT) == 0 &&
           atomic_load_explicit(&region_span(slab)->as.owned.is_queued, memory_order_seq_cst) == 0;
}

// A slab that is nobody's got blocks back. One empty slab per class stays, unless the heap
// keeps its span.
static void heapslab_update(struct allot_heap *heap, uint32_t slab) {
    const struct sizeclass *class = heapslab_class(heap, slab);
    unsigned free = heapslab_count_free(class, slab);
    if (heapslab_state(slab) == SPAN_FULL && free >= class->listed_count) {
        heapslab_link(heap, slab);
    }
    const struct heap_bin *bin = &heap->bins[region_span(slab)->kind];
    bool is_only = heap->idle_ms == 0 && bin->partial == slab && region_span(slab)->list_next == 0;
    if (heapslab_state(slab) == SPAN_PARTIAL && free == class->block_count && !is_only &&
        heapslab_is_quiet(heap, slab)) {
        heapslab_unlink(heap, slab);
        heapslab_destroy(heap, slab);
    }
}

void heapslab_drain(struct allot_heap *heap) {
    if (atomic_load_explicit(&heap->queue, memory_order_relaxed) == 0) {
        return;
    }
    uint32_t slab = atomic_exchange_explicit(&heap->queue, 0, memory_order_acquire);
    while (slab != 0) {
        struct span *span = region_span(slab);
        uint32_t next = span->as.owned.queue_next;
        atomic_store_explicit(&span->as.owned.is_queued, 0, memory_order_seq_cst);
        heapslab_update(heap, slab);
        slab = next;
    }
}

static void heapslab_leave(struct allot_heap *heap, struct heap_bin *bin) {
    uint32_t slab = bin->slab;
    bin->slab = 0;
    bin->word = 0;
    if (slab != 0) {
        heapslab_set_state(slab, SPAN_FULL);
        heapslab_update(heap, slab);
    }
}

// Where no new slab can be had, every free block counts.
static uint32_t heapslab_find_any(struct allot_heap *heap, unsigned kind) {
    heapslab_shut_gate(heap);
    uint32_t at = heap->all;
    while (at != 0 && !(region_span(at)->kind == kind && heapslab_state(at) == SPAN_FULL &&
                        heapslab_count_free(&heap->classes[kind], at) > 0)) {
        at = region_span(at)->as.owned.all_next;
    }
    heapslab_open_gate(heap);
    if (at != 0) {
        heapslab_set_state(at, SPAN_LEASED);
    }
    return at;
}

static uint32_t heapslab_obtain(struct allot_heap *heap, unsigned kind) {
    struct heap_bin *bin = &heap->bins[kind];
    if (bin->partial == 0) {
        heapslab_drain(heap);
    }
    uint32_t slab = bin->partial;
    if (slab != 0) {
        heapslab_unlink(heap, slab);
        heapslab_set_state(slab, SPAN_LEASED);
        return slab;
    }
    slab = heapslab_create(heap, kind);
    return slab != 0 ? slab : heapslab_find_any(heap, kind);
}

// Acquire: what the giver did to a block happens before its next use.
static unsigned heapslab_take_word(_Atomic(uint64_t) *word, char *blocks, size_t size, void **end,
                                   unsigned want) {
    uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t rest = bits;
    unsigned count = 0;
    for (; rest != 0 && count < want; rest &= rest - 1) {
        count++;
        *(end - count) = blocks + bits_lowest(rest) * size;
    }
    if (count > 0) {
        atomic_fetch_and_explicit(word, ~(bits & ~rest), memory_order_acq_rel);
    }
    return count;
}

static unsigned heapslab_take_leased(const struct allot_heap *heap, unsigned kind,
                                     struct heap_bin *bin, void **end, unsigned want) {
    const struct sizeclass *class = &heap->classes[kind];
    _Atomic(uint64_t) *words = heapslab_words(bin->slab);
    char *blocks = region_address(bin->slab);
    size_t size = class->size_bytes;
    unsigned count = 0;
    while (bin->word < class->word_count && count < want) {
        unsigned i = bin->word;
        count += heapslab_take_word(&words[i], blocks + (size_t)i * 64 * size, size, end - count,
                                    want - count);
        bin->word += count < want;
    }
    return count;
}

unsigned heapslab_take(struct allot_heap *heap, unsigned kind, void **end, unsigned want) {
    struct heap_bin *bin = &heap->bins[kind];
    if (bin->slab == 0 && bin->partial == 0) {
        end[-1] = heapslab_take_mixed(heap, kind);
        if (end[-1] != NULL) {
            return 1;
        }
    }
    for (;;) {
        if (bin->slab != 0) {
            unsigned count = heapslab_take_leased(heap, kind, bin, end, want);
            if (count > 0) {
                return count;
            }
            heapslab_leave(heap, bin);
        }
        bin->slab = heapslab_obtain(heap, kind);
        bin->word = 0;
        if (bin->slab == 0) {
            end[-1] = heapslab_take_mixed(heap, kind);
            return end[-1] != NULL;
        }
    }
}

// ---- Give

static void heapslab_give_one(struct allot_heap *heap, unsigned kind, void *block) {
    uint32_t granule = (uint32_t)region_granule(block);
    if (region_kind(granule) != KIND_HEAP || region_span(granule)->as.owned.heap != heap) {
        slab_fault(block, SLAB_BAD_POINTER);
        return;
    }
    unsigned known = region_span(granule)->kind;
    if (known == KIND_INSIDE) {
        if (!heapslab_give_mixed(heap, block)) {
            slab_fault(block, SLAB_DOUBLE_FREE);
        }
        return;
    }
    struct heapslab_place place = heapslab_find(block);
    if (known != kind || place.block != block || place.is_free) {
        slab_fault(block,
                   place.block == block && place.is_free ? SLAB_DOUBLE_FREE : SLAB_BAD_POINTER);
        return;
    }
    const struct sizeclass *class = &heap->classes[kind];
    uint32_t slab = granule & ~(class->granule_count - 1);
    uint32_t index = (uint32_t)((size_t)((char *)block - region_address(slab)) / class->size_bytes);
    atomic_fetch_or_explicit(&heapslab_words(slab)[index / 64], (uint64_t)1 << index % 64,
                             memory_order_seq_cst);
    if (heapslab_state(slab) != SPAN_LEASED) {
        heapslab_update(heap, slab);
    } else if (index / 64 < heap->bins[kind].word) {
        heap->bins[kind].word = (uint16_t)(index / 64);
    }
}

void heapslab_give(struct allot_heap *heap, unsigned kind, void *const *blocks, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        heapslab_give_one(heap, kind, blocks[i]);
    }
}

// ---- Large blocks

void *heapslab_take_large(struct allot_heap *heap, size_t size_bytes, size_t align_bytes,
                          bool *is_zero) {
    size_t usable = bits_round_up(size_bytes > 0 ? size_bytes : 1, HEAPSLAB_LARGE_UNIT_BYTES);
    size_t count = (usable + GRANULE_BYTES - 1) >> GRANULE_LOG2;
    size_t align = align_bytes > GRANULE_BYTES ? align_bytes >> GRANULE_LOG2 : 1;
    if (size_bytes > LARGE_MAX_BYTES || count > UINT32_MAX) {
        return NULL;
    }
    uint32_t first = heapspan_take(heap, KIND_LARGE, (uint32_t)count, (uint32_t)align, is_zero);
    if (first == 0) {
        return NULL;
    }
    __atomic_store_n(&region_span(first)->as.owned.usable_bytes, usable, __ATOMIC_RELAXED);
    heapslab_set_state(first, SPAN_LARGE);
    heapspan_publish(first, (uint32_t)count);
    return region_address(first);
}

// Of two threads that free the same block one finds it large.
static bool heapslab_end_large(uint32_t first) {
    uint32_t large = SPAN_LARGE;
    return atomic_compare_exchange_strong_explicit(&region_span(first)->state, &large, SPAN_NONE,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

void heapslab_give_large(struct allot_heap *heap, void *block) {
    uint32_t first = (uint32_t)region_granule(block);
    if (!heapslab_end_large(first)) {
        slab_fault(block, SLAB_DOUBLE_FREE);
        return;
    }
    region_set_kind(first, region_span(first)->granule_count, KIND_INSIDE);
    heapspan_give(heap, first);
}

// ---- Look

static struct heapslab_place heapslab_find_mixed(struct allot_heap *heap, const char *address) {
    struct heapslab_place place = {.heap = heap};
    uint32_t unit = (uint32_t)((size_t)(address - region_address(heap->mixed)) >> HEAP_UNIT_LOG2);
    for (uint32_t i = unit + 1; i-- > 0;) {
        uint8_t kind = atomic_load_explicit(&heap->units[i], memory_order_relaxed);
        if (kind != 0) {
            place.kind = kind & ~(unsigned)HEAP_UNIT_FREE;
            place.size_bytes = heap->classes[place.kind].size_bytes;
            place.is_free = (kind & HEAP_UNIT_FREE) != 0;
            char *block = heapslab_unit_address(heap, i);
            place.block = address < block + place.size_bytes ? block : NULL;
            return place;
        }
    }
    return place;
}

static struct heapslab_place heapslab_find_slab(struct allot_heap *heap, uint32_t granule,
                                                const char *address) {
    struct heapslab_place place = {.heap = heap, .kind = region_span(granule)->kind};
    const struct sizeclass *class = &heap->classes[place.kind];
    uint32_t slab = granule & ~(class->granule_count - 1);
    uint32_t inside = (uint32_t)(address - region_address(slab));
    uint32_t index = inside / class->size_bytes;
    place.size_bytes = class->size_bytes;
    if (index < class->block_count) {
        uint64_t word =
            atomic_load_explicit(&heapslab_words(slab)[index / 64], memory_order_relaxed);
        place.block = region_address(slab) + (size_t)index * class->size_bytes;
        place.is_free = (word >> index % 64 & 1) != 0;
    }
    return place;
}

static struct heapslab_place heapslab_find_large(struct allot_heap *heap, uint32_t granule,
                                                 const char *address) {
    struct heapslab_place place = {.heap = heap, .kind = KIND_LARGE};
    uint32_t first = granule;
    while (heapslab_state(first) != SPAN_LARGE && first > 1 && region_kind(first) == KIND_HEAP &&
           region_span(first)->kind == KIND_LARGE) {
        first--;
    }
    const struct span *span = region_span(first);
    if (heapslab_state(first) == SPAN_LARGE && span->as.owned.heap == heap) {
        place.size_bytes = __atomic_load_n(&span->as.owned.usable_bytes, __ATOMIC_RELAXED);
        bool is_inside = address < region_address(first) + place.size_bytes;
        place.block = is_inside ? region_address(first) : NULL;
    }
    return place;
}

struct heapslab_place heapslab_find(const void *address) {
    uint32_t granule = (uint32_t)region_granule(address);
    const struct span *span = region_span(granule);
    struct allot_heap *heap = __atomic_load_n(&span->as.owned.heap, __ATOMIC_RELAXED);
    switch (span->kind) {
    case KIND_INSIDE: return heapslab_find_mixed(heap, address);
    case KIND_LARGE: return heapslab_find_large(heap, granule, address);
    default: return heapslab_find_slab(heap, granule, address);
    }
}

// ---- Frees by other threads
//
// The heap may be dropped at any moment before. Whoever drops it shuts the gate
// and waits until no one is at work: either the count is seen there, or the gate
// here. Behind the gate the page map tells.

static struct allot_heap *heapslab_enter_remote(uint32_t granule) {
    struct allot_heap *heap =
        __atomic_load_n(&region_span(granule)->as.owned.heap, __ATOMIC_RELAXED);
    for (;;) {
        atomic_fetch_add_explicit(&heap->remote, 1, memory_order_seq_cst);
        if (LIKELY(!atomic_load_explicit(&heap->is_gated, memory_order_seq_cst))) {
            break;
        }
        atomic_fetch_sub_explicit(&heap->remote, 1, memory_order_release);
        while (atomic_load_explicit(&heap->is_gated, memory_order_relaxed)) {
            COMPILER_PAUSE();
        }
    }
    bool is_alive = __atomic_load_n(&region_state.kind[granule], __ATOMIC_SEQ_CST) == KIND_HEAP &&
                    __atomic_load_n(&region_span(granule)->as.owned.heap, __ATOMIC_RELAXED) == heap;
    if (!is_alive) {
        atomic_fetch_sub_explicit(&heap->remote, 1, memory_order_release);
        return NULL;
    }
    return heap;
}

static void heapslab_leave_remote(struct allot_heap *heap, size_t bytes) {
    if (bytes > 0) {
        atomic_fetch_add_explicit(&heap->remote_blocks, 1, memory_order_relaxed);
        if (heap->is_charged) {
            budget_shrink(&heap->budget, (int64_t)bytes);
        }
    }
    atomic_fetch_add_explicit(&heap->remote, ((uint64_t)bytes << HEAP_REMOTE_SHIFT) - 1,
                              memory_order_release);
}

static void heapslab_enqueue(struct allot_heap *heap, uint32_t slab) {
    struct span *span = region_span(slab);
    if (atomic_exchange_explicit(&span->as.owned.is_queued, 1, memory_order_seq_cst) != 0) {
        return;
    }
    uint32_t first = atomic_load_explicit(&heap->queue, memory_order_relaxed);
    do {
        span->as.owned.queue_next = first;
    } while (!atomic_compare_exchange_weak_explicit(&heap->queue, &first, slab,
                                                    memory_order_release, memory_order_relaxed));
}

static bool heapslab_set_remote(struct allot_heap *heap, const struct heapslab_place *place) {
    const struct sizeclass *class = &heap->classes[place->kind];
    uint32_t slab = (uint32_t)region_granule(place->block) & ~(class->granule_count - 1);
    uint32_t index = (uint32_t)((size_t)(place->block - region_address(slab)) / class->size_bytes);
    uint64_t bit = (uint64_t)1 << index % 64;
    uint64_t before =
        atomic_fetch_or_explicit(&heapslab_words(slab)[index / 64], bit, memory_order_seq_cst);
    heapslab_enqueue(heap, slab);
    return (before & bit) == 0;
}

bool heapslab_give_remote(void *block) {
    uint32_t granule = (uint32_t)region_granule(block);
    struct allot_heap *heap = heapslab_enter_remote(granule);
    if (heap == NULL) {
        return false;
    }
    struct heapslab_place place = heapslab_find(block);
    bool is_ours = place.block == block && !place.is_free;
    if (is_ours && place.kind == KIND_LARGE) {
        is_ours = heapslab_end_large(granule);
        if (is_ours) {
            region_set_kind(granule, region_span(granule)->granule_count, KIND_INSIDE);
            heapspan_give(heap, granule);
        }
    } else if (is_ours && region_span(granule)->kind == KIND_INSIDE) {
        is_ours = heapslab_give_mixed(heap, block);
    } else if (is_ours) {
        is_ours = heapslab_set_remote(heap, &place);
    }
    heapslab_leave_remote(heap, is_ours ? place.size_bytes : 0);
    return is_ours;
}

int64_t heapslab_pending_bytes(const struct allot_heap *heap) {
    return (int64_t)(atomic_load_explicit(&heap->remote, memory_order_relaxed) >>
                     HEAP_REMOTE_SHIFT);
}

int64_t heapslab_take_remote(struct allot_heap *heap) {
    if (heapslab_pending_bytes(heap) == 0) {
        return 0;
    }
    uint64_t remote =
        atomic_fetch_and_explicit(&heap->remote, HEAPSLAB_REMOTE_COUNT, memory_order_acq_rel);
    return (int64_t)(remote >> HEAP_REMOTE_SHIFT);
}

// ---- All of it

// Calls visit for each span, which it may give back.
static void heapslab_each_span(struct allot_heap *heap,
                               void (*visit)(struct allot_heap *, uint32_t)) {
    uint32_t next;
    for (uint32_t at = heap->all; at != 0; at = next) {
        next = region_span(at)->as.owned.all_next;
        visit(heap, at);
    }
}

static void heapslab_trim_mixed(struct allot_heap *heap, uint32_t mixed) {
    unsigned live = 0;
    for (uint32_t i = 0; i < heapslab_used_units(heap); i++) {
        uint8_t unit = atomic_load_explicit(&heap->units[i], memory_order_acquire);
        live += unit != 0 && (unit & HEAP_UNIT_FREE) == 0;
    }
    if (live == 0 && heapslab_is_quiet(heap, mixed)) {
        region_set_kind(mixed, 1, KIND_INSIDE);
        heapslab_set_state(mixed, SPAN_NONE);
        heap->mixed = 0;
        heapspan_give(heap, mixed);
    }
}

static void heapslab_trim_span(struct allot_heap *heap, uint32_t first) {
    unsigned kind = region_span(first)->kind;
    if (kind == KIND_LARGE) {
        return;
    }
    if (kind == KIND_INSIDE) {
        heapslab_trim_mixed(heap, first);
        return;
    }
    const struct sizeclass *class = &heap->classes[kind];
    if (heapslab_count_free(class, first) < class->block_count || !heapslab_is_quiet(heap, first)) {
        return;
    }
    if (heapslab_state(first) == SPAN_LEASED) {
        heap->bins[kind].slab = 0;
    } else if (heapslab_state(first) == SPAN_PARTIAL) {
        heapslab_unlink(heap, first);
    }
    heapslab_destroy(heap, first);
}

void heapslab_trim(struct allot_heap *heap) {
    heapslab_shut_gate(heap);
    heapslab_drain(heap);
    heapslab_each_span(heap, heapslab_trim_span);
    heapslab_open_gate(heap);
}

static void heapslab_hide(struct allot_heap *heap, uint32_t first) {
    (void)heap;
    uint32_t count = region_span(first)->granule_count;
    region_set_kind(first, count, KIND_INSIDE);
}

static void heapslab_drop_span(struct allot_heap *heap, uint32_t first) {
    unsigned kind = region_span(first)->kind;
    if (kind == KIND_LARGE || kind == KIND_INSIDE) {
        heapslab_set_state(first, SPAN_NONE);
        heapspan_give(heap, first);
    } else {
        heapslab_destroy(heap, first);
    }
}

void heapslab_drop(struct allot_heap *heap) {
    heapslab_shut_gate(heap);
    heapslab_each_span(heap, heapslab_hide);
    heapslab_open_gate(heap);
    heapslab_each_span(heap, heapslab_drop_span);
}

// ---- Walk

struct heapslab_walk {
    bool (*visit)(void *, size_t, void *);
    void *context;
};

static bool heapslab_walk_mixed(const struct allot_heap *heap, const struct heapslab_walk *walk) {
    for (uint32_t i = 0; i < heapslab_used_units(heap); i++) {
        uint8_t kind = atomic_load_explicit(&heap->units[i], memory_order_acquire);
        if (kind != 0 && (kind & HEAP_UNIT_FREE) == 0 &&
            !walk->visit(heapslab_unit_address(heap, i), heap->classes[kind].size_bytes,
                         walk->context)) {
            return false;
        }
    }
    return true;
}

static bool heapslab_walk_slab(const struct allot_heap *heap, uint32_t slab,
                               const struct heapslab_walk *walk) {
    const struct sizeclass *class = heapslab_class(heap, slab);
    const _Atomic(uint64_t) *words = heapslab_words(slab);
    for (uint32_t i = 0; i < class->block_count; i++) {
        uint64_t word = atomic_load_explicit(&words[i / 64], memory_order_acquire);
        if ((word >> i % 64 & 1) == 0 &&
            !walk->visit(region_address(slab) + (size_t)i * class->size_bytes, class->size_bytes,
                         walk->context)) {
            return false;
        }
    }
    return true;
}

bool heapslab_walk(struct allot_heap *heap, bool (*visit)(void *, size_t, void *), void *context) {
    struct heapslab_walk walk = {visit, context};
    bool goes_on = true;
    heapslab_shut_gate(heap);
    for (uint32_t at = heap->all; at != 0 && goes_on; at = region_span(at)->as.owned.all_next) {
        unsigned kind = region_span(at)->kind;
        if (kind == KIND_INSIDE) {
            goes_on = heapslab_walk_mixed(heap, &walk);
        } else if (kind != KIND_LARGE) {
            goes_on = heapslab_walk_slab(heap, at, &walk);
        } else if (heapslab_state(at) == SPAN_LARGE) {
            goes_on = visit(region_address(at), region_span(at)->as.owned.usable_bytes, context);
        }
    }
    heapslab_open_gate(heap);
    return goes_on;
}

void heapslab_validate(const struct allot_heap *heap) {
    size_t held = (size_t)heap->reserve_count << GRANULE_LOG2;
    for (uint32_t at = heap->all; at != 0; at = region_span(at)->as.owned.all_next) {
        const struct span *span = region_span(at);
        ALLOT_ASSERT(region_kind(at) == KIND_HEAP && span->as.owned.heap == heap);
        bool is_reserve = at - heap->reserve < heap->reserve_count;
        held += is_reserve ? 0 : (size_t)span->granule_count << GRANULE_LOG2;
        if (sizeclass_is_slab(span->kind)) {
            bool is_current = heap->bins[span->kind].slab == at;
            ALLOT_ASSERT(is_current == (heapslab_state(at) == SPAN_LEASED));  // [H3]
        }
    }
    held += heapspan_count_kept(heap);
    ALLOT_ASSERT(held == atomic_load(&heap->held_bytes));  // [H4]
    for (unsigned k = SIZECLASS_FIRST; k < HEAP_KINDS; k++) {
        for (uint32_t at = heap->bins[k].partial; at != 0; at = region_span(at)->list_next) {
            ALLOT_ASSERT(heapslab_state(at) == SPAN_PARTIAL && region_span(at)->kind == k);  // [H3]
        }
    }
}
