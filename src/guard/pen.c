// pen.c - spans in which guarded blocks live.                              layer 7
#include "guard/pen.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"

enum {
    PEN_REDZONE_BYTES = 16,  // at least, on either side
    PEN_ALIGN_BYTES = 16,
    PEN_SLOTS_MIN = 16,
    PEN_READY_MAX = 1024,
};
#define PEN_SLOT_MAX (8 * KIB)      // larger blocks are fenced
#define PEN_OPEN_REDZONE_BYTES KIB  // where there can be no fences

struct pen {
    struct pen *next;          // all pens; only grows
    uint32_t first, granules;  // of a fenced block that is gone: 0
    uint32_t slot_bytes;       // 0: one fenced block
    _Atomic(uint32_t) used;    // records that were ever in use
    uint32_t slot_count;
    struct guarded *records;
};

struct pen_class {
    struct lock lock;
    struct guarded *free;
    struct pen *fresh;  // has slots that were never used
};

static struct {
    struct pen_class classes[SIZECLASS_END];  // by class of the slot; 0: pens of fenced blocks
    _Atomic(struct pen *) all;
    _Atomic(bool) is_warned;
    // Fenced pens of one page which keep their fences: another block costs two system
    // calls, where a new pen costs four.
    struct lock ready_lock;
    struct guarded *ready;
    uint32_t ready_count;
} pen_state;

static void pen_publish(struct pen *pen) {
    struct pen *first = atomic_load_explicit(&pen_state.all, memory_order_relaxed);
    do {
        pen->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&pen_state.all, &first, pen,
                                                    memory_order_release, memory_order_relaxed));
}

static void pen_claim(struct pen *pen, uint32_t first, uint32_t granules) {
    pen->first = first;
    pen->granules = granules;
    for (uint32_t g = first; g < first + granules; g++) {
        atomic_store_explicit(&region_span(g)->state, SPAN_NONE, memory_order_relaxed);
        __atomic_store_n(&region_span(g)->as.pen, pen, __ATOMIC_RELAXED);
    }
    atomic_thread_fence(memory_order_release);
    region_set_kind(first, granules, KIND_PEN);
}

static struct pen *pen_make(uint32_t record_count) {
    struct pen *pen = region_take_meta(sizeof *pen);
    struct guarded *records = region_take_meta(record_count * sizeof *records);
    if (pen == NULL || records == NULL) {
        return NULL;
    }
    pen->slot_count = record_count;
    pen->records = records;
    for (uint32_t i = 0; i < record_count; i++) {
        records[i].pen = pen;
    }
    return pen;
}

// ---- Slots

static struct pen *pen_make_slots(unsigned shard, uint32_t slot_bytes) {
    size_t least = (size_t)slot_bytes * PEN_SLOTS_MIN;
    size_t bytes = CONFIG_TINY ? GRANULE_BYTES : 4 * GRANULE_BYTES;
    bytes = bits_round_up(least > bytes ? least : bytes, GRANULE_BYTES);
    uint32_t granules = (uint32_t)(bytes >> GRANULE_LOG2);
    bool is_zero;
    uint32_t first = pageheap_take(shard, granules, 1, PAGEHEAP_PLAIN, &is_zero);
    struct pen *pen = first != 0 ? pen_make((uint32_t)(bytes / slot_bytes)) : NULL;
    if (pen == NULL) {
        if (first != 0) {
            atomic_store_explicit(&region_span(first)->state, SPAN_NONE, memory_order_relaxed);
            pageheap_give(first);
        }
        return NULL;
    }
    pen->slot_bytes = slot_bytes;
    pen_claim(pen, first, granules);
    pen_publish(pen);
    return pen;
}

// The lock of the class is held. Each step leaves lists that a fork may copy.
static struct guarded *pen_take_slot(struct pen_class *class, unsigned shard, uint32_t slot_bytes) {
    struct guarded *guarded = class->free;
    if (guarded != NULL) {
        class->free = guarded->next;
        return guarded;
    }
    struct pen *pen = class->fresh;
    uint32_t used =
        pen != NULL ? atomic_load_explicit(&pen->used, memory_order_relaxed) : UINT32_MAX;
    if (pen == NULL || used == pen->slot_count) {
        pen = class->fresh = pen_make_slots(shard, slot_bytes);
        used = 0;
    }
    if (pen == NULL) {
        return NULL;
    }
    atomic_store_explicit(&pen->used, used + 1, memory_order_release);
    return &pen->records[used];
}

