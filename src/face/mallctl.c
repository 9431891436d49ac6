// mallctl.c - jemalloc's tree of names.                                    layer 8
//
// A name such as stats.arenas.0.bins.3.curregs is compared with the rows of a
// table, in which a letter in front of a dot stands for a number:
//   @ an arena, # a size class of slabs (jemalloc's bin), % a span class (extent)
// A MIB has one number per part of a name: for a word the first row that begins
// with the same parts, for a number the number.
//
// There is one heap: arena 0, which is also "all arenas". An arena that the
// program creates is a number; what is asked of it comes from arena 0, so that
// its own figures are zero. What is not counted here has no row: ENOENT, as has
// what jemalloc was not compiled with (prof.*).
//
// stats.* are those of the last write to "epoch", or of the first question.
#include "allot.h"
#include "api/life.h"
#include "api/options.h"
#include "base/config.h"
#include "base/fmt.h"
#include "face/figures.h"
#include "heap/background.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"
#include "slab/slab.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#if ALLOT_CONFIG_FACE

// Weak: a program with a jemalloc of its own can be linked with liballot.o.
#define MALLCTL_EXPORT __attribute__((visibility("default"), weak))
#define MALLCTL_ALSO(name) \
    extern __typeof__(name) je_##name MALLCTL_EXPORT __attribute__((alias(#name)))

enum {
    MALLCTL_INDICES = 2,
    MALLCTL_ALL = 4096,         // MALLCTL_ARENAS_ALL
    MALLCTL_ARENAS_MAX = 4094,  // what MALLOCX_ARENA can name
    MALLCTL_TCACHES_MAX = 4094,
    MALLCTL_QUANTUM = 16,
    MALLCTL_MUZZY_MS = 0,  // nothing is left to the kernel to take when it likes
};

enum mallctl_type {
    MALLCTL_VOID,
    MALLCTL_BOOL,
    MALLCTL_INT,
    MALLCTL_WORD,
    MALLCTL_TEXT,
    MALLCTL_RAW
};
static const size_t mallctl_size[] = {
    0, sizeof(bool), sizeof(unsigned), sizeof(uint64_t), sizeof(const char *), 0};

struct mallctl_row;

// A row, and the numbers that the name had in place of its letters.
struct mallctl_place {
    const struct mallctl_row *row;
    size_t index[MALLCTL_INDICES];
    unsigned index_count;
};

struct mallctl_call {
    void *old;
    size_t *old_bytes;
    const void *new;
    size_t new_bytes;
};

// `get` answers with a number or the address of a text. Without `set` it can only
// be read, without `get` only be written. A row that is MALLCTL_VOID is an order,
// and one that is MALLCTL_RAW looks at the call itself.
struct mallctl_row {
    const char *name;
    enum mallctl_type type;
    uint64_t (*get)(const struct mallctl_place *place);
    int (*set)(const struct mallctl_place *place, uint64_t value);
    int (*raw)(const struct mallctl_call *call);
    uint64_t argument;
};

static struct {
    _Atomic(uint64_t) epoch;
    _Atomic(unsigned) arena_count;   // created by the program
    _Atomic(unsigned) tcache_count;  // likewise
} mallctl_state = {.epoch = 1};

// ---- What rows get and set

static unsigned mallctl_arenas(void) {
    return 1 + atomic_load_explicit(&mallctl_state.arena_count, memory_order_relaxed);
}

static uint64_t mallctl_constant(const struct mallctl_place *place) {
    return place->row->argument;
}

static uint64_t mallctl_figure(const struct mallctl_place *place) {
    return figures_word(place->row->argument);
}

// All but arena 0 are empty; "all" can also be said as one more than there are.
static uint64_t mallctl_arena_figure(const struct mallctl_place *place) {
    bool is_created = place->index[0] > 0 && place->index[0] < mallctl_arenas();
    return is_created ? 0 : figures_word(place->row->argument);
}

static uint64_t mallctl_bin_figure(const struct mallctl_place *place) {
    struct mallctl_row row = *place->row;
    struct mallctl_place arena = *place;
    row.argument += place->index[1] * sizeof(struct figures_bin);
    arena.row = &row;
    return mallctl_arena_figure(&arena);
}

