// figures.c - statistics as jemalloc gives them.                           layer 8
#include "face/figures.h"

#include "heap/registry.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/slab.h"

#include <stdatomic.h>
#include <string.h>

enum { FIGURES_WORDS = sizeof(struct figures) / sizeof(uint64_t) };

// Words are stored one by one: of two threads that measure at once each leaves
// figures that are true.
static struct {
    _Atomic(bool) is_taken;
    _Atomic(uint64_t) words[FIGURES_WORDS];
} figures_state;

static uint64_t figures_less(uint64_t from, uint64_t part) {
    return from > part ? from - part : 0;
}

static void figures_measure(struct figures *to) {
    struct slab_class_stats slabs[SIZECLASS_SLABS];
    struct pageheap_stats pages;
    struct large_stats large;
    struct region_stats region;
    struct registry_stats threads;
    uint64_t page = os_page_bytes();
    uint64_t small = 0;
    region_read_stats(&region);
    registry_read_stats(&threads);
    slab_read_classes(slabs);
    large_read_stats(&large);
    pageheap_read_stats(&pages);
    for (unsigned i = 0; i < SIZECLASS_SLABS; i++) {
        to->bins[i].taken_count = slabs[i].taken_blocks;
        to->bins[i].slab_count = slabs[i].slab_count;
        to->bins[i].nonfull_count = slabs[i].nonfull_count;
        small += slabs[i].taken_blocks * sizeclass_table[SIZECLASS_FIRST + i].size_bytes;
    }
    to->cached = threads.cached.bytes;
    to->small_allocated = figures_less(small, threads.cached.slab_bytes);
    to->large_allocated =
        figures_less(large.used_bytes, threads.cached.bytes - threads.cached.slab_bytes);
    to->allocated = to->small_allocated + to->large_allocated;
    // Other threads work meanwhile; the order that is promised holds all the same.
    to->active = pages.used_bytes > to->allocated ? pages.used_bytes : to->allocated;
    to->metadata = region.meta_bytes;
    to->mapped = to->active + to->metadata;
    to->resident = to->mapped + pages.dirty_bytes;
    to->retained = pages.clean_bytes;
    to->active_pages = to->active / page;
    to->dirty_pages = pages.dirty_bytes / page;
    to->purge_calls = pages.purge_calls;
    to->purged_pages = pages.purge_bytes / page;
    to->thread_count = threads.thread_count;
}

void figures_refresh(void) {
    struct figures figures;
    uint64_t words[FIGURES_WORDS];
    figures_measure(&figures);
    memcpy(words, &figures, sizeof words);
    for (unsigned i = 0; i < FIGURES_WORDS; i++) {
        atomic_store_explicit(&figures_state.words[i], words[i], memory_order_relaxed);
    }
    atomic_store(&figures_state.is_taken, true);
}

uint64_t figures_word(size_t offset) {
    if (!atomic_load(&figures_state.is_taken)) {
        figures_refresh();
    }
    return atomic_load_explicit(&figures_state.words[offset / sizeof(uint64_t)],
                                memory_order_relaxed);
}
