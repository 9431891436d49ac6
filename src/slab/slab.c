// slab.c - taking and giving blocks by bits.                               layer 3
#include "slab/slab.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"
#include "slab/twin.h"
#include "slab/words.h"

#include <string.h>

enum {
    SLAB_LOOK_AHEAD = 4,   // entries of a list that are compared: the fullest goes first
    SLAB_GROUPS = 16,      // words that a give collects bits for
    SLAB_AHEAD = 16,       // blocks whose records are fetched ahead
    SLAB_LINE_BLOCKS = 4,  // blocks of 16 bytes in a cache line
};

struct slab_chain {
    uint32_t first, last;
};

struct slab_list {
    struct lock lock;
    struct slab_chain partial;
    struct slab_chain thin;  // taken from only where there is no other
    struct slab_lease common;
} __attribute__((aligned(32)));

static struct {
    slab_report *report;
    uint8_t epoch;          // of forks
    _Atomic(uint8_t) year;  // of 128 that a mark tells apart
    // A class and its twin share a cache line.
    struct slab_list lists[PAGEHEAP_SHARDS_MAX][SIZECLASS_SPAN_FIRST][2];
} slab_state;

// ---- Words

static ALWAYS_INLINE _Atomic(uint64_t) *slab_words(uint32_t slab) {
    return __atomic_load_n(&region_span(slab)->words, __ATOMIC_RELAXED);
}