static struct guarded *pen_take_in_slot(unsigned shard, size_t align, size_t size_bytes) {
    size_t room = (size_t)2 * PEN_REDZONE_BYTES + size_bytes + align - PEN_ALIGN_BYTES;
    unsigned kind = sizeclass_of(room);
    uint32_t slot_bytes = sizeclass_table[kind].size_bytes;
    struct pen_class *class = &pen_state.classes[kind];
    lock_take(&class->lock);
    struct guarded *guarded = pen_take_slot(class, shard, slot_bytes);
    lock_give(&class->lock);
    if (guarded == NULL) {
        return NULL;
    }
    const struct pen *pen = guarded->pen;
    guarded->low = region_address(pen->first) + (size_t)(guarded - pen->records) * slot_bytes;
    guarded->high = guarded->low + slot_bytes;
    guarded->block = (char *)bits_round_up((uintptr_t)guarded->low + PEN_REDZONE_BYTES, align);
    return guarded;
}

// ---- Fences

static COLD void pen_warn(void) {
    if (!atomic_exchange_explicit(&pen_state.is_warned, true, memory_order_relaxed)) {
        check_say("allot: warning: no guard pages can be made; blocks have redzones only");
    }
}

// Fences [from, to), if that is a page or more.
static bool pen_fence(char *from, char *to) {
    if (from < to && os_fence(from, (size_t)(to - from)) != 0) {
        pen_warn();
        return false;
    }
    return true;
}

// A pen whose block is gone, or a new one.
static struct pen *pen_take_spare(void) {
    struct pen_class *class = &pen_state.classes[0];
    lock_take(&class->lock);
    struct guarded *guarded = class->free;
    if (guarded != NULL) {
        class->free = guarded->next;
    }
    lock_give(&class->lock);
    if (guarded != NULL) {
        return guarded->pen;
    }
    struct pen *pen = pen_make(1);
    if (pen != NULL) {
        atomic_store_explicit(&pen->used, 1, memory_order_relaxed);
        pen_publish(pen);
    }
    return pen;
}

static void pen_give_spare(struct guarded *guarded) {
    struct pen_class *class = &pen_state.classes[0];
    lock_take(&class->lock);
    guarded->next = class->free;
    class->free = guarded;
    lock_give(&class->lock);
}

// Where a fence cannot be, a redzone is.
static void pen_fence_around(struct guarded *guarded, char *low, char *high) {
    const struct pen *pen = guarded->pen;
    char *begin = region_address(pen->first);
    char *end = begin + ((size_t)pen->granules << GRANULE_LOG2);
    size_t below = (size_t)(low - begin);
    size_t above = (size_t)(end - high);
    size_t most = PEN_OPEN_REDZONE_BYTES;
    guarded->low = pen_fence(begin, low) ? low : low - (below < most ? below : most);
    guarded->high = pen_fence(high, end) ? high : high + (above < most ? above : most);
}

static struct guarded *pen_take_ready(size_t page) {
    lock_take(&pen_state.ready_lock);
    struct guarded *guarded = pen_state.ready;
    if (guarded != NULL) {
        pen_state.ready = guarded->next;
        pen_state.ready_count--;
    }
    lock_give(&pen_state.ready_lock);
    if (guarded != NULL && os_unfence(guarded->low, page) != 0) {
        return NULL;  // it is lost
    }
    return guarded;
}

static bool pen_make_ready(struct guarded *guarded) {
    size_t page = os_page_bytes();
    bool is_fenced = (uintptr_t)guarded->low % page == 0 &&
                     (size_t)(guarded->high - guarded->low) == page && guarded->is_closed;
    bool is_one =
        (size_t)guarded->pen->granules << GRANULE_LOG2 == bits_round_up(3 * page, GRANULE_BYTES);
    lock_take(&pen_state.ready_lock);
    bool is_ready = is_fenced && is_one && pen_state.ready_count < PEN_READY_MAX;
    if (is_ready) {
        atomic_store_explicit(&guarded->state, GUARDED_FREE, memory_order_relaxed);
        guarded->next = pen_state.ready;
        pen_state.ready = guarded;
        pen_state.ready_count++;
    }
    lock_give(&pen_state.ready_lock);
    return is_ready;
}

