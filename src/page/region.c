// region.c - reserving and committing address space.                       layer 2
//
// Tables lie in one reservation:
//   | guard | kind | guard | spans | guard | meta ... | guard |
#include "page/region.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"

#include <limits.h>
#include <string.h>

enum {
    // Owners change only at multiples of this.
    REGION_CHUNK_GRANULES = 16,
    REGION_WINDOW_FACTOR = 4,  // the window over RLIMIT_AS
    // With a small reservation nothing is reserved: pieces in a window of so many
    // times its size.
    REGION_WINDOW_OVER_RESERVE = 16,
};
#define REGION_ALIGN_BYTES (4 * MIB)
#define REGION_GUARD_BYTES (64 * KIB)
#define REGION_OVERREAD_BYTES ((size_t)256)
#define REGION_STEP_MIN_BYTES (CONFIG_TINY ? 256 * KIB : 1 * MIB)
#define REGION_STEP_MAX_BYTES (CONFIG_TINY ? 1 * MIB : 64 * MIB)
#define REGION_META_STEP_BYTES (256 * KIB)
#define REGION_WINDOW_MAX_BYTES (64 * GIB)
// The first bytes of a heap never get huge pages: small processes stay small.
#define REGION_SMALL_BYTES (32 * MIB)
#define REGION_HUGE_PAGE_BYTES (2 * MIB)

struct region region_state CACHE_ALIGNED;

static struct {
    struct lock lock;
    bool is_ready;
    bool is_window;  // pieces are mapped one by one
    bool has_huge_pages;
    struct region_options options;
    size_t window_bytes;
    uint32_t first;          // granule that was handed out first
    uint32_t top;            // first granule never handed out
    uint32_t committed_end;  // first granule not accessible
    size_t step_bytes;
    char *kind_committed_end, *spans_committed_end;
    char *meta, *meta_committed_end, *meta_end;
    size_t mapped_bytes;  // window: total of the pieces
    uint64_t map_calls;
    uint8_t *owners;  // by chunk, in meta; 0: nobody, else owner + 1
} region_own;

static size_t region_table_bytes(size_t window_bytes, size_t record_bytes) {
    return bits_round_up((window_bytes >> GRANULE_LOG2) * record_bytes, REGION_GUARD_BYTES);
}

static size_t region_owners_bytes(size_t window_bytes) {
    return bits_round_up((window_bytes >> GRANULE_LOG2) / REGION_CHUNK_GRANULES,
                         REGION_GUARD_BYTES);
}

// Enough for bits of the smallest class everywhere, and for threads.
static size_t region_meta_bytes(size_t window_bytes, bool is_window) {
    size_t share = is_window ? window_bytes / 256 : window_bytes / 64;
    size_t least = is_window ? 192 * KIB : 4 * MIB;
    return bits_round_up(share > least ? share : least, REGION_GUARD_BYTES);
}

static void *region_commit_once(char *from, char *to) {
    region_own.map_calls++;
    return os_commit(from, (size_t)(to - from)) == 0 ? from : NULL;
}

// Makes a table accessible to `need`; steps are large enough to be rare.
static bool region_commit_table(char **committed_end, char *need) {
    if (need <= *committed_end) {
        return true;
    }
    size_t bytes = bits_round_up((size_t)(need - *committed_end), REGION_GUARD_BYTES);
    if (region_commit_once(*committed_end, *committed_end + bytes) == NULL) {
        return false;
    }
    *committed_end += bytes;
    return true;
}

// Tables for the granules below `end`. The limit grows last: [R1].
static bool region_commit_tables(uint32_t end) {
    char *kind_end = (char *)(region_state.kind + end);
    // A giver that is late may count words beyond the record that it knows.
    char *spans_end = (char *)(region_state.spans + end) + REGION_OVERREAD_BYTES;
    if (!region_commit_table(&region_own.kind_committed_end, kind_end) ||
        !region_commit_table(&region_own.spans_committed_end, spans_end)) {
        return false;
    }
    __atomic_store_n(&region_state.granule_limit, end, __ATOMIC_RELEASE);
    return true;
}

