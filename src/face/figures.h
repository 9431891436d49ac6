// figures.h - statistics as jemalloc gives them.                           layer 8
#ifndef ALLOT_FACE_FIGURES_H
#define ALLOT_FACE_FIGURES_H

#include "allot.h"
#include "slab/sizeclass.h"

#include <stddef.h>
#include <stdint.h>

// The version of the interface that is answered for, and who answers.
#define FIGURES_VERSION                                                \
    "5.3.0-allot-" FIGURES_LINE(ALLOT_VERSION_MAJOR) "." FIGURES_LINE( \
        ALLOT_VERSION_MINOR) "." FIGURES_LINE(ALLOT_VERSION_PATCH)
#define FIGURES_LINE(number) FIGURES_LINE_OF(number)
#define FIGURES_LINE_OF(number) #number

struct figures_bin {
    uint64_t taken_count, slab_count, nonfull_count;
};

// All in bytes unless the name says otherwise.
struct figures {
    uint64_t allocated, active, metadata, resident, mapped, retained;
    uint64_t small_allocated, large_allocated, cached;
    uint64_t active_pages, dirty_pages, purge_calls, purged_pages, thread_count;
    struct figures_bin bins[SIZECLASS_SLABS];
};

#define FIGURES_OF_BIN(bin) (offsetof(struct figures, bins) + (bin) * sizeof(struct figures_bin))

// Measures anew. The library is ready.
void figures_refresh(void);

// The word at an offset of struct figures, as it was measured last.
uint64_t figures_word(size_t offset);

#endif