static struct guarded *pen_take_fenced(unsigned shard, size_t align, size_t size_bytes) {
    size_t page = os_page_bytes();
    size_t lead = align > page ? align : page;  // before what can be touched
    size_t least = size_bytes > 0 ? size_bytes : 1;
    if (size_bytes > LARGE_MAX_BYTES) {
        return NULL;
    }
    size_t data = bits_round_up(least, page);
    size_t unit = lead > GRANULE_BYTES ? lead >> GRANULE_LOG2 : 1;
    size_t round = page > GRANULE_BYTES ? page : GRANULE_BYTES;
    size_t granules = bits_round_up(lead + data + page, round) >> GRANULE_LOG2;
    struct guarded *ready = lead == page && data == page ? pen_take_ready(page) : NULL;
    if (ready != NULL) {
        ready->block = (char *)bits_round_down((uintptr_t)ready->low + page - least, align);
        ready->is_closed = false;
        return ready;
    }
    struct pen *pen = granules <= UINT32_MAX ? pen_take_spare() : NULL;
    if (pen == NULL) {
        return NULL;
    }
    struct guarded *guarded = pen->records;
    bool is_zero;
    uint32_t first =
        pageheap_take(shard, (uint32_t)granules, (uint32_t)unit, PAGEHEAP_PLAIN, &is_zero);
    if (first == 0) {
        pen_give_spare(guarded);
        return NULL;
    }
    char *low = region_address(first) + lead;
    guarded->block =
        align > page ? low : (char *)bits_round_down((uintptr_t)low + data - least, align);
    guarded->is_closed = false;
    pen->first = first;
    pen->granules = (uint32_t)granules;
    pen_fence_around(guarded, low, low + data);
    pen_claim(pen, first, (uint32_t)granules);
    return guarded;
}

bool pen_close(struct guarded *guarded) {
    if (guarded->pen->slot_bytes != 0) {
        return false;
    }
    size_t page = os_page_bytes();
    char *from = (char *)bits_round_down((uintptr_t)guarded->low, page);
    char *to = (char *)bits_round_up((uintptr_t)guarded->high, page);
    guarded->is_closed = pen_fence(from, to);
    return guarded->is_closed;
}

// ---- The interface

struct guarded *pen_take(unsigned shard, size_t align_bytes, size_t size_bytes, bool is_fenced) {
    size_t align = align_bytes > PEN_ALIGN_BYTES ? align_bytes : PEN_ALIGN_BYTES;
    if (!is_fenced && size_bytes <= PEN_SLOT_MAX && align <= PEN_SLOT_MAX / 2) {
        return pen_take_in_slot(shard, align, size_bytes);
    }
    // As malloc promises: 8 bytes for up to 8 bytes.
    align = align_bytes < PEN_ALIGN_BYTES && size_bytes <= 8 ? 8 : align;
    return pen_take_fenced(shard, align, size_bytes);
}

void pen_give(struct guarded *guarded) {
    struct pen *pen = guarded->pen;
    if (pen->slot_bytes != 0) {
        struct pen_class *class = &pen_state.classes[sizeclass_of(pen->slot_bytes)];
        atomic_store_explicit(&guarded->state, GUARDED_FREE, memory_order_relaxed);
        lock_take(&class->lock);
        guarded->next = class->free;
        class->free = guarded;
        lock_give(&class->lock);
        return;
    }
    if (pen_make_ready(guarded)) {
        return;
    }
    uint32_t first = pen->first;
    char *begin = region_address(first);
    int error = os_unfence(begin, (size_t)pen->granules << GRANULE_LOG2);
    pen->first = 0;
    region_set_kind(first, pen->granules, KIND_INSIDE);
    if (error == 0) {
        pageheap_give(first);
    } else {
        pageheap_abandon(first);
    }
    atomic_store_explicit(&guarded->state, GUARDED_FREE, memory_order_relaxed);
    pen_give_spare(guarded);
}

struct guarded *pen_find(const void *address) {
    uint32_t granule = (uint32_t)region_granule(address);
    const struct pen *pen = __atomic_load_n(&region_span(granule)->as.pen, __ATOMIC_RELAXED);
    if (pen->slot_bytes == 0) {
        return pen->records;
    }
    size_t slot = (size_t)((const char *)address - region_address(pen->first)) / pen->slot_bytes;
    return slot < pen->slot_count ? &pen->records[slot] : NULL;
}

struct guarded *pen_next(struct guarded *guarded) {
    struct pen *pen =
        guarded != NULL ? guarded->pen : atomic_load_explicit(&pen_state.all, memory_order_acquire);
    size_t next = guarded != NULL ? (size_t)(guarded - pen->records) + 1 : 0;
    while (pen != NULL && next >= atomic_load_explicit(&pen->used, memory_order_acquire)) {
        pen = pen->next;
        next = 0;
    }
    return pen != NULL ? &pen->records[next] : NULL;
}

void pen_repair(void) {
    for (unsigned i = 0; i < SIZECLASS_END; i++) {
        lock_reset(&pen_state.classes[i].lock);
    }
    lock_reset(&pen_state.ready_lock);
}