static bool region_reserve_tables(size_t window_bytes, bool is_window) {
    size_t kind_bytes = region_table_bytes(window_bytes, 1);
    size_t spans_bytes = region_table_bytes(window_bytes, sizeof(struct span)) + REGION_GUARD_BYTES;
    size_t owners_bytes = region_owners_bytes(window_bytes);
    size_t meta_bytes = region_meta_bytes(window_bytes, is_window) + owners_bytes;
    size_t all_bytes = kind_bytes + spans_bytes + meta_bytes + 4 * REGION_GUARD_BYTES;
    char *at = os_reserve(NULL, all_bytes);
    region_own.map_calls++;
    if (at == NULL) {
        return false;
    }
    char *kind = at + REGION_GUARD_BYTES;
    char *spans = kind + kind_bytes + REGION_GUARD_BYTES;
    char *meta = spans + spans_bytes + REGION_GUARD_BYTES;
    size_t first_bytes = bits_round_up(owners_bytes, REGION_GUARD_BYTES) + REGION_GUARD_BYTES;
    if (region_commit_once(meta, meta + first_bytes) == NULL) {
        os_unmap(at, all_bytes);
        return false;
    }
    region_state.kind = (uint8_t *)kind;
    region_state.spans = (struct span *)spans;
    region_own.kind_committed_end = kind;
    region_own.spans_committed_end = spans;
    region_own.owners = (uint8_t *)meta;
    region_own.meta = meta + owners_bytes;
    region_own.meta_committed_end = meta + first_bytes;
    region_own.meta_end = meta + meta_bytes;
    return true;
}

// One large reservation.
static bool region_reserve(size_t bytes) {
    char *at = os_reserve(NULL, bytes + REGION_ALIGN_BYTES);
    region_own.map_calls++;
    if (at == NULL) {
        return false;
    }
    if (!region_reserve_tables(bytes, false)) {
        os_unmap(at, bytes + REGION_ALIGN_BYTES);
        return false;
    }
    region_state.base = bits_round_up((uintptr_t)at, REGION_ALIGN_BYTES);
    region_own.window_bytes = bytes;
    // The first granule is never handed out; huge pages begin at a multiple of theirs.
    size_t first_bytes = region_own.options.use_huge_pages ? REGION_HUGE_PAGE_BYTES
                                                           : REGION_CHUNK_GRANULES * GRANULE_BYTES;
    region_own.first = (uint32_t)(first_bytes >> GRANULE_LOG2);
    region_own.top = region_own.first;
    region_own.committed_end = region_own.first;
    return true;
}

// An interval around the place where the system puts mappings.
static bool region_open_window(size_t bytes) {
    bytes = bits_round_up(bytes, REGION_ALIGN_BYTES);
    if (!region_reserve_tables(bytes, true)) {
        return false;
    }
    uintptr_t here = (uintptr_t)region_state.kind;
    uintptr_t below = bytes / 8 * 7;
    uintptr_t from = here > below + REGION_ALIGN_BYTES ? here - below : REGION_ALIGN_BYTES;
    region_state.base = bits_round_down(from, REGION_ALIGN_BYTES);
    region_own.window_bytes = bytes;
    region_own.is_window = true;
    region_own.top = 1;
    return region_commit_tables((uint32_t)(bytes >> GRANULE_LOG2));
}

bool region_init(const struct region_options *options) {
    region_own.options = *options;
    region_own.step_bytes = REGION_STEP_MIN_BYTES;
    size_t limit_bytes = os_address_space_limit();
    bool is_ready = false;
    if (limit_bytes == SIZE_MAX && options->reserve_bytes < GIB) {
        limit_bytes = options->reserve_bytes * REGION_WINDOW_OVER_RESERVE;
    } else if (limit_bytes == SIZE_MAX) {
        size_t bytes = bits_round_up(options->reserve_bytes, REGION_ALIGN_BYTES);
        do {
            is_ready = region_reserve(bytes);
            bytes = bits_round_up(bytes / 4, REGION_ALIGN_BYTES);
        } while (!is_ready && bytes >= GIB);
        limit_bytes = REGION_WINDOW_MAX_BYTES / REGION_WINDOW_FACTOR;
    }
    if (limit_bytes > REGION_WINDOW_MAX_BYTES / REGION_WINDOW_FACTOR) {
        limit_bytes = REGION_WINDOW_MAX_BYTES / REGION_WINDOW_FACTOR;
    }
    is_ready = is_ready || region_open_window(limit_bytes * REGION_WINDOW_FACTOR);
    __atomic_store_n(&region_own.is_ready, is_ready, __ATOMIC_RELEASE);
    return is_ready;
}

