// life.c - start, exit and fork of the process.                            layer 7
//
// The first allocation makes the library ready; it may come before any
// constructor. The constructor adds what needs the rest of the process: words
// about options, the exit report, the fork handlers.
#include "api/life.h"

#include "allot.h"
#include "api/misuse.h"
#include "api/options.h"
#include "api/stats.h"
#include "guard/guard.h"
#include "heap/background.h"
#include "heap/heap.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/slab.h"
#include "tag/tag.h"
#include "tag/tagread.h"

#include <pthread.h>
#include <string.h>

enum { LIFE_THP_NEVER = 1, LIFE_THP_ALWAYS = 2 };

static bool life_had_threads;

static void life_set_guard(uint64_t every) {
    bool is_all = every == OPTIONS_GUARD_ALL;
    bool is_by_tag = every == OPTIONS_GUARD_TAG;
    guard_init(is_all      ? GUARD_ALL
               : is_by_tag ? GUARD_TAG
               : every > 0 ? GUARD_SAMPLE
                           : GUARD_NONE,
               every);
    if (is_by_tag) {
        tag_watch(options_guard_tags());
    } else if (is_all) {
        tag_watch(NULL);
        registry_set_counting(true);  // every call takes the slow path
    }
}

// Every thread begins in a scope of the tag that the option names.
static void life_begin_tag(void) {
    if (strcmp(options_state.tag, "off") != 0) {
        registry_set_first_scope(tag_create(options_state.tag, 0, NULL));
    }
}

// Under the registry's lock: nothing here may allocate.
void life_setup(void) {
    options_init();
    slab_init(misuse_slab);
    cache_setup();
    background_set_turn(heap_tick);
    struct region_options options = {
        .reserve_bytes = options_state.reserve,
        .is_thp_never = options_state.thp == LIFE_THP_NEVER,
        .is_thp_always = options_state.thp == LIFE_THP_ALWAYS,
        .use_huge_pages = options_state.hugetlb != 0,
    };
    if (region_init(&options)) {
        stats_open();
        life_set_guard(options_guard_every());
        life_begin_tag();
    }
}

// Takes no lock: whatever another thread is doing, fork goes on.
static void life_before_fork(void) {
    __atomic_store_n(&life_had_threads, !os_is_single_threaded(), __ATOMIC_RELAXED);
}

static void life_in_child(void) {
    registry_repair(__atomic_load_n(&life_had_threads, __ATOMIC_RELAXED));
    heap_repair();
    guard_repair();
    tag_repair();
    tagread_repair();
}

__attribute__((constructor)) static void life_begin(void) {
    life_cache();
    options_complain();
    pthread_atfork(life_before_fork, NULL, life_in_child);
    if (options_state.background != 0) {
        background_start();
    }
}

// A double free that is still in the cache is found here, and no memory goes
// back to the system one range at a time when all of it is about to go.
__attribute__((destructor)) static void life_end(void) {
    stats_close();
    tagread_close(options_state.leaks, options_state.leaks_quiet);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    registry_finish();
    guard_finish();
}
