// sparse.c - which blocks are worth moving.                                layer 3
#include "slab/sparse.h"

#include "os/os.h"
#include "slab/sizeclass.h"
#include "slab/slab.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    SPARSE_FRESH_MS = 100,
    // So many questions more than there are slabs make a walk over them worth it.
    SPARSE_QUESTIONS = CONFIG_TINY ? 16 : 1024,
};

// Threads that renew it at once write figures that are as good as each other's.
static struct {
    _Atomic(uint64_t) walked_ms;
    _Atomic(int64_t) questions_left;
    _Atomic(uint64_t) nonfull_count[SIZECLASS_SLABS];
    _Atomic(uint64_t) nonfull_free[SIZECLASS_SLABS];
} sparse_state;

static void sparse_walk(uint64_t now_ms) {
    struct slab_class_stats stats[SIZECLASS_SLABS];
    int64_t slabs = 0;
    slab_read_classes(stats);
    for (unsigned i = 0; i < SIZECLASS_SLABS; i++) {
        slabs += (int64_t)stats[i].slab_count;
        atomic_store_explicit(&sparse_state.nonfull_count[i], stats[i].nonfull_count,
                              memory_order_relaxed);
        atomic_store_explicit(&sparse_state.nonfull_free[i], stats[i].nonfull_free,
                              memory_order_relaxed);
    }
    atomic_store_explicit(&sparse_state.questions_left, slabs + SPARSE_QUESTIONS,
                          memory_order_relaxed);
    atomic_store_explicit(&sparse_state.walked_ms, now_ms, memory_order_relaxed);
}

static void sparse_renew(void) {
    uint64_t now_ms = os_now_ms();
    int64_t left = atomic_load_explicit(&sparse_state.questions_left, memory_order_relaxed);
    atomic_store_explicit(&sparse_state.questions_left, left - 1, memory_order_relaxed);
    uint64_t walked_ms = atomic_load_explicit(&sparse_state.walked_ms, memory_order_relaxed);
    if (left <= 0 || now_ms - walked_ms >= SPARSE_FRESH_MS) {
        sparse_walk(now_ms);
    }
}

bool sparse_is_worth_moving(const void *block) {
    struct slab_look look;
    if (!slab_look_at(&look, block) || !look.is_partial) {
        return false;
    }
    sparse_renew();
    unsigned class = look.kind - SIZECLASS_FIRST;
    uint64_t count = atomic_load_explicit(&sparse_state.nonfull_count[class], memory_order_relaxed);
    uint64_t free = atomic_load_explicit(&sparse_state.nonfull_free[class], memory_order_relaxed);
    return free >= sizeclass_table[look.kind].block_count && look.free_count * count >= free;
}
