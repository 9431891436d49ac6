// twin.h - bits of slabs whose blocks have accounts.                       layer 3
#ifndef ALLOT_SLAB_TWIN_H
#define ALLOT_SLAB_TWIN_H

#include "base/compiler.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Gives a new slab of any class its bits, contents indeterminate; those of a twin
// have accounts before them. False: there is no memory.
bool twin_attach_words(struct span *span, unsigned kind);
void twin_detach_words(struct span *span, unsigned kind);

// Writes the records of a new slab: each granule's says what a free needs to know.
void twin_describe(uint32_t slab, unsigned kind);

// Who leased a slab of any class. Of a twin each granule's record says so, too.
static ALWAYS_INLINE void twin_set_lessee(uint32_t slab, unsigned kind, uint16_t lessee) {
    uint32_t count = sizeclass_is_twin(kind) ? sizeclass_table[kind].granule_count : 1;
    for (uint32_t g = slab; g < slab + count; g++) {
        atomic_store_explicit(&region_span(g)->lessee, lessee, memory_order_relaxed);
    }
}

// In the child of a fork.
void twin_repair(void);

// The class of the slab around a granule of KIND_TAGGED, a twin.
static ALWAYS_INLINE unsigned twin_kind(size_t granule) {
    return __atomic_load_n(&region_span((uint32_t)granule)->kind, __ATOMIC_RELAXED);
}

// Where the account of a block stands, before the bits of its slab.
static ALWAYS_INLINE _Atomic(uint16_t) *twin_place(_Atomic(uint64_t) *words, uint32_t index) {
    return (_Atomic(uint16_t) *)words - 1 - (ptrdiff_t)index;
}

#endif