bool region_is_ready(void) {
    return __atomic_load_n(&region_own.is_ready, __ATOMIC_ACQUIRE);
}

static void region_advise(char *from, size_t bytes) {
    const struct region_options *options = &region_own.options;
    size_t offset = (size_t)(from - (char *)region_state.base);
    if (options->is_thp_always) {
        os_set_thp(from, bytes, OS_THP_ALWAYS);
    } else if (options->is_thp_never || offset < REGION_SMALL_BYTES) {
        os_set_thp(from, bytes, OS_THP_NEVER);
    }
}

static bool region_commit_range(char *from, size_t bytes) {
    bool is_huge = region_own.options.use_huge_pages &&
                   ((uintptr_t)from | bytes) % REGION_HUGE_PAGE_BYTES == 0;
    region_own.map_calls++;
    if (is_huge && os_commit_huge(from, bytes) == 0) {
        __atomic_store_n(&region_own.has_huge_pages, true, __ATOMIC_RELAXED);
        return true;
    }
    // What was tried may have left a hole, where others could map something.
    if (is_huge && os_renew(from, bytes) != 0) {
        region_own.window_bytes = (size_t)(from - region_address(0));
        return false;
    }
    if (os_commit(from, bytes) != 0) {
        return false;
    }
    region_advise(from, bytes);
    return true;
}

// Commits up to granule `end`, and a step further if the system allows it.
static bool region_commit_to(uint32_t end) {
    if (end <= region_own.committed_end) {
        return true;
    }
    size_t window_end = region_own.window_bytes >> GRANULE_LOG2;
    size_t unit = region_own.options.use_huge_pages ? REGION_HUGE_PAGE_BYTES : MIB;
    size_t need = bits_round_up((size_t)(end - region_own.committed_end) << GRANULE_LOG2, unit);
    size_t left = (window_end - region_own.committed_end) << GRANULE_LOG2;
    size_t wish = need > region_own.step_bytes ? need : region_own.step_bytes;
    char *from = region_address(region_own.committed_end);
    for (size_t bytes = wish < left ? wish : left;; bytes = need < left ? need : left) {
        uint32_t new_end = region_own.committed_end + (uint32_t)(bytes >> GRANULE_LOG2);
        if (region_commit_tables(new_end) && region_commit_range(from, bytes)) {
            region_own.committed_end = new_end;
            if (region_own.step_bytes < REGION_STEP_MAX_BYTES) {
                region_own.step_bytes *= 2;
            }
            return true;
        }
        if (bytes <= need) {
            return false;
        }
    }
}

static void region_set_owner(uint32_t first, uint32_t count, unsigned owner) {
    for (uint32_t g = first; g < first + count; g += REGION_CHUNK_GRANULES) {
        region_own.owners[g / REGION_CHUNK_GRANULES] = (uint8_t)(owner + 1);
    }
}

static uint32_t region_extend_reserved(uint32_t count, uint32_t align) {
    size_t first = region_align(region_own.top, align);
    size_t window_end = region_own.window_bytes >> GRANULE_LOG2;
    if (first + count > window_end || !region_commit_to((uint32_t)first + count)) {
        return 0;
    }
    region_own.top = (uint32_t)first + count;
    return (uint32_t)first;
}

// A piece anywhere in the window, aligned to a chunk.
static uint32_t region_extend_window(uint32_t count, uint32_t align) {
    size_t bytes = (size_t)count << GRANULE_LOG2;
    size_t align_bytes = (size_t)align << GRANULE_LOG2;
    char *at = os_map(NULL, bytes + align_bytes);
    region_own.map_calls++;
    if (at == NULL) {
        return 0;
    }
    // At the upper end: the system maps downwards, so that pieces become neighbours.
    char *from = (char *)bits_round_down((uintptr_t)at + align_bytes, align_bytes);
    char *end = at + bytes + align_bytes;
    if (from > at) {
        os_unmap(at, (size_t)(from - at));
    }
    if (end > from + bytes) {
        os_unmap(from + bytes, (size_t)(end - from) - bytes);
    }
    uintptr_t window_end = region_state.base + region_own.window_bytes;
    if ((uintptr_t)from <= region_state.base || (uintptr_t)from + bytes > window_end) {
        os_unmap(from, bytes);
        return 0;
    }
    region_own.mapped_bytes += bytes;
    uint32_t first = (uint32_t)region_granule(from);
    if (first + count > region_own.top) {
        region_own.top = first + count;
    }
    return first;
}

