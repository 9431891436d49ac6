// tag.c - tags, sites and scopes.                                          layer 7
#include "tag/tag.h"

#include "allot.h"
#include "api/fast.h"
#include "api/life.h"
#include "api/options.h"
#include "base/bits.h"
#include "guard/guard.h"
#include "heap/registry.h"
#include "os/frame.h"
#include "slab/large.h"
#include "tag/tagread.h"

#include <errno.h>
#include <string.h>

// 0 is no tag, but stands for what has none.
static bool api_tag_exists(uint32_t tag) {
    return tag < tag_count() && (tag == 0 || tag_account(tag)->site == NULL);
}

static allot_tag api_tag_create(const char *name, allot_tag parent,
                                const struct allot_tag_limits *limits) {
    if (!api_tag_exists(parent) || (limits != NULL && limits->size_bytes != sizeof *limits)) {
        errno = EINVAL;
        return 0;
    }
    int saved = errno;
    allot_tag tag = life_is_ready() ? tag_create(name, parent, limits) : 0;
    errno = tag != 0 ? saved : ENOMEM;
    return tag;
}

allot_tag allot_tag_create(const char *name, allot_tag parent) {
    return api_tag_create(name, parent, NULL);
}

allot_tag allot_tag_create_limited(const char *name, allot_tag parent,
                                   const struct allot_tag_limits *limits) {
    return api_tag_create(name, parent, limits);
}

static struct tag *api_tag_charged(allot_tag tag) {
    bool is_charged = tag != 0 && api_tag_exists(tag) && tag_account(tag)->tag->has_limits;
    if (!is_charged) {
        errno = EINVAL;
    }
    return is_charged ? tag_account(tag)->tag : NULL;
}

int allot_tag_set_limit(allot_tag number, size_t limit_bytes) {
    struct tag *tag = api_tag_charged(number);
    if (tag == NULL) {
        return -1;
    }
    tag_set_limit(tag, &limit_bytes, NULL);
    return 0;
}

int allot_tag_set_grace(allot_tag number, bool on) {
    struct tag *tag = api_tag_charged(number);
    if (tag == NULL) {
        return -1;
    }
    tag_set_limit(tag, NULL, &on);
    return 0;
}

// ---- Blocks

// Of any function, in the scope of an account.
static NOINLINE void *api_tag_malloc(uint32_t account, size_t align_bytes, size_t size_bytes) {
    FRAME_KEEP();
    if (!life_is_ready()) {
        errno = ENOMEM;
        return NULL;
    }
    if (account >= tag_count()) {
        errno = EINVAL;
        return NULL;
    }
    uint32_t before = tag_set_scope(account);
    void *block =
        align_bytes > 1 ? allot_aligned(align_bytes, size_bytes) : fast_malloc(size_bytes);
    tag_set_scope(before);
    return block;
}

static ALWAYS_INLINE void *api_tag_take(uint32_t account, size_t size_bytes) {
    if (LIKELY(size_bytes <= SIZECLASS_SLAB_MAX)) {
        void *block = tag_pop(account, sizeclass_of(size_bytes));
        if (LIKELY(block != NULL)) {
            return block;
        }
    }
    return api_tag_malloc(account, 1, size_bytes);
}