static uint64_t mallctl_class_field(const struct mallctl_place *place) {
    const struct sizeclass *class = &sizeclass_table[SIZECLASS_FIRST + place->index[0]];
    return *(const uint32_t *)(const void *)((const char *)class + place->row->argument);
}

static uint64_t mallctl_span_size(const struct mallctl_place *place) {
    return sizeclass_table[SIZECLASS_SPAN_FIRST + place->index[0]].size_bytes;
}

static uint64_t mallctl_text(const struct mallctl_place *place) {
    return place->row->argument;
}

static uint64_t mallctl_get_page(const struct mallctl_place *place) {
    (void)place;
    return os_page_bytes();
}

static uint64_t mallctl_get_arenas(const struct mallctl_place *place) {
    (void)place;
    return mallctl_arenas();
}

static uint64_t mallctl_get_epoch(const struct mallctl_place *place) {
    (void)place;
    return atomic_load(&mallctl_state.epoch);
}

static int mallctl_set_epoch(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    (void)value;
    figures_refresh();
    atomic_fetch_add(&mallctl_state.epoch, 1);
    return 0;
}

static uint64_t mallctl_get_delay(const struct mallctl_place *place) {
    (void)place;
    uint64_t delay_ns = options_state.purge_delay;
    return delay_ns == OPTIONS_NEVER ? UINT64_MAX : delay_ns / 1000000;
}

// Milliseconds; -1 is never.
static int mallctl_set_delay(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    char text[32];
    struct fmt fmt;
    int saved = errno;
    fmt_init(&fmt, text, sizeof text);
    if (value == UINT64_MAX) {
        fmt_text(&fmt, "never");
    } else {
        fmt_number(&fmt, value);
        fmt_text(&fmt, "ms");
    }
    bool is_set = allot_set("purge_delay", text);
    errno = saved;
    return is_set ? 0 : EFAULT;
}

// Has no counterpart here: accepted, without effect.
static int mallctl_accept(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    (void)value;
    return 0;
}

static int mallctl_set_arena(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    return value < mallctl_arenas() ? 0 : EFAULT;
}

static uint64_t mallctl_get_background(const struct mallctl_place *place) {
    (void)place;
    return background_is_running();
}

static int mallctl_set_background(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    if (value == 0) {
        background_stop();
        return 0;
    }
    return background_start() ? 0 : EAGAIN;
}

// One thread is within any bound but none.
static int mallctl_set_background_max(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    return value > 0 ? 0 : EINVAL;
}

static struct cache_use *mallctl_use(void) {
    static struct cache_use none;  // of a thread at its very end
    struct cache *cache = life_cache();
    if (cache == NULL) {
        return &none;
    }
    cache_settle(cache);
    return &cache->use;
}

static uint64_t mallctl_get_use(const struct mallctl_place *place) {
    return *(uint64_t *)(void *)((char *)mallctl_use() + place->row->argument);
}

static uint64_t mallctl_get_use_address(const struct mallctl_place *place) {
    return (uintptr_t)mallctl_use() + place->row->argument;
}

static uint64_t mallctl_get_cached(const struct mallctl_place *place) {
    (void)place;
    const struct cache *cache = life_cache();
    return cache != NULL && !cache->is_bypassed;
}

static int mallctl_set_cached(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    life_cache();
    registry_bypass(value == 0);
    return 0;
}

static int mallctl_flush(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    (void)value;
    if (registry_find() != NULL) {
        cache_empty(registry_find());
    }
    return 0;
}

// Caches that the program created are the threads' own.
static int mallctl_flush_created(const struct mallctl_place *place, uint64_t value) {
    bool exists = value < atomic_load_explicit(&mallctl_state.tcache_count, memory_order_relaxed);
    return exists ? mallctl_flush(place, value) : EFAULT;
}

static int mallctl_purge(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    (void)value;
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    return 0;
}

static int mallctl_decay(const struct mallctl_place *place, uint64_t value) {
    (void)place;
    (void)value;
    pageheap_tick();
    return 0;
}

