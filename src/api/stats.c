// stats.c - figures for people and programs.                               layer 7
#include "api/stats.h"

#include "allot.h"
#include "api/misuse.h"
#include "api/options.h"
#include "base/fmt.h"
#include "heap/heap.h"
#include "heap/registry.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/holes.h"
#include "slab/large.h"
#include "slab/slab.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { STATS_VERSION = 1, STATS_TEXT_BYTES = 4096, STATS_STDERR = 2 };

static struct {
    int fd;  // duplicated stderr, for stats=exit; -1: none
    bool is_open;
} stats_state = {.fd = -1};

// Every figure of struct allot_stats, for those who print them all.
// clang-format off
#define STATS_EACH(X)                                                                             \
    X(thread_count) X(live_bytes) X(live_blocks) X(cached_bytes) X(partial_bytes) X(dirty_bytes)  \
    X(purged_bytes) X(metadata_bytes) X(reserved_bytes) X(committed_bytes) X(committed_peak)      \
    X(resident_bytes) X(malloc_calls) X(free_calls) X(remote_free_blocks) X(refill_calls)         \
    X(flush_calls) X(purge_calls) X(purge_bytes) X(map_calls) X(large_calls) X(misuse_count)      \
    X(lock_waits) X(lock_sleeps)
// clang-format on
#define STATS_ONE(field) +1
enum { STATS_FIELDS = 0 STATS_EACH(STATS_ONE) };
_Static_assert(sizeof(struct allot_stats) == sizeof(size_t) + 8 + (size_t)(STATS_FIELDS - 1) * 8,
               "STATS_EACH names every field");

static uint64_t stats_less(uint64_t from, uint64_t part) {
    return from > part ? from - part : 0;
}

static void stats_fill(struct allot_stats *stats) {
    struct region_stats region = {0};
    struct pageheap_stats pages;
    struct slab_stats slabs;
    struct holes_stats holes;
    struct large_stats large;
    struct registry_stats threads;
    struct allot_heap_stats heaps;
    if (region_is_ready()) {
        region_read_stats(&region);
    }
    pageheap_read_stats(&pages);
    registry_read_stats(&threads);
    slab_read_stats(&slabs);
    holes_read_stats(&holes);
    large_read_stats(&large);
    heap_read_totals(&heaps);
    stats->version = STATS_VERSION;
    stats->thread_count = threads.thread_count;
    stats->live_bytes = stats_less(slabs.taken_bytes + large.used_bytes, threads.cached.bytes);
    stats->live_bytes += heaps.live_bytes;
    stats->live_blocks = stats_less(slabs.taken_blocks + large.used_blocks, threads.cached.blocks);
    stats->live_blocks += heaps.live_blocks;
    stats->cached_bytes = threads.cached.bytes;
    stats->partial_bytes = stats_less(slabs.free_bytes, holes.bytes);
    stats->partial_bytes += stats_less(heaps.held_bytes, heaps.live_bytes);
    stats->dirty_bytes = pages.dirty_bytes;
    stats->purged_bytes = pages.clean_bytes + holes.bytes;
    stats->metadata_bytes = region.meta_bytes;
    stats->reserved_bytes = region.reserved_bytes;
    stats->committed_bytes = region.committed_bytes;
    stats->committed_peak = pages.peak_bytes;
    stats->resident_bytes = os_resident_bytes();
    stats->malloc_calls = threads.malloc_calls;
    stats->free_calls = threads.free_calls;
    stats->remote_free_blocks = threads.remote_blocks;
    stats->refill_calls = threads.refill_calls;
    stats->flush_calls = threads.flush_calls;
    stats->purge_calls = pages.purge_calls + holes.purge_calls;
    stats->purge_bytes = pages.purge_bytes + holes.purge_bytes;
    stats->map_calls = region.map_calls;
    stats->large_calls = threads.large_calls;
    stats->misuse_count = misuse_count();
    struct lock_stats locks = lock_read_stats();
    stats->lock_waits = locks.waits;
    stats->lock_sleeps = locks.sleeps;
}

bool allot_stats(struct allot_stats *stats) {
    if (stats->size_bytes != sizeof *stats) {
        errno = EINVAL;
        return false;
    }
    stats_fill(stats);
    return true;
}

