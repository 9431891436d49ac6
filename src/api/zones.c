// zones.c - region pools from outside: addresses, a lock, errors.          layer 7
#include "allot.h"
#include "base/bits.h"
#include "os/check.h"
#include "range/zone.h"

#include <errno.h>
#include <string.h>

struct allot_region_pool {
    struct zone zone;
};

// ---- Making --------------------------------------------------------------------

static int zones_error(int error) {
    if (UNLIKELY(error != 0)) {
        errno = error;
        return -1;
    }
    return 0;
}

static bool zones_is_aligned(const void *region) {
    return region != NULL && (uintptr_t)region % ZONE_PAGE_BYTES == 0;
}

allot_region_pool *allot_region_pool_create(void *region, size_t size_bytes) {
    allot_region_pool *pool = region;
    if (!zones_is_aligned(region) || !zone_init(&pool->zone, size_bytes)) {
        errno = zones_is_aligned(region) ? ENOMEM : EINVAL;
        return NULL;
    }
    return pool;
}

allot_region_pool *allot_region_pool_open(void *region, size_t size_bytes) {
    allot_region_pool *pool = region;
    int error = zones_is_aligned(region) ? zone_check(&pool->zone, size_bytes) : EINVAL;
    return zones_error(error) == 0 ? pool : NULL;
}

void allot_region_pool_destroy(allot_region_pool *pool) {
    if (pool != NULL) {
        atomic_store_explicit(&pool->zone.magic, 0, memory_order_release);
    }
}

// ---- One at a time ---------------------------------------------------------------

static COLD void zones_repair(struct zone *zone) {
    zone_rebuild(zone);
    zone->rebuilt_count++;
}

static ALWAYS_INLINE void zones_enter(allot_region_pool *pool) {
    if (UNLIKELY(!zonelock_take(&pool->zone.lock))) {
        zones_repair(&pool->zone);
    }
}

static ALWAYS_INLINE void zones_leave(allot_region_pool *pool) {
    if (CONFIG_TINY != 0) {
        ALLOT_ASSERT(pool->zone.page_count > 64 || zone_validate(&pool->zone));
    }
    zonelock_give(&pool->zone.lock);
}

// ---- Blocks --------------------------------------------------------------------

void *allot_region_pool_malloc(allot_region_pool *pool, size_t size_bytes) {
    uint32_t class_idx = zone_class_of(&pool->zone, size_bytes);
    zones_enter(pool);
    uint64_t at = zone_take(&pool->zone, class_idx, size_bytes);
    zones_leave(pool);
    if (UNLIKELY(at == 0)) {
        errno = ENOMEM;
        return NULL;
    }
    return (char *)pool + at;
}

void *allot_region_pool_calloc(allot_region_pool *pool, size_t count, size_t size_bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, size_bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = allot_region_pool_malloc(pool, total);
    return block == NULL ? NULL : memset(block, 0, total);
}

static uint64_t zones_distance(const allot_region_pool *pool, const void *ptr) {
    return (uintptr_t)ptr - (uintptr_t)pool;
}

int allot_region_pool_free(allot_region_pool *pool, void *ptr) {
    if (UNLIKELY(ptr == NULL)) {
        return 0;
    }
    uint64_t at = zones_distance(pool, ptr);
    zones_enter(pool);
    int error = zone_give(&pool->zone, at);
    zones_leave(pool);
    return zones_error(error);
}

int allot_region_pool_free_sized(allot_region_pool *pool, void *ptr, size_t size_bytes) {
    if (ptr == NULL) {
        return 0;
    }
    uint64_t at = zones_distance(pool, ptr);
    size_t usable_bytes = 0;
    zones_enter(pool);
    int error = zone_find(&pool->zone, &usable_bytes, at);
    if (error == 0) {
        bool is_right = zone_rounded_bytes(&pool->zone, size_bytes) == usable_bytes;
        error = is_right ? zone_give(&pool->zone, at) : EINVAL;
    }
    zones_leave(pool);
    return zones_error(error);
}

size_t allot_region_pool_usable_size(allot_region_pool *pool, const void *ptr) {
    if (ptr == NULL) {
        return 0;
    }
    size_t usable_bytes = 0;
    zones_enter(pool);
    int error = zone_find(&pool->zone, &usable_bytes, zones_distance(pool, ptr));
    zones_leave(pool);
    return zones_error(error) == 0 ? usable_bytes : 0;
}

// ---- Addresses -------------------------------------------------------------------

uint64_t allot_region_pool_offset(const allot_region_pool *pool, const void *ptr) {
    uint64_t distance = zones_distance(pool, ptr);
    return distance < pool->zone.size_bytes ? distance : 0;
}

void *allot_region_pool_at(const allot_region_pool *pool, uint64_t offset) {
    bool is_inside = offset > 0 && offset < pool->zone.size_bytes;
    return is_inside ? (char *)(uintptr_t)pool + offset : NULL;
}

int allot_region_pool_set_root(allot_region_pool *pool, const void *ptr) {
    uint64_t offset = allot_region_pool_offset(pool, ptr);
    if (offset == 0 && ptr != NULL) {
        return zones_error(ERANGE);
    }
    atomic_store_explicit(&pool->zone.root, offset, memory_order_release);
    return 0;
}

void *allot_region_pool_root(const allot_region_pool *pool) {
    return allot_region_pool_at(pool, atomic_load_explicit(&pool->zone.root, memory_order_acquire));
}

// ---- Looking ---------------------------------------------------------------------

bool allot_region_pool_stats(allot_region_pool *pool, struct allot_region_pool_stats *stats) {
    if (stats->size_bytes != sizeof(*stats)) {
        errno = EINVAL;
        return false;
    }
    zones_enter(pool);
    zone_drop_empty(&pool->zone);
    zone_read_stats(&pool->zone, stats);
    zones_leave(pool);
    return true;
}

bool allot_region_pool_walk(allot_region_pool *pool, allot_region_pool_visit visit, void *context) {
    uint64_t at = 0;
    size_t usable_bytes = 0;
    bool goes_on = true, is_found;
    do {
        at += usable_bytes;
        zones_enter(pool);
        is_found = zone_find_next(&pool->zone, &at, &usable_bytes);
        zones_leave(pool);
        goes_on = !is_found || visit(context, (char *)pool + at, usable_bytes);
    } while (is_found && goes_on);
    return goes_on;
}

bool allot_region_pool_validate(allot_region_pool *pool) {
    zones_enter(pool);
    bool is_right = zone_validate(&pool->zone);
    zones_leave(pool);
    return is_right;
}