static void *api_tag_calloc(uint32_t account, size_t count, size_t size_bytes) {
    size_t bytes;
    FRAME_KEEP();
    if (__builtin_mul_overflow(count, size_bytes, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (account >= tag_count()) {
        errno = EINVAL;
        return NULL;
    }
    uint32_t before = tag_set_scope(account);
    void *block = allot_calloc(count, size_bytes);
    tag_set_scope(before);
    return block;
}

static uint32_t api_tag_find(const void *block) {
    size_t granule = region_granule(block);
    bool is_guarded = region_contains(granule) && region_kind(granule) == KIND_PEN;
    return is_guarded ? guard_account(block) : tag_find(block);
}

// Whether a block stays with the account that it has.
static bool api_tag_has(allot_tag tag, const void *block) {
    uint32_t owner = api_tag_find(block);
    return block != NULL && (owner != 0 ? tag_account(owner)->tag->id : 0) == tag;
}

static NOINLINE void *api_tag_realloc(uint32_t account, void *block, size_t size_bytes) {
    FRAME_KEEP();
    if (block != NULL && size_bytes == 0) {
        return allot_realloc(block, 0);
    }
    void *fresh = api_tag_take(account, size_bytes);
    if (fresh != NULL && block != NULL) {
        size_t usable = allot_usable_size(block);
        memcpy(fresh, block, usable < size_bytes ? usable : size_bytes);
        allot_free(block);
    }
    return fresh;
}

// The account of a site; one that does not exist if there is no such tag.
static uint32_t api_tag_site(struct allot_site *site, allot_tag tag) {
    uint32_t account = tag_site(site, tag);
    return LIKELY(account != 0) || tag == 0 ? account : UINT32_MAX;
}

// Whether blocks may be allocated for the tag: a site's number is none.
static allot_tag api_tag_checked(allot_tag tag) {
    return api_tag_exists(tag) ? tag : UINT32_MAX;
}

void *allot_tag_malloc(allot_tag tag, size_t size_bytes) {
    return api_tag_take(tag, size_bytes);
}

void *allot_tag_calloc(allot_tag tag, size_t count, size_t size_bytes) {
    return api_tag_calloc(api_tag_checked(tag), count, size_bytes);
}

void *allot_tag_aligned(allot_tag tag, size_t align_bytes, size_t size_bytes) {
    return api_tag_malloc(api_tag_checked(tag), align_bytes > 0 ? align_bytes : 3, size_bytes);
}

void *allot_tag_realloc(allot_tag tag, void *block, size_t size_bytes) {
    return api_tag_has(tag, block) ? allot_realloc(block, size_bytes)
                                   : api_tag_realloc(api_tag_checked(tag), block, size_bytes);
}

static NOINLINE void *api_site_malloc(struct allot_site *site, allot_tag tag, size_t size_bytes) {
    return api_tag_take(api_tag_site(site, tag), size_bytes);
}

// Most sites allocate for one tag. At first, `last` has account 0 for tag 0.
void *allot_site_malloc(struct allot_site *site, allot_tag tag, size_t size_bytes) {
    uint64_t last = __atomic_load_n(&site->last, __ATOMIC_ACQUIRE);
    if (LIKELY(last >> 32 == tag)) {
        return api_tag_take((uint32_t)last, size_bytes);
    }
    return api_site_malloc(site, tag, size_bytes);
}

void *allot_site_calloc(struct allot_site *site, allot_tag tag, size_t count, size_t size_bytes) {
    return api_tag_calloc(api_tag_site(site, tag), count, size_bytes);
}

void *allot_site_realloc(struct allot_site *site, allot_tag tag, void *block, size_t size_bytes) {
    return api_tag_has(tag, block) ? allot_realloc(block, size_bytes)
                                   : api_tag_realloc(api_tag_site(site, tag), block, size_bytes);
}

void allot_tag_free(void *block) {
    size_t granule = region_granule(block);
    if (UNLIKELY(!region_contains(granule)) || UNLIKELY(region_kind(granule) != KIND_TAGGED)) {
        fast_free(block);
    } else if (UNLIKELY(!tag_push(block, granule))) {
        free_slow(block);
    }
}

// ---- Scopes

allot_tag allot_tag_enter(allot_tag tag) {
    const struct cache_ledger *ledger = cache_tagged;
    // The numbers of its rows were checked when these were used first.
    bool is_known =
        tag == 0 || (tag < ledger->row_count && ledger->rows[tag].is_plain == TAG_ROW_OF_TAG);
    if (!is_known && (!life_is_ready() || !api_tag_exists(tag))) {
        return cache_scope;
    }
    return tag_set_scope(tag);
}

void allot_tag_leave(allot_tag before) {
    tag_set_scope(before);
}

allot_tag allot_tag_of(const void *block) {
    uint32_t account = api_tag_find(block);
    return account != 0 ? tag_account(account)->tag->id : 0;
}

// ---- Figures

static void api_tag_begin(void) {
    tagread_begin();
    guard_each(tagread_hold);
}

bool allot_tag_stats(allot_tag tag, struct allot_tag_stats *stats) {
    if (stats->size_bytes != sizeof *stats || tag == 0 || !api_tag_exists(tag)) {
        errno = EINVAL;
        return false;
    }
    api_tag_begin();
    tagread_add_tree(tag);
    tagread_tag(tag, stats);
    tagread_end();
    return true;
}

size_t allot_tag_snapshot(struct allot_tag_stats *stats, size_t count) {
    if (count > 0 && stats->size_bytes != sizeof *stats) {
        errno = EINVAL;
        return 0;
    }
    size_t found = 0;
    api_tag_begin();
    tagread_add_trees();
    for (uint32_t at = 1; at < tag_count(); at++) {
        if (tag_account(at)->site == NULL && found++ < count) {
            tagread_tag(at, &stats[found - 1]);
        }
    }
    tagread_end();
    return found;
}

size_t allot_site_snapshot(struct allot_site_stats *stats, size_t count) {
    if (count > 0 && stats->size_bytes != sizeof *stats) {
        errno = EINVAL;
        return 0;
    }
    size_t found = 0;
    for (uint32_t at = 1; at < tag_count(); at++) {
        if (tag_account(at)->site != NULL && found++ < count) {
            tagread_site(at, &stats[found - 1]);
        }
    }
    return found;
}

void allot_tag_print(int fd) {
    api_tag_begin();
    tagread_add_trees();
    tagread_print(fd);
    tagread_end();
}

void allot_mark(void) {
    tagread_mark();
}

uint64_t allot_leaks(int fd, unsigned flags) {
    return tagread_leaks(fd, flags, options_state.leaks_quiet);
}