// ---- Text

static void stats_add_bytes(struct fmt *fmt, const char *name, uint64_t bytes) {
    fmt_text(fmt, "allot:   ");
    fmt_text(fmt, name);
    for (size_t i = strlen(name); i < 12; i++) {
        fmt_text(fmt, " ");
    }
    fmt_bytes_short(fmt, bytes);
    fmt_text(fmt, "\n");
}

void stats_print(int fd) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    stats_fill(&stats);
    char text[STATS_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_text(&fmt, "allot: memory of process ");
    fmt_number(&fmt, (uint64_t)os_process_id());
    fmt_text(&fmt, "\n");
    stats_add_bytes(&fmt, "resident", stats.resident_bytes);
    stats_add_bytes(&fmt, "live", stats.live_bytes);
    stats_add_bytes(&fmt, "cached", stats.cached_bytes);
    stats_add_bytes(&fmt, "partial", stats.partial_bytes);
    stats_add_bytes(&fmt, "dirty", stats.dirty_bytes);
    stats_add_bytes(&fmt, "own", stats.metadata_bytes);
    stats_add_bytes(&fmt, "peak", stats.committed_peak);
    stats_add_bytes(&fmt, "returned", stats.purge_bytes);
    fmt_text(&fmt, "allot:   ");
    fmt_number(&fmt, stats.live_blocks);
    fmt_text(&fmt, " live blocks, ");
    fmt_number(&fmt, stats.malloc_calls);
    fmt_text(&fmt, " allocations, ");
    fmt_number(&fmt, stats.free_calls);
    fmt_text(&fmt, " frees, ");
    fmt_number(&fmt, stats.remote_free_blocks);
    fmt_text(&fmt, " blocks given back by other threads, ");
    fmt_number(&fmt, stats.thread_count);
    fmt_text(&fmt, " threads\n");
    os_write(fd, text, fmt_length(&fmt));
}

static const char *stats_file(void) {
    static const char prefix[] = "exit:";
    size_t length = sizeof prefix - 1;
    return strncmp(options_state.stats, prefix, length) == 0 ? options_state.stats + length : NULL;
}

static bool stats_append(struct fmt *fmt) {
    int fd = os_open_append(stats_file());
    if (fd >= 0) {
        os_write(fd, fmt->text, fmt_length(fmt));
        os_close(fd);
    }
    return fd >= 0;
}

static void stats_begin_line(struct fmt *fmt, const char *event) {
    fmt_text(fmt, "{\"event\":\"");
    fmt_text(fmt, event);
    fmt_text(fmt, "\",\"version\":\"");
    fmt_text(fmt, allot_version());
    fmt_text(fmt, "\",\"pid\":");
    fmt_number(fmt, (uint64_t)os_process_id());
}

void stats_open(void) {
    if (strcmp(options_state.stats, "off") == 0) {
        return;
    }
    registry_set_counting(true);
    stats_state.is_open = true;
    if (stats_file() == NULL) {
        stats_state.fd = os_duplicate(STATS_STDERR);
        return;
    }
    char text[STATS_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    stats_begin_line(&fmt, "start");
    fmt_text(&fmt, "}\n");
    if (!stats_append(&fmt)) {
        fmt_init(&fmt, text, sizeof text);
        fmt_text(&fmt, "allot: warning: no statistics: ");
        fmt_text(&fmt, stats_file());
        fmt_text(&fmt, " cannot be opened");
        check_say(text);
    }
}

static void stats_close_file(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    stats_fill(&stats);
    char text[STATS_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    stats_begin_line(&fmt, "exit");
#define STATS_JSON(field)               \
    fmt_text(&fmt, ",\"" #field "\":"); \
    fmt_number(&fmt, stats.field);
    STATS_EACH(STATS_JSON)
#undef STATS_JSON
    fmt_text(&fmt, "}\n");
    stats_append(&fmt);
}

void stats_close(void) {
    if (!stats_state.is_open) {
        return;
    }
    if (stats_file() != NULL) {
        stats_close_file();
    } else if (stats_state.fd >= 0) {
        stats_print(stats_state.fd);
    }
}