static ALWAYS_INLINE uint64_t slab_load_word(const _Atomic(uint64_t) *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

// Sequentially consistent: see [S3].
static ALWAYS_INLINE uint64_t slab_set_bits(_Atomic(uint64_t) *word, uint64_t mask) {
    if (os_is_single_threaded()) {
        uint64_t before = slab_load_word(word);
        atomic_store_explicit(word, before | mask, memory_order_relaxed);
        return before;
    }
    return atomic_fetch_or_explicit(word, mask, memory_order_seq_cst);
}

// Acquire: what the giver did to the block happens before its next use.
static ALWAYS_INLINE void slab_clear_bits(_Atomic(uint64_t) *word, uint64_t mask) {
    if (os_is_single_threaded()) {
        atomic_store_explicit(word, slab_load_word(word) & ~mask, memory_order_relaxed);
    } else {
        atomic_fetch_and_explicit(word, ~mask, memory_order_acq_rel);
    }
}

static unsigned slab_count_free(const struct sizeclass *class, uint32_t slab) {
    const _Atomic(uint64_t) *words = slab_words(slab);
    unsigned count = 0;
    for (unsigned i = 0; i < class->word_count; i++) {
        count += bits_count(atomic_load_explicit(&words[i], memory_order_seq_cst));
    }
    return count;
}

// Acquire: what every giver did to its blocks happens before their next use.
// Of two givers of the last blocks, one at least sees the other's bits.
static ALWAYS_INLINE uint64_t slab_load_word_acquire(const _Atomic(uint64_t) *word) {
    return atomic_load_explicit(word, memory_order_seq_cst);
}

static bool slab_is_all_free(const struct sizeclass *class, uint32_t slab) {
    const _Atomic(uint64_t) *words = slab_words(slab);
    for (unsigned i = 0; i + 1u < class->word_count; i++) {
        if (slab_load_word_acquire(&words[i]) != UINT64_MAX) {
            return false;
        }
    }
    return slab_load_word_acquire(&words[class->word_count - 1]) == class->last_word;
}

// ---- States
//
// A lessee that leaves and comes back may find that its slab was freed as a
// whole, and that another one stands in its place: the generation tells.

static ALWAYS_INLINE enum span_state slab_state_of(uint32_t state) {
    return (enum span_state)(state & ((1u << SPAN_STATE_BITS) - 1));
}

// The same generation in another state.
static ALWAYS_INLINE uint32_t slab_state_as(uint32_t state, enum span_state other) {
    return (state & ~((1u << SPAN_STATE_BITS) - 1)) | other;
}

static ALWAYS_INLINE uint32_t slab_load_state(const struct span *span) {
    return atomic_load_explicit(&span->state, memory_order_seq_cst);
}

// False if the state is not, or no longer, `from`.
static bool slab_change_state(struct span *span, uint32_t from, enum span_state to) {
    return atomic_compare_exchange_strong_explicit(&span->state, &from, slab_state_as(from, to),
                                                   memory_order_seq_cst, memory_order_relaxed);
}

// The lessee gives the slab up. Returns the state that it now has.
static uint32_t slab_give_up(struct span *span) {
    uint32_t full =
        slab_state_as(atomic_load_explicit(&span->state, memory_order_relaxed), SPAN_FULL);
    atomic_exchange_explicit(&span->state, full, memory_order_seq_cst);
    return full;
}

// ---- Creation and end

static uint32_t slab_create(unsigned kind, unsigned shard) {
    const struct sizeclass *class = &sizeclass_table[kind];
    bool is_zero;
    uint32_t slab =
        pageheap_take(shard, class->granule_count, class->granule_count, PAGEHEAP_DENSE, &is_zero);
    if (slab == 0) {
        return 0;
    }
    struct span *span = region_span(slab);
    if (!twin_attach_words(span, kind)) {
        pageheap_give(slab);
        return 0;
    }
    for (unsigned i = 0; i + 1u < class->word_count; i++) {
        atomic_store_explicit(&span->words[i], UINT64_MAX, memory_order_relaxed);
    }
    atomic_store_explicit(&span->words[class->word_count - 1], class->last_word,
                          memory_order_relaxed);
    __atomic_store_n(&span->kind, (uint8_t)kind, __ATOMIC_RELAXED);
    if (sizeclass_is_twin(kind)) {
        twin_describe(slab, kind);
    }
    span->is_listed = false;
    span->generation++;
    region_set_kind(slab, class->granule_count, sizeclass_is_twin(kind) ? KIND_TAGGED : kind);
    atomic_store_explicit(&span->state, SPAN_LEASED | (uint32_t)span->generation << SPAN_STATE_BITS,
                          memory_order_release);
    return slab;
}

// No thread holds a block of it, and it is on no list.
static void slab_release(unsigned kind, uint32_t slab) {
    const struct sizeclass *class = &sizeclass_table[kind];
    region_set_kind(slab, class->granule_count, KIND_INSIDE);
    twin_detach_words(region_span(slab), kind);
    pageheap_give(slab);
}

// ---- Lists. The lock of the list is held.

static struct slab_list *slab_list_at(unsigned kind, unsigned shard) {
    bool is_twin = sizeclass_is_twin(kind);
    return &slab_state.lists[shard][is_twin ? kind - SIZECLASS_TWIN : kind][is_twin];
}

static struct slab_list *slab_list_of(unsigned kind, uint32_t slab) {
    return slab_list_at(kind, region_owner(slab));
}

// The mark of a listed slab: the year in which it was listed, times two; plus one
// if it is thin.
static uint8_t slab_mark(bool is_thin) {
    unsigned year = atomic_load_explicit(&slab_state.year, memory_order_relaxed);
    return (uint8_t)(year * 2 + is_thin);
}

static struct slab_chain *slab_chain_of(struct slab_list *list, uint8_t mark) {
    return mark % 2 != 0 ? &list->thin : &list->partial;
}

static void slab_link(struct slab_list *list, uint32_t slab, bool is_thin) {
    uint8_t mark = slab_mark(is_thin);
    struct slab_chain *chain = slab_chain_of(list, mark);
    struct span *span = region_span(slab);
    span->list_prev = 0;
    span->list_next = chain->first;
    if (chain->first != 0) {
        region_span(chain->first)->list_prev = slab;
    } else {
        chain->last = slab;
    }
    __atomic_store_n(&chain->first, slab, __ATOMIC_RELAXED);
    span->is_listed = true;
    span->list_epoch = slab_state.epoch;
    __atomic_store_n(&span->list_mark, mark, __ATOMIC_RELAXED);
}

static void slab_unlink(struct slab_list *list, uint32_t slab) {
    struct span *span = region_span(slab);
    struct slab_chain *chain = slab_chain_of(list, span->list_mark);
    if (span->list_next != 0) {
        region_span(span->list_next)->list_prev = span->list_prev;
    } else {
        chain->last = span->list_prev;
    }
    if (span->list_prev != 0) {
        region_span(span->list_prev)->list_next = span->list_next;
    } else {
        __atomic_store_n(&chain->first, span->list_next, __ATOMIC_RELAXED);
    }
    span->is_listed = false;
}

static bool slab_is_on_list(const struct span *span) {
    return span->is_listed && span->list_epoch == slab_state.epoch;
}

// The caller has made the slab PARTIAL, so it is in use and keeps its kind; a
// giver that was late may have known another one.
static NOINLINE void slab_enlist(uint32_t slab, bool is_thin) {
    struct span *span = region_span(slab);
    unsigned kind = span->kind;
    struct slab_list *list = slab_list_of(kind, slab);
    lock_take(&list->lock);
    if (slab_is_all_free(&sizeclass_table[kind], slab)) {
        atomic_store_explicit(&span->state, SPAN_NONE, memory_order_relaxed);
        lock_give(&list->lock);
        slab_release(kind, slab);
        return;
    }
    slab_link(list, slab, is_thin);
    lock_give(&list->lock);
}

static unsigned slab_kind_at(uint32_t slab) {
    unsigned kind = __atomic_load_n(&region_state.kind[slab], __ATOMIC_ACQUIRE);
    return kind == KIND_TAGGED ? twin_kind(slab) : kind;
}

// The kind read between two equal states is that of their generation. While the
// lock of its list is held, a PARTIAL slab keeps both.
static bool slab_is_listed_as(unsigned kind, uint32_t slab) {
    const struct span *span = region_span(slab);
    uint32_t state = slab_load_state(span);
    return slab_state_of(state) == SPAN_PARTIAL && slab_kind_at(slab) == kind &&
           slab_load_state(span) == state && slab_is_on_list(span);
}

// A listed slab seems to be free as a whole: takes it out and releases it. Other
// givers may have done so, and the span may be another slab by now.
static NOINLINE void slab_delist(unsigned kind, uint32_t slab) {
    struct slab_list *list = slab_list_of(kind, slab);
    lock_take(&list->lock);
    bool is_ours = slab_is_listed_as(kind, slab) && slab_is_all_free(&sizeclass_table[kind], slab);
    if (is_ours) {
        slab_unlink(list, slab);
        atomic_store_explicit(&region_span(slab)->state, SPAN_NONE, memory_order_relaxed);
    }
    lock_give(&list->lock);
    if (is_ours) {
        slab_release(kind, slab);
    }
}

// The fullest of the first few: emptier ones get the time to become free.
static uint32_t slab_choose(const struct sizeclass *class, uint32_t first) {
    uint32_t best = first;
    unsigned best_free = UINT32_MAX;
    uint32_t at = first;
    for (int i = 0; i < SLAB_LOOK_AHEAD && at != 0; i++) {
        unsigned free = slab_count_free(class, at);
        if (free < best_free) {
            best_free = free;
            best = at;
        }
        at = region_span(at)->list_next;
    }
    return best;
}

static uint32_t slab_first(const struct slab_list *list) {
    uint32_t first = __atomic_load_n(&list->partial.first, __ATOMIC_RELAXED);
    return first != 0 ? first : __atomic_load_n(&list->thin.first, __ATOMIC_RELAXED);
}

static uint32_t slab_lease_listed(struct slab_list *list, uint32_t slab) {
    struct span *span = region_span(slab);
    slab_unlink(list, slab);
    uint32_t state = slab_load_state(span);
    atomic_store_explicit(&span->state, slab_state_as(state, SPAN_LEASED), memory_order_seq_cst);
    return slab;
}

static uint32_t slab_pop_locked(unsigned kind, struct slab_list *list) {
    uint32_t first = slab_first(list);
    return first != 0 ? slab_lease_listed(list, slab_choose(&sizeclass_table[kind], first)) : 0;
}

static uint32_t slab_pop(unsigned kind, unsigned shard) {
    struct slab_list *list = slab_list_at(kind, shard);
    if (slab_first(list) == 0) {
        return 0;
    }
    lock_take(&list->lock);
    uint32_t slab = slab_pop_locked(kind, list);
    lock_give(&list->lock);
    return slab;
}

// A partial slab of this shard, of a neighbour, or a new one.
static uint32_t slab_obtain(unsigned kind, unsigned shard, struct slab_list *held) {
    uint32_t slab = held != NULL ? slab_pop_locked(kind, held) : slab_pop(kind, shard);
    unsigned shards = pageheap_shard_count();
    for (unsigned i = 1; i < shards && slab == 0 && held == NULL; i++) {
        slab = slab_pop(kind, (shard + i) % shards);
    }
    return slab != 0 ? slab : slab_create(kind, shard);
}

// ---- Lease

// Leaves the slab FULL, unless enough was given back meanwhile. True: the
// lease goes on.
static bool slab_try_leave(const struct sizeclass *class, uint32_t slab) {
    struct span *span = region_span(slab);
    uint32_t full = slab_give_up(span);
    return slab_count_free(class, slab) >= class->listed_count &&
           slab_change_state(span, full, SPAN_LEASED);
}

static void slab_end_lease(unsigned kind, uint32_t slab, bool is_thin) {
    struct span *span = region_span(slab);
    uint32_t full = slab_give_up(span);
    const struct sizeclass *class = &sizeclass_table[kind];
    if (slab_count_free(class, slab) >= class->listed_count &&
        slab_change_state(span, full, SPAN_PARTIAL)) {
        slab_enlist(slab, is_thin);
    }
}

void slab_leave(unsigned kind, struct slab_lease *lease) {
    uint32_t slab = lease->slab;
    lease->slab = 0;
    lease->word = 0;
    if (slab != 0) {
        slab_end_lease(kind, slab, false);
    }
}

void slab_end_year(void) {
    atomic_fetch_add_explicit(&slab_state.year, 1, memory_order_relaxed);
}

uint32_t slab_take_oldest(unsigned kind, unsigned shard, unsigned years, bool is_thin) {
    struct slab_list *list = slab_list_at(kind, shard);
    uint8_t mark = slab_mark(is_thin);
    struct slab_chain *chain = slab_chain_of(list, mark);
    uint32_t slab = 0;
    if (__atomic_load_n(&chain->first, __ATOMIC_RELAXED) == 0) {
        return 0;
    }
    lock_take(&list->lock);
    uint32_t last = chain->last;
    if (last != 0 && (uint8_t)(mark - region_span(last)->list_mark) / 2 >= years) {
        slab = slab_lease_listed(list, last);
    }
    lock_give(&list->lock);
    return slab;
}

void slab_put_back(unsigned kind, uint32_t slab) {
    slab_end_lease(kind, slab, true);
}

// Bits of whole cache lines only: no two threads' first blocks lie in one. Four
// blocks of 16, 32 or 48 bytes fill lines, of 8 bytes it takes eight.
static uint64_t slab_whole_lines(uint64_t bits, size_t size) {
    bits &= bits >> 1;
    bits &= bits >> 2;
    if (size * SLAB_LINE_BLOCKS < CACHE_LINE_BYTES) {
        bits &= bits >> 4;
        return (bits & 0x0101010101010101u) * UINT8_MAX;
    }
    return (bits & 0x1111111111111111u) * ((1u << SLAB_LINE_BLOCKS) - 1);
}

struct slab_taking {
    void **end;
    unsigned want;
    bool only_whole_lines;
};

// Takes from one word; returns how many.
static ALWAYS_INLINE unsigned slab_take_word(_Atomic(uint64_t) *word, char *blocks, size_t size,
                                             struct slab_taking *taking) {
    uint64_t bits = slab_load_word(word);
    if (taking->only_whole_lines) {
        bits = slab_whole_lines(bits, size);
    }
    if (bits == 0) {
        return 0;
    }
    uint64_t rest = bits;
    void **to = taking->end;
    unsigned want = taking->want;
    if (bits == UINT64_MAX && want >= 64) {
        for (unsigned i = 0; i < 64; i++, blocks += size) {
            *--to = blocks;
        }
        rest = 0;
    } else {
        for (; rest != 0 && want > 0; want--, rest &= rest - 1) {
            *--to = blocks + bits_lowest(rest) * size;
        }
    }
    slab_clear_bits(word, bits & ~rest);
    unsigned count = (unsigned)(taking->end - to);
    taking->end = to;
    taking->want -= count;
    return count;
}

// Takes from the leased slab only.
static unsigned slab_take_leased(const struct sizeclass *class, struct slab_lease *lease,
                                 struct slab_taking *taking) {
    _Atomic(uint64_t) *words = slab_words(lease->slab);
    char *blocks = region_address(lease->slab);
    size_t size = class->size_bytes;
    unsigned count = 0;
    unsigned i = lease->word;
    for (; i < class->word_count; i++) {
        count += slab_take_word(&words[i], blocks + (size_t)i * 64 * size, size, taking);
        if (taking->want == 0) {
            break;
        }
    }
    lease->word = (uint16_t)i;
    return count;
}

static unsigned slab_refill(unsigned kind, unsigned shard, struct slab_lease *lease,
                            struct slab_taking *taking, struct slab_list *held) {
    const struct sizeclass *class = &sizeclass_table[kind];
    for (;;) {
        if (lease->slab != 0) {
            unsigned count = slab_take_leased(class, lease, taking);
            if (count > 0) {
                // Frees may have come in behind us: look again next time.
                lease->word = taking->want > 0 ? 0 : lease->word;
                return count;
            }
            lease->word = 0;
            bool goes_on = taking->only_whole_lines || slab_try_leave(class, lease->slab);
            taking->only_whole_lines = false;
            if (goes_on) {
                continue;
            }
        }
        lease->slab = slab_obtain(kind, shard, held);
        if (lease->slab == 0) {
            return 0;
        }
        twin_set_lessee(lease->slab, kind, lease->lessee);
    }
}

unsigned slab_take(unsigned kind, unsigned shard, struct slab_lease *lease, void **end,
                   unsigned want) {
    struct slab_taking taking = {end, want, false};
    return slab_refill(kind, shard, lease, &taking, NULL);
}

unsigned slab_take_common(unsigned kind, unsigned shard, uint16_t lessee, void **end,
                          unsigned want) {
    struct slab_list *list = slab_list_at(kind, shard);
    bool lines = sizeclass_table[kind].size_bytes < CACHE_LINE_BYTES && want >= SLAB_LINE_BLOCKS;
    struct slab_taking taking = {end, want, lines};
    lock_take(&list->lock);
    list->common.lessee = lessee;
    if (list->common.slab != 0) {
        twin_set_lessee(list->common.slab, kind, lessee);
    }
    unsigned count = slab_refill(kind, shard, &list->common, &taking, list);
    lock_give(&list->lock);
    return count;
}

bool slab_is_common_busy(unsigned kind, unsigned shard) {
    return lock_is_held(&slab_list_at(kind, shard)->lock);
}

// ---- Give

static COLD void slab_report_bits(const struct sizeclass *class, uint32_t slab, unsigned word,
                                  uint64_t bits) {
    for (; bits != 0; bits &= bits - 1) {
        size_t index = (size_t)word * 64 + bits_lowest(bits);
        slab_state.report(region_address(slab) + index * class->size_bytes, SLAB_DOUBLE_FREE);
    }
}

struct slab_group {
    uint32_t slab;
    uint32_t word;
    uint64_t bits;
};

struct slab_table {
    unsigned used;  // bit by bit: which of them
    struct slab_group groups[SLAB_GROUPS];
};

static void slab_give_group(unsigned kind, const struct slab_group *group) {
    const struct sizeclass *class = &sizeclass_table[kind];
    struct span *span = region_span(group->slab);
    uint64_t before = slab_set_bits(&slab_words(group->slab)[group->word], group->bits);
    if (UNLIKELY((before & group->bits) != 0)) {
        slab_report_bits(class, group->slab, group->word, before & group->bits);
    }
    uint32_t state = slab_load_state(span);
    uint64_t after = before | group->bits;
    if (slab_state_of(state) == SPAN_FULL) {
        if (slab_count_free(class, group->slab) >= class->listed_count &&
            slab_change_state(span, state, SPAN_PARTIAL)) {
            slab_enlist(group->slab, false);
        }
    } else if (slab_state_of(state) == SPAN_PARTIAL &&
               (after == UINT64_MAX || after == class->last_word) &&
               slab_is_all_free(class, group->slab)) {
        slab_delist(kind, group->slab);
    }
}

static ALWAYS_INLINE void slab_prefetch(const struct sizeclass *class, const void *block) {
    uintptr_t offset = (uintptr_t)block - region_state.base;
    PREFETCH_WRITE(&region_state.spans[(offset & -(uintptr_t) class->slab_bytes) >> GRANULE_LOG2]);
}

// The bits of neighbouring blocks are collected and given at once; groups that
// are not neighbours in the array meet in a small table. Returns how many of
// the blocks another thread leased.
static ALWAYS_INLINE unsigned slab_collect(unsigned kind, struct slab_table *table,
                                           const struct slab_group *group, uint16_t lessee) {
    uint16_t owner = atomic_load_explicit(&region_span(group->slab)->lessee, memory_order_relaxed);
    unsigned others = owner != lessee && owner != 0 ? bits_count(group->bits) : 0;
    unsigned slot = (group->slab * 5 + group->word) % SLAB_GROUPS;
    struct slab_group *entry = &table->groups[slot];
    bool is_used = (table->used >> slot & 1) != 0;
    if (is_used && entry->slab == group->slab && entry->word == group->word) {
        uint64_t twice = entry->bits & group->bits;
        if (UNLIKELY(twice != 0)) {
            slab_report_bits(&sizeclass_table[kind], group->slab, group->word, twice);
        }
        entry->bits |= group->bits;
        return others;
    }
    if (is_used) {
        slab_give_group(kind, entry);
    }
    table->used |= 1u << slot;
    *entry = *group;
    return others;
}

// Blocks of one word that follow each other in the array.
struct slab_run {
    struct slab_group group;
    uintptr_t first;  // address of the word's first block
    size_t bytes;     // from there, that are blocks of the word
};

// A run of one block. False: it is none.
static ALWAYS_INLINE bool slab_begin_run(const struct sizeclass *class, struct slab_run *run,
                                         void *block) {
    uintptr_t offset = (uintptr_t)block - region_state.base;
    uint32_t size = class->size_bytes;
    uint32_t inside = (uint32_t)offset & (class->slab_bytes - 1);
    uint32_t index = (uint32_t)(inside * (uint64_t) class->reciprocal >> 32);
    if (UNLIKELY(index * size != inside || index >= class->block_count)) {
        slab_state.report(block, SLAB_BAD_POINTER);
        return false;
    }
    uint32_t word = index / 64;
    uint32_t word_blocks = word + 1 < class->word_count ? 64 : class->block_count - word * 64;
    run->group.slab = (uint32_t)((offset - inside) >> GRANULE_LOG2);
    run->group.word = word;
    run->group.bits = (uint64_t)1 << index % 64;
    run->first = (uintptr_t)block - (size_t)(index % 64) * size;
    run->bytes = (size_t)word_blocks * size;
    return true;
}

// Adds the blocks that follow. Returns how many there are.
static ALWAYS_INLINE unsigned slab_extend_run(const struct sizeclass *class, struct slab_run *run,
                                              void *const *blocks, unsigned count) {
    const uint64_t reciprocal = class->reciprocal;
    const size_t size = class->size_bytes;
    uint64_t bits = run->group.bits;
    unsigned i = 0;
    for (; i < count; i++) {
        size_t inside = (uintptr_t)blocks[i] - run->first;
        if (inside >= run->bytes) {
            break;
        }
        size_t index = inside * reciprocal >> 32;
        uint64_t bit = (uint64_t)1 << index % 64;
        if (UNLIKELY(index * size != inside)) {
            slab_state.report(blocks[i], SLAB_BAD_POINTER);
        } else if (UNLIKELY((bits & bit) != 0)) {
            slab_state.report(blocks[i], SLAB_DOUBLE_FREE);
        } else {
            bits |= bit;
        }
    }
    run->group.bits = bits;
    return i;
}

unsigned slab_give(unsigned kind, void *const *blocks, unsigned count, uint16_t lessee) {
    const struct sizeclass *class = &sizeclass_table[kind];
    struct slab_table table;
    unsigned others = 0;
    table.used = 0;
    // Blocks that were freed in order need few records.
    uintptr_t apart = (uintptr_t)blocks[0] ^ (uintptr_t)blocks[count / 2];
    unsigned ahead = apart >> GRANULE_LOG2 == 0 ? count : SLAB_AHEAD;
    for (unsigned i = 0; ahead < count && i < ahead; i++) {
        slab_prefetch(class, blocks[i]);
    }
    for (unsigned i = 0; i < count;) {
        struct slab_run run;
        if (count - i > ahead) {
            slab_prefetch(class, blocks[i + ahead]);
        }
        bool is_block = slab_begin_run(class, &run, blocks[i++]);
        if (LIKELY(is_block)) {
            i += slab_extend_run(class, &run, blocks + i, count - i);
            others += slab_collect(kind, &table, &run.group, lessee);
        }
    }
    for (; table.used != 0; table.used &= table.used - 1) {
        slab_give_group(kind, &table.groups[bits_lowest(table.used)]);
    }
    return others;
}

// ---- Looking

struct slab_place slab_find(unsigned kind, const void *address) {
    const struct sizeclass *class = &sizeclass_table[kind];
    uintptr_t offset = (uintptr_t)address - region_state.base;
    uint32_t inside = (uint32_t)(offset & (class->slab_bytes - 1));
    uint32_t index = inside / class->size_bytes;
    return (struct slab_place){
        .slab = (uint32_t)((offset - inside) >> GRANULE_LOG2),
        .index = index,
        .offset_bytes = inside - index * class->size_bytes,
        .is_block = index < class->block_count,
    };
}

bool slab_is_free(unsigned kind, const void *block) {
    struct slab_place place = slab_find(kind, block);
    return place.is_block &&
           (slab_load_word(&slab_words(place.slab)[place.index / 64]) >> place.index % 64 & 1) != 0;
}

bool slab_is_thin(uint32_t slab) {
    const struct span *span = region_span(slab);
    return slab_state_of(slab_load_state(span)) == SPAN_PARTIAL &&
           __atomic_load_n(&span->list_mark, __ATOMIC_RELAXED) % 2 != 0;
}

void slab_each(slab_visit *visit, void *context) {
    uint32_t top = region_top();
    for (uint32_t g = 1; g < top;) {
        unsigned kind = slab_kind_at(g);
        if (!sizeclass_is_slab(kind) && !sizeclass_is_twin(kind)) {
            g++;
            continue;
        }
        uint32_t count = sizeclass_table[kind].granule_count;
        if (g % count == 0) {
            visit(kind, g, context);
        }
        g += count - g % count;
    }
}

static void slab_add_stats(unsigned kind, uint32_t slab, void *context) {
    struct slab_stats *stats = context;
    const struct sizeclass *class = &sizeclass_table[kind];
    unsigned free = slab_count_free(class, slab);
    free = free < class->block_count ? free : class->block_count;
    stats->taken_blocks += class->block_count - free;
    stats->taken_bytes += (uint64_t)(class->block_count - free) * class->size_bytes;
    stats->free_bytes += (uint64_t)free * class->size_bytes;
    stats->slab_count++;
}

void slab_read_stats(struct slab_stats *stats) {
    *stats = (struct slab_stats){0};
    pageheap_hold();
    slab_each(slab_add_stats, stats);
    pageheap_let_go();
}

static void slab_add_class(unsigned kind, uint32_t slab, void *context) {
    unsigned plain = sizeclass_is_twin(kind) ? kind - SIZECLASS_TWIN : kind;
    struct slab_class_stats *stats = (struct slab_class_stats *)context + (plain - SIZECLASS_FIRST);
    const struct sizeclass *class = &sizeclass_table[kind];
    unsigned free = slab_count_free(class, slab);
    free = free < class->block_count ? free : class->block_count;
    stats->slab_count++;
    stats->nonfull_count += free > 0;
    stats->taken_blocks += class->block_count - free;
    stats->nonfull_free += free;
}

void slab_read_classes(struct slab_class_stats *stats) {
    memset(stats, 0, SIZECLASS_SLABS * sizeof *stats);
    pageheap_hold();
    slab_each(slab_add_class, stats);
    pageheap_let_go();
}

bool slab_look_at(struct slab_look *look, const void *block) {
    size_t granule = region_granule(block);
    if (!region_contains(granule)) {
        return false;
    }
    look->kind = region_kind(granule);
    if (!sizeclass_is_slab(look->kind) || !slab_is_taken(look->kind, block)) {
        return false;
    }
    uint32_t slab = slab_find(look->kind, block).slab;
    look->free_count = slab_count_free(&sizeclass_table[look->kind], slab);
    look->is_partial = slab_state_of(slab_load_state(region_span(slab))) == SPAN_PARTIAL;
    return true;
}

void slab_init(slab_report *report) {
    slab_state.report = report;
}

void slab_fault(void *block, enum slab_fault fault) {
    slab_state.report(block, fault);
}

// ---- fork

void slab_repair(void) {
    slab_state.epoch++;
    words_repair();
    twin_repair();
    memset(slab_state.lists, 0, sizeof slab_state.lists);
}

static void slab_relist_one(unsigned kind, uint32_t slab, void *context) {
    slab_is_leased *const *is_leased = context;
    struct span *span = region_span(slab);
    if (slab_state_of(slab_load_state(span)) == SPAN_LEASED && !(*is_leased)(kind, slab)) {
        struct slab_lease lost = {.slab = slab};
        slab_leave(kind, &lost);
        return;
    }
    if (slab_state_of(slab_load_state(span)) == SPAN_PARTIAL && !slab_is_on_list(span)) {
        slab_enlist(slab, false);
    }
}

void slab_relist(slab_is_leased *is_leased) {
    slab_each(slab_relist_one, &is_leased);
}

static void slab_validate_one(unsigned kind, uint32_t slab, void *context) {
    (void)context;
    const struct sizeclass *class = &sizeclass_table[kind];
    const struct span *span = region_span(slab);
    enum span_state state = slab_state_of(slab_load_state(span));
    uint64_t last = slab_load_word(&slab_words(slab)[class->word_count - 1]);
    ALLOT_ASSERT((last & ~class->last_word) == 0);                                           // [S1]
    ALLOT_ASSERT(!slab_is_on_list(span) || state == SPAN_PARTIAL);                           // [S2]
    ALLOT_ASSERT(state != SPAN_FULL || slab_count_free(class, slab) < class->listed_count);  // [S3]
}

void slab_validate(void) {
    slab_each(slab_validate_one, NULL);
}