static uint64_t mallctl_get_option_background(const struct mallctl_place *place) {
    (void)place;
    return options_state.background != 0;
}

static uint64_t mallctl_get_option_print(const struct mallctl_place *place) {
    (void)place;
    return strcmp(options_state.stats, "exit") == 0;
}

static uint64_t mallctl_get_option_thp(const struct mallctl_place *place) {
    (void)place;
    static const char *const names[] = {"default", "never", "always"};
    return (uintptr_t)names[options_state.thp];
}

// A number that was not given out before.
static int mallctl_create(const struct mallctl_call *call, _Atomic(unsigned) *count, unsigned first,
                          unsigned most) {
    if (call->new != NULL || call->new_bytes != 0) {
        return EPERM;
    }
    if (call->old == NULL || call->old_bytes == NULL || *call->old_bytes != sizeof(unsigned)) {
        if (call->old_bytes != NULL) {
            *call->old_bytes = 0;
        }
        return EINVAL;
    }
    unsigned before = atomic_load(count);
    do {
        if (before >= most) {
            return EAGAIN;
        }
    } while (!atomic_compare_exchange_weak(count, &before, before + 1));
    unsigned number = first + before;
    memcpy(call->old, &number, sizeof number);
    return 0;
}

static int mallctl_create_arena(const struct mallctl_call *call) {
    return mallctl_create(call, &mallctl_state.arena_count, 1, MALLCTL_ARENAS_MAX - 1);
}

static int mallctl_create_tcache(const struct mallctl_call *call) {
    return mallctl_create(call, &mallctl_state.tcache_count, 0, MALLCTL_TCACHES_MAX);
}

// For each address: free blocks of its slab, all blocks of it, its bytes.
static void mallctl_look_at(size_t to[3], const void *block) {
    struct slab_look look;
    size_t granule = region_granule(block);
    memset(to, 0, 3 * sizeof to[0]);
    if (slab_look_at(&look, block)) {
        to[0] = look.free_count;
        to[1] = sizeclass_table[look.kind].block_count;
        to[2] = sizeclass_table[look.kind].slab_bytes;
    } else if (region_contains(granule) && region_kind(granule) >= KIND_LARGE &&
               !sizeclass_is_slab(region_kind(granule)) && large_is_block(block)) {
        to[1] = 1;
        to[2] = large_usable_bytes(block);
    }
}

static int mallctl_batch_query(const struct mallctl_call *call) {
    size_t count = call->new_bytes / sizeof(void *);
    if (call->old == NULL || call->old_bytes == NULL || call->new == NULL || count == 0 ||
        call->new_bytes % sizeof(void *) != 0 || *call->old_bytes / sizeof(size_t) != 3 * count ||
        *call->old_bytes % sizeof(size_t) != 0) {
        return EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        void *block;
        size_t answer[3];
        memcpy(&block, (const char *)call->new + i * sizeof block, sizeof block);
        mallctl_look_at(answer, block);
        memcpy((char *)call->old + i * sizeof answer, answer, sizeof answer);
    }
    return 0;
}

// ---- The table