uint32_t region_extend(uint32_t count, uint32_t align, unsigned owner, uint32_t *got_count) {
    align = align > REGION_CHUNK_GRANULES ? align : REGION_CHUNK_GRANULES;
    size_t rounded = bits_round_up(count, REGION_CHUNK_GRANULES);
    if (rounded > UINT32_MAX) {
        return 0;
    }
    lock_take(&region_own.lock);
    uint32_t first = region_own.is_window ? region_extend_window((uint32_t)rounded, align)
                                          : region_extend_reserved((uint32_t)rounded, align);
    if (first != 0) {
        region_set_owner(first, (uint32_t)rounded, owner);
    }
    lock_give(&region_own.lock);
    *got_count = (uint32_t)rounded;
    return first;
}

unsigned region_owner(uint32_t granule) {
    return __atomic_load_n(&region_own.owners[granule / REGION_CHUNK_GRANULES], __ATOMIC_RELAXED) -
           1u;
}

bool region_owns(size_t granule) {
    return region_contains(granule) && region_owner((uint32_t)granule) != UINT_MAX;
}

size_t region_purge_unit(void) {
    bool has_huge = __atomic_load_n(&region_own.has_huge_pages, __ATOMIC_RELAXED);
    return has_huge ? REGION_HUGE_PAGE_BYTES : os_page_bytes();
}

uint32_t region_top(void) {
    size_t limit = __atomic_load_n(&region_state.granule_limit, __ATOMIC_ACQUIRE);
    uint32_t top = __atomic_load_n(&region_own.top, __ATOMIC_RELAXED);
    return top < limit ? top : (uint32_t)limit;
}

void *region_take_meta(size_t size_bytes) {
    size_bytes = bits_round_up(size_bytes, CACHE_LINE_BYTES);
    lock_take(&region_own.lock);
    char *at = region_own.meta;
    // A giver that is late may count words beyond the array that it knows.
    size_t need_bytes = size_bytes + REGION_OVERREAD_BYTES;
    bool fits = need_bytes <= (size_t)(region_own.meta_end - at);
    if (fits && at + need_bytes > region_own.meta_committed_end) {
        size_t step = bits_round_up(need_bytes, REGION_META_STEP_BYTES);
        size_t left = (size_t)(region_own.meta_end - region_own.meta_committed_end);
        char *end = region_own.meta_committed_end + (step < left ? step : left);
        fits = region_commit_once(region_own.meta_committed_end, end) != NULL;
        region_own.meta_committed_end = fits ? end : region_own.meta_committed_end;
    }
    if (fits) {
        region_own.meta = at + size_bytes;
    }
    lock_give(&region_own.lock);
    return fits ? at : NULL;
}

void region_read_stats(struct region_stats *stats) {
    lock_take(&region_own.lock);
    size_t page = os_page_bytes();
    uint32_t top = region_own.top;
    // Tables are touched from their start to the top; meta is touched where taken.
    size_t tables = region_own.is_window
                        ? region_own.mapped_bytes / GRANULE_BYTES * (sizeof(struct span) + 1)
                        : bits_round_up(top, page) + bits_round_up(top * sizeof(struct span), page);
    char *meta_from = (char *)region_own.owners;
    stats->meta_bytes = region_own.is_ready ? tables + (size_t)(region_own.meta - meta_from) -
                                                  region_owners_bytes(region_own.window_bytes) +
                                                  bits_round_up(top / REGION_CHUNK_GRANULES, page)
                                            : 0;
    stats->reserved_bytes =
        region_own.is_window ? region_own.mapped_bytes : region_own.window_bytes;
    stats->committed_bytes = region_own.is_window
                                 ? region_own.mapped_bytes
                                 : (size_t)(region_own.committed_end - region_own.first)
                                       << GRANULE_LOG2;
    stats->map_calls = region_own.map_calls;
    lock_give(&region_own.lock);
}

void region_repair(void) {
    lock_reset(&region_own.lock);
}