// clang-format off
#define ROW(name, type, get, set) {name, MALLCTL_##type, get, set, NULL, 0}
#define RAW(name, raw) {name, MALLCTL_RAW, NULL, NULL, raw, 0}
#define FIXED(name, type, value) {name, MALLCTL_##type, mallctl_constant, NULL, NULL, value}
#define WORDS(name, words) {name, MALLCTL_TEXT, mallctl_text, NULL, NULL, (uintptr_t)(words)}
#define OFFSET(name, type, get, record, field) \
    {name, MALLCTL_##type, get, NULL, NULL, offsetof(struct record, field)}
#define FIGURE(name, field) OFFSET(name, WORD, mallctl_figure, figures, field)
#define ARENA(name, field) \
    OFFSET("stats.arenas.@." name, WORD, mallctl_arena_figure, figures, field)
#define BIN(name, field) \
    OFFSET("stats.arenas.@.bins.#." name, WORD, mallctl_bin_figure, figures, bins[0].field)
#define CLASS(name, type, field) \
    OFFSET("arenas.bin.#." name, type, mallctl_class_field, sizeclass, field)
#define USE(name, get, field) OFFSET(name, WORD, get, cache_use, field)
// clang-format on

static const struct mallctl_row mallctl_table[] = {
    WORDS("version", FIGURES_VERSION),
    ROW("epoch", WORD, mallctl_get_epoch, mallctl_set_epoch),
    ROW("background_thread", BOOL, mallctl_get_background, mallctl_set_background),
    {"max_background_threads", MALLCTL_WORD, mallctl_constant, mallctl_set_background_max, NULL, 1},

    FIXED("config.cache_oblivious", BOOL, true),
    FIXED("config.debug", BOOL, CONFIG_VALIDATE),
    FIXED("config.fill", BOOL, false),
    FIXED("config.lazy_lock", BOOL, false),
    WORDS("config.malloc_conf", ""),
    FIXED("config.opt_safety_checks", BOOL, false),
    FIXED("config.prof", BOOL, false),
    FIXED("config.prof_libgcc", BOOL, false),
    FIXED("config.prof_libunwind", BOOL, false),
    FIXED("config.stats", BOOL, true),
    FIXED("config.utrace", BOOL, false),
    FIXED("config.xmalloc", BOOL, false),

    FIXED("opt.abort", BOOL, false),
    FIXED("opt.abort_conf", BOOL, false),
    ROW("opt.background_thread", BOOL, mallctl_get_option_background, NULL),
    FIXED("opt.cache_oblivious", BOOL, true),
    FIXED("opt.confirm_conf", BOOL, false),
    ROW("opt.dirty_decay_ms", WORD, mallctl_get_delay, NULL),
    WORDS("opt.dss", "disabled"),
    WORDS("opt.junk", "false"),
    FIXED("opt.max_background_threads", WORD, 1),
    WORDS("opt.metadata_thp", "disabled"),
    FIXED("opt.muzzy_decay_ms", WORD, MALLCTL_MUZZY_MS),
    FIXED("opt.narenas", INT, 1),
    FIXED("opt.oversize_threshold", WORD, 0),
    WORDS("opt.percpu_arena", "disabled"),
    FIXED("opt.retain", BOOL, true),
    ROW("opt.stats_print", BOOL, mallctl_get_option_print, NULL),
    WORDS("opt.stats_print_opts", ""),
    FIXED("opt.tcache", BOOL, true),
    FIXED("opt.tcache_max", WORD, SIZECLASS_SPAN_MAX),
    ROW("opt.thp", TEXT, mallctl_get_option_thp, NULL),
    FIXED("opt.utrace", BOOL, false),
    FIXED("opt.xmalloc", BOOL, false),
    FIXED("opt.zero", BOOL, false),
    WORDS("opt.zero_realloc", "free"),

    ROW("thread.arena", INT, mallctl_constant, mallctl_set_arena),
    USE("thread.allocated", mallctl_get_use, allocated_bytes),
    USE("thread.allocatedp", mallctl_get_use_address, allocated_bytes),
    USE("thread.deallocated", mallctl_get_use, freed_bytes),
    USE("thread.deallocatedp", mallctl_get_use_address, freed_bytes),
    ROW("thread.idle", VOID, NULL, mallctl_flush),
    ROW("thread.tcache.enabled", BOOL, mallctl_get_cached, mallctl_set_cached),
    ROW("thread.tcache.flush", VOID, NULL, mallctl_flush),
    RAW("tcache.create", mallctl_create_tcache),
    ROW("tcache.flush", INT, NULL, mallctl_flush_created),
    ROW("tcache.destroy", INT, NULL, mallctl_flush_created),

    FIXED("arena.@.initialized", BOOL, true),
    ROW("arena.@.decay", VOID, NULL, mallctl_decay),
    ROW("arena.@.purge", VOID, NULL, mallctl_purge),
    WORDS("arena.@.dss", "disabled"),
    ROW("arena.@.dirty_decay_ms", WORD, mallctl_get_delay, mallctl_set_delay),
    ROW("arena.@.muzzy_decay_ms", WORD, mallctl_constant, mallctl_accept),

    ROW("arenas.narenas", INT, mallctl_get_arenas, NULL),
    ROW("arenas.dirty_decay_ms", WORD, mallctl_get_delay, mallctl_set_delay),
    ROW("arenas.muzzy_decay_ms", WORD, mallctl_constant, mallctl_accept),
    FIXED("arenas.quantum", WORD, MALLCTL_QUANTUM),
    ROW("arenas.page", WORD, mallctl_get_page, NULL),
    FIXED("arenas.tcache_max", WORD, SIZECLASS_SPAN_MAX),
    FIXED("arenas.nbins", INT, SIZECLASS_SLABS),
    FIXED("arenas.nhbins", INT, SIZECLASS_SLABS + SIZECLASS_SPANS),
    CLASS("size", WORD, size_bytes),
    CLASS("nregs", INT, block_count),
    CLASS("slab_size", WORD, slab_bytes),
    FIXED("arenas.bin.#.nshards", INT, 1),
    FIXED("arenas.nlextents", INT, SIZECLASS_SPANS),
    ROW("arenas.lextent.%.size", WORD, mallctl_span_size, NULL),
    RAW("arenas.create", mallctl_create_arena),

    FIGURE("stats.allocated", allocated),
    FIGURE("stats.active", active),
    FIGURE("stats.metadata", metadata),
    FIGURE("stats.resident", resident),
    FIGURE("stats.mapped", mapped),
    FIGURE("stats.retained", retained),
    ROW("stats.background_thread.num_threads", WORD, mallctl_get_background, NULL),
    WORDS("stats.arenas.@.dss", "disabled"),
    ROW("stats.arenas.@.dirty_decay_ms", WORD, mallctl_get_delay, NULL),
    FIXED("stats.arenas.@.muzzy_decay_ms", WORD, MALLCTL_MUZZY_MS),
    OFFSET("stats.arenas.@.nthreads", INT, mallctl_arena_figure, figures, thread_count),
    ARENA("pactive", active_pages),
    ARENA("pdirty", dirty_pages),
    FIXED("stats.arenas.@.pmuzzy", WORD, 0),
    ARENA("mapped", mapped),
    ARENA("retained", retained),
    ARENA("base", metadata),
    ARENA("resident", resident),
    ARENA("tcache_bytes", cached),
    ARENA("dirty_nmadvise", purge_calls),
    ARENA("dirty_purged", purged_pages),
    ARENA("small.allocated", small_allocated),
    ARENA("large.allocated", large_allocated),
    BIN("curregs", taken_count),
    BIN("curslabs", slab_count),
    BIN("nonfull_slabs", nonfull_count),

    RAW("experimental.utilization.batch_query", mallctl_batch_query),
};

enum { MALLCTL_ROWS = sizeof mallctl_table / sizeof mallctl_table[0] };

// ---- Names
//
// Parts of a name lie between dots.

struct mallctl_part {
    const char *text;
    size_t length;
};

static struct mallctl_part mallctl_first_part(const char *name) {
    return (struct mallctl_part){name, fmt_length_until(name, '.')};
}

// False: that was the last.
static bool mallctl_next_part(struct mallctl_part *part) {
    const char *end = part->text + part->length;
    if (*end == 0) {
        return false;
    }
    *part = mallctl_first_part(end + 1);
    return true;
}

static bool mallctl_is_same(struct mallctl_part a, struct mallctl_part b) {
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static bool mallctl_stands_for_number(struct mallctl_part part) {
    return part.length == 1 && (*part.text == '@' || *part.text == '#' || *part.text == '%');
}

static bool mallctl_is_index(struct mallctl_part part, size_t index) {
    switch (*part.text) {
    case '@': return index <= mallctl_arenas() || index == MALLCTL_ALL;
    case '#': return index < SIZECLASS_SLABS;
    default: return index < SIZECLASS_SPANS;
    }
}

static bool mallctl_read_index(struct mallctl_part part, size_t *index) {
    const char *at = part.text;
    uint64_t number;
    if (!fmt_parse_number(&at, &number) || at != part.text + part.length) {
        return false;
    }
    *index = number;
    return true;
}

// Whether the name begins the row's, part by part. `place` gets the numbers.
static bool mallctl_begins(const char *name, const struct mallctl_row *row,
                           struct mallctl_place *place, bool *is_whole) {
    struct mallctl_part asked = mallctl_first_part(name);
    struct mallctl_part known = mallctl_first_part(row->name);
    *place = (struct mallctl_place){.row = row};
    for (;;) {
        if (mallctl_stands_for_number(known)) {
            size_t *index = &place->index[place->index_count++];
            if (!mallctl_read_index(asked, index) || !mallctl_is_index(known, *index)) {
                return false;
            }
        } else if (!mallctl_is_same(asked, known)) {
            return false;
        }
        bool has_more = mallctl_next_part(&known);
        if (!mallctl_next_part(&asked)) {
            *is_whole = !has_more;
            return true;
        }
        if (!has_more) {
            return false;
        }
    }
}

// The row with this whole name; without `must_be_whole` the first that begins so.
static bool mallctl_find(const char *name, bool must_be_whole, struct mallctl_place *place) {
    bool is_whole;
    for (unsigned i = 0; i < MALLCTL_ROWS; i++) {
        if (mallctl_begins(name, &mallctl_table[i], place, &is_whole) &&
            (is_whole || !must_be_whole)) {
            return true;
        }
    }
    return false;
}

// The first row that has the same parts as this one up to `length` characters.
static size_t mallctl_prefix_row(const struct mallctl_row *row, size_t length) {
    size_t i = 0;
    while (strncmp(mallctl_table[i].name, row->name, length) != 0 ||
           (mallctl_table[i].name[length] != 0 && mallctl_table[i].name[length] != '.')) {
        i++;
    }
    return i;
}

// ---- MIBs

static int mallctl_translate(const char *name, size_t *mib, size_t *mib_length) {
    struct mallctl_place place;
    if (!mallctl_find(name, false, &place)) {
        return ENOENT;
    }
    struct mallctl_part asked = mallctl_first_part(name);
    struct mallctl_part part = mallctl_first_part(place.row->name);
    size_t count = 0;
    unsigned number = 0;
    do {
        if (count == *mib_length) {
            break;
        }
        size_t length = (size_t)(part.text - place.row->name) + part.length;
        mib[count++] = mallctl_stands_for_number(part) ? place.index[number++]
                                                       : mallctl_prefix_row(place.row, length);
    } while (mallctl_next_part(&part) && mallctl_next_part(&asked));
    *mib_length = count;
    return 0;
}

// A row's last part is a word and its own, so that the last number is the row.
static bool mallctl_place_of(const size_t *mib, size_t mib_length, struct mallctl_place *place) {
    if (mib_length == 0 || mib[mib_length - 1] >= MALLCTL_ROWS) {
        return false;
    }
    const struct mallctl_row *row = &mallctl_table[mib[mib_length - 1]];
    struct mallctl_part part = mallctl_first_part(row->name);
    *place = (struct mallctl_place){.row = row};
    for (size_t i = 0; i < mib_length; i++) {
        size_t length = (size_t)(part.text - row->name) + part.length;
        if (mallctl_stands_for_number(part)) {
            place->index[place->index_count++] = mib[i];
            if (!mallctl_is_index(part, mib[i])) {
                return false;
            }
        } else if (mib[i] >= MALLCTL_ROWS ||
                   strncmp(mallctl_table[mib[i]].name, row->name, length) != 0) {
            return false;
        }
        if (!mallctl_next_part(&part)) {
            return i + 1 == mib_length;
        }
    }
    return false;
}

// ---- Reading and writing

static uint64_t mallctl_load(enum mallctl_type type, const void *from) {
    uint64_t word = 0;
    unsigned number = 0;
    unsigned char byte = 0;
    switch (type) {
    case MALLCTL_BOOL: memcpy(&byte, from, sizeof byte); return byte != 0;
    case MALLCTL_INT: memcpy(&number, from, sizeof number); return number;
    default: memcpy(&word, from, sizeof word); return word;
    }
}

// A wrong length gets what fits, and an error.
static int mallctl_store(enum mallctl_type type, const struct mallctl_call *call, uint64_t value) {
    bool truth = value != 0;
    unsigned number = (unsigned)value;
    const char *text = (const char *)(uintptr_t)value;
    const void *from = type == MALLCTL_BOOL   ? (const void *)&truth
                       : type == MALLCTL_INT  ? (const void *)&number
                       : type == MALLCTL_TEXT ? (const void *)&text
                                              : (const void *)&value;
    size_t size = mallctl_size[type];
    bool fits = *call->old_bytes == size;
    *call->old_bytes = *call->old_bytes < size ? *call->old_bytes : size;
    memcpy(call->old, from, *call->old_bytes);
    return fits ? 0 : EINVAL;
}

static bool mallctl_is_permitted(const struct mallctl_row *row, const struct mallctl_call *call) {
    bool reads = call->old != NULL || call->old_bytes != NULL;
    bool writes = call->new != NULL || call->new_bytes != 0;
    if (row->type == MALLCTL_VOID) {
        return !reads && !writes;
    }
    return (row->get != NULL || !reads) && (row->set != NULL || !writes);
}

// The value that was there before, except for the epoch.
static int mallctl_apply(const struct mallctl_place *place, const struct mallctl_call *call) {
    const struct mallctl_row *row = place->row;
    if (row->type == MALLCTL_RAW) {
        return row->raw(call);
    }
    if (!mallctl_is_permitted(row, call)) {
        return EPERM;
    }
    if (row->type == MALLCTL_VOID) {
        return row->set(place, 0);
    }
    if (row->get == NULL && call->new == NULL) {
        return EINVAL;
    }
    bool reads = call->old != NULL && call->old_bytes != NULL;
    uint64_t value = reads ? row->get(place) : 0;
    if (call->new != NULL) {
        int error = call->new_bytes != mallctl_size[row->type]
                        ? EINVAL
                        : row->set(place, mallctl_load(row->type, call->new));
        if (error != 0) {
            return error;
        }
    }
    if (reads && row->set == mallctl_set_epoch) {
        value = row->get(place);
    }
    return reads ? mallctl_store(row->type, call, value) : 0;
}

MALLCTL_EXPORT int mallctl(const char *name, void *old, size_t *old_bytes, void *new,
                           size_t new_bytes);
MALLCTL_EXPORT int mallctl(const char *name, void *old, size_t *old_bytes, void *new,
                           size_t new_bytes) {
    struct mallctl_place place;
    struct mallctl_call call = {old, old_bytes, new, new_bytes};
    if (!life_is_ready()) {
        return EAGAIN;
    }
    return mallctl_find(name, true, &place) ? mallctl_apply(&place, &call) : ENOENT;
}
MALLCTL_ALSO(mallctl);

MALLCTL_EXPORT int mallctlnametomib(const char *name, size_t *mib, size_t *mib_length);
MALLCTL_EXPORT int mallctlnametomib(const char *name, size_t *mib, size_t *mib_length) {
    return life_is_ready() ? mallctl_translate(name, mib, mib_length) : EAGAIN;
}
MALLCTL_ALSO(mallctlnametomib);

MALLCTL_EXPORT int mallctlbymib(const size_t *mib, size_t mib_length, void *old, size_t *old_bytes,
                                void *new, size_t new_bytes);
MALLCTL_EXPORT int mallctlbymib(const size_t *mib, size_t mib_length, void *old, size_t *old_bytes,
                                void *new, size_t new_bytes) {
    struct mallctl_place place;
    struct mallctl_call call = {old, old_bytes, new, new_bytes};
    if (!life_is_ready()) {
        return EAGAIN;
    }
    return mallctl_place_of(mib, mib_length, &place) ? mallctl_apply(&place, &call) : ENOENT;
}
MALLCTL_ALSO(mallctlbymib);

#endif
