// registry.c - threads: start, exit, fork.                                 layer 5
#include "heap/registry.h"

#include "heap/background.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/slab.h"

#include <pthread.h>
#include <string.h>

enum {
    REGISTRY_PARKED_MAX = 8,
    // Destructors of other keys may allocate: the cache is given up a round later.
    // Not in the last round: a thread may have begun to allocate in a destructor.
    REGISTRY_ROUNDS = 1,
    REGISTRY_LIVE_SHARE = 64,  // all caches may hold this part of what is in use
    REGISTRY_CPUS_PER_SHARD = 4,
};
#define REGISTRY_THREAD_BYTES_MIN (64 * KIB)
// A cache with more blocks than this is emptied, not parked.
#define REGISTRY_PARKED_BYTES (512 * KIB)

static struct {
    struct lock lock;
    bool is_ready;
    bool is_counting;
    bool has_key;
    bool had_threads;  // fork: caches of the parent's threads are in `lost`
    pthread_key_t key;
    uint16_t last_number;
    uint32_t thread_count;
    uint32_t parked_count;
    uint32_t next_shard;
    uint32_t first_scope;
    size_t thread_bytes, total_bytes;
    struct cache *caches;         // all records ever made; only grows
    struct cache *parked, *idle;  // by next_parked: with blocks; empty
    struct cache *lost;           // by next: of threads that a fork left behind
    struct cache *survivor;       // of the thread that forked
} registry_state = {.thread_bytes = 4 * MIB, .total_bytes = 32 * MIB};

THREAD_LOCAL uint64_t registry_id = REGISTRY_NO_ID;
static THREAD_LOCAL struct cache *registry_own;
static THREAD_LOCAL unsigned char registry_round;  // of thread-exit destructors; 255: over

enum { REGISTRY_OVER = 255 };

// A thread's number: the record of its cache, and how many threads had it before.
// Records lie below 2^48 and are never given back.
enum { REGISTRY_ADDRESS_BITS = 48 };

// ---- Limits

// Any thread; a value that is a moment old does no harm.
static void registry_update_limits(void) {
    struct pageheap_stats heap = {0};
    if (__atomic_load_n(&registry_state.is_ready, __ATOMIC_ACQUIRE)) {
        pageheap_read_stats(&heap);
    }
    size_t share = heap.used_bytes / REGISTRY_LIVE_SHARE;
    size_t total = __atomic_load_n(&registry_state.total_bytes, __ATOMIC_RELAXED);
    total = share > total ? share : total;
    size_t threads = __atomic_load_n(&registry_state.thread_count, __ATOMIC_RELAXED);
    size_t bytes = total / (threads > 0 ? threads : 1);
    size_t most = __atomic_load_n(&registry_state.thread_bytes, __ATOMIC_RELAXED);
    bytes = bytes > REGISTRY_THREAD_BYTES_MIN ? bytes : REGISTRY_THREAD_BYTES_MIN;
    bytes = bytes < most ? bytes : most;
    atomic_store_explicit(&cache_policy.thread_bytes, bytes, memory_order_relaxed);
}

void registry_set_limits(size_t thread_bytes, size_t total_bytes) {
    __atomic_store_n(&registry_state.thread_bytes, thread_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&registry_state.total_bytes, total_bytes, __ATOMIC_RELAXED);
    registry_update_limits();
}

void registry_set_counting(bool is_counting) {
    registry_state.is_counting = is_counting;
}

// With its blocks that have accounts.
static void registry_empty(struct cache *cache) {
    cache_empty(cache);
    if (cache->ledger != NULL) {
        cache_empty(&cache->ledger->cache);
    }
}

// ---- Start

bool registry_ready(registry_setup *setup) {
    if (LIKELY(__atomic_load_n(&registry_state.is_ready, __ATOMIC_ACQUIRE))) {
        return true;
    }
    lock_take(&registry_state.lock);
    bool is_ready = registry_state.is_ready;
    if (!is_ready) {
        sizeclass_init();
        setup();
        is_ready = region_is_ready();
        if (is_ready) {
            pageheap_init(os_cpu_count() / REGISTRY_CPUS_PER_SHARD);
            __atomic_store_n(&registry_state.is_ready, true, __ATOMIC_RELEASE);
        }
    }
    lock_give(&registry_state.lock);
    return is_ready;
}

static void registry_thread_exit(void *context);

// Never destroyed: threads may outlive the library's last user.
static void registry_make_key(void) {
    if (!registry_state.has_key) {
        registry_state.has_key = pthread_key_create(&registry_state.key, registry_thread_exit) == 0;
    }
}

// The lock is held.
static struct cache *registry_make_cache(void) {
    struct cache *cache = region_take_meta(CACHE_RECORD_BYTES);
    if (cache != NULL) {
        unsigned shards = pageheap_shard_count();
        registry_state.last_number++;
        registry_state.last_number += registry_state.last_number == 0;
        cache_init(cache, registry_state.last_number,
                   (uint16_t)(registry_state.next_shard++ % shards));
        cache->next = registry_state.caches;
        registry_state.caches = cache;
    }
    return cache;
}

static struct cache *registry_pop(struct cache **list) {
    struct cache *cache = *list;
    if (cache != NULL) {
        *list = cache->next_parked;
        cache->next_parked = NULL;
    }
    return cache;
}

static uintptr_t registry_thread(void) {
    return (uintptr_t)pthread_self();
}

// Thread-local variables are set back when the loader has relocated the
// program: what the thread did before that (IFUNC resolvers) is found again.
static struct cache *registry_find_early(void) {
    struct cache *cache = registry_state.caches;
    bool is_first = registry_state.thread_count == 1 && cache != NULL && cache->next == NULL;
    return is_first && cache->thread == registry_thread() ? cache : NULL;
}

// The fast paths use the cache unless each call has to be looked at.
static ALWAYS_INLINE void registry_select(struct cache *cache) {
    bool is_slow = cache->is_counting || cache->is_bypassed || cache_scope != 0;
    cache_self = is_slow ? &cache_none : cache;
}

// That of all threads without a ledger has no row, and is not written to.
static ALWAYS_INLINE void registry_forget_scope(void) {
    if (cache_tagged->scope_row != NULL) {
        cache_tagged->scope_row = NULL;
    }
}

static struct cache *registry_start(void) {
    if (registry_round == REGISTRY_OVER) {
        return NULL;
    }
    lock_take(&registry_state.lock);
    registry_make_key();
    struct cache *cache = registry_find_early();
    if (cache == NULL) {
        cache = registry_pop(&registry_state.parked);
        registry_state.parked_count -= cache != NULL;
        cache = cache != NULL ? cache : registry_pop(&registry_state.idle);
        cache = cache != NULL ? cache : registry_make_cache();
        if (cache != NULL) {
            registry_state.thread_count++;
            cache->thread = registry_thread();
            registry_update_limits();
        }
    }
    lock_give(&registry_state.lock);
    if (cache == NULL) {
        return NULL;
    }
    cache->is_counting = registry_state.is_counting;
    cache->is_bypassed = false;
    cache->use = (struct cache_use){0, 0};
    if (cache->watch != NULL) {
        *cache->watch = (struct cache_watch){0};
    }
    registry_own = cache;
    uint64_t turn = atomic_load_explicit(&cache->turn, memory_order_relaxed);
    registry_id = (uintptr_t)cache | turn << REGISTRY_ADDRESS_BITS;
    cache_tagged = cache->ledger != NULL ? cache->ledger : &cache_no_ledger;
    registry_forget_scope();
    cache_scope = cache_scope != 0 ? cache_scope : registry_state.first_scope;
    registry_select(cache);
    if (registry_state.has_key) {
        pthread_setspecific(registry_state.key, cache);
    }
    return cache;
}

static NOINLINE void registry_recover(void);

struct cache *registry_cache(void) {
    if (UNLIKELY(__atomic_load_n(&registry_state.had_threads, __ATOMIC_ACQUIRE))) {
        registry_recover();
    }
    struct cache *cache = registry_own;
    return LIKELY(cache != NULL) ? cache : registry_start();
}

struct cache *registry_find(void) {
    return registry_own;
}

uint64_t registry_thread_id(void) {
    return registry_cache() != NULL ? registry_id : 0;
}

bool registry_is_alive(uint64_t thread_id) {
    uintptr_t address = thread_id & (((uint64_t)1 << REGISTRY_ADDRESS_BITS) - 1);
    const struct cache *cache = (const struct cache *)address;
    return cache != NULL && atomic_load_explicit(&cache->turn, memory_order_acquire) ==
                                thread_id >> REGISTRY_ADDRESS_BITS;
}

void registry_bypass(bool is_bypassed) {
    struct cache *cache = registry_own;
    if (cache != NULL && cache->is_bypassed != is_bypassed) {
        registry_empty(cache);
        cache->is_bypassed = is_bypassed;
        registry_select(cache);
    }
}

uint32_t registry_set_scope(uint32_t account) {
    struct cache *cache = LIKELY(registry_own != NULL) ? registry_own : registry_cache();
    uint32_t before = cache_scope;
    cache_scope = account;
    registry_forget_scope();
    if (LIKELY(cache != NULL)) {
        registry_select(cache);
    }
    return before;
}

void registry_set_first_scope(uint32_t account) {
    registry_state.first_scope = account;
}

// ---- Exit

static void registry_thread_exit(void *context) {
    struct cache *cache = context;
    if (cache != registry_own) {
        return;
    }
    if (registry_round < REGISTRY_ROUNDS && pthread_setspecific(registry_state.key, cache) == 0) {
        registry_round++;
        return;
    }
    registry_round = REGISTRY_OVER;
    registry_own = NULL;
    registry_id = REGISTRY_NO_ID;
    cache_self = &cache_none;
    cache_tagged = &cache_no_ledger;
    atomic_fetch_add_explicit(&cache->turn, 1, memory_order_release);
    cache_settle(cache);  // for the next owner
    struct cache_stats cached = {0};
    cache_add_stats(cache, &cached);
    if (cache->ledger != NULL) {
        cache_add_stats(&cache->ledger->cache, &cached);
    }
    lock_take(&registry_state.lock);
    bool is_parked =
        registry_state.parked_count < REGISTRY_PARKED_MAX && cached.bytes <= REGISTRY_PARKED_BYTES;
    if (is_parked) {
        cache->next_parked = registry_state.parked;
        registry_state.parked = cache;
        registry_state.parked_count++;
    }
    cache->thread = 0;
    registry_state.thread_count--;
    lock_give(&registry_state.lock);
    if (!is_parked) {
        registry_empty(cache);
        lock_take(&registry_state.lock);
        cache->next_parked = registry_state.idle;
        registry_state.idle = cache;
        lock_give(&registry_state.lock);
    }
}

void registry_finish(void) {
    if (registry_own != NULL) {
        registry_empty(registry_own);
    }
}

// ---- Purge and statistics

void registry_purge(void) {
    atomic_fetch_add_explicit(&cache_policy.purge_request, 1, memory_order_relaxed);
    struct cache *own = registry_own;
    if (own != NULL) {
        own->purge_seen = atomic_load_explicit(&cache_policy.purge_request, memory_order_relaxed);
        registry_empty(own);
    }
    lock_take(&registry_state.lock);
    struct cache *parked = registry_state.parked;
    registry_state.parked = NULL;
    registry_state.parked_count = 0;
    lock_give(&registry_state.lock);
    while (parked != NULL) {
        struct cache *cache = registry_pop(&parked);
        registry_empty(cache);
        lock_take(&registry_state.lock);
        cache->next_parked = registry_state.idle;
        registry_state.idle = cache;
        lock_give(&registry_state.lock);
    }
}

static uint64_t registry_load(const _Atomic(uint64_t) *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void registry_add_stats(const struct cache *cache, struct registry_stats *stats) {
    cache_add_stats(cache, &stats->cached);
    stats->malloc_calls += registry_load(&cache->malloc_calls);
    stats->free_calls += registry_load(&cache->free_calls);
    stats->large_calls += registry_load(&cache->large_calls);
    stats->refill_calls += registry_load(&cache->refill_calls);
    stats->flush_calls += registry_load(&cache->flush_calls);
    stats->remote_blocks += registry_load(&cache->remote_blocks);
}

void registry_read_stats(struct registry_stats *stats) {
    *stats = (struct registry_stats){0};
    lock_take(&registry_state.lock);
    for (const struct cache *cache = registry_state.caches; cache != NULL; cache = cache->next) {
        registry_add_stats(cache, stats);
        const struct cache_ledger *ledger = __atomic_load_n(&cache->ledger, __ATOMIC_ACQUIRE);
        if (ledger != NULL) {
            registry_add_stats(&ledger->cache, stats);
        }
    }
    stats->thread_count = registry_state.thread_count;
    lock_give(&registry_state.lock);
}

// ---- fork

void registry_repair(bool had_threads) {
    lock_reset(&registry_state.lock);
    region_repair();
    if (!had_threads || !registry_state.is_ready) {
        return;
    }
    pageheap_repair();
    slab_repair();
    if (registry_state.had_threads) {
        return;  // a child of a child that never got so far as to recover
    }
    struct cache *own = registry_own;
    registry_state.survivor = own;
    registry_state.lost = registry_state.caches;
    registry_state.caches = NULL;
    registry_state.parked = registry_state.idle = NULL;
    registry_state.parked_count = 0;
    registry_state.thread_count = own != NULL;
    registry_state.had_threads = true;
}

static bool registry_has_leased(unsigned kind, uint32_t slab) {
    const struct cache *survivor = registry_state.survivor;
    if (survivor != NULL && sizeclass_is_twin(kind)) {
        survivor = survivor->ledger != NULL ? &survivor->ledger->cache : NULL;
        kind -= SIZECLASS_TWIN;
    }
    return survivor != NULL && CACHE_BIN(survivor, kind).lease.slab == slab;
}

static void registry_renew(struct cache *cache, uint16_t number, uint8_t twin) {
    cache_salvage(cache);
    memset(cache, 0, sizeof *cache);
    cache_init(cache, number, 0);
    cache->twin = twin;
    cache->bump = twin != 0 ? cache->bump_end : cache->bump;
}

// The lock is held. Every record but that of the thread that forked becomes an
// empty one. The caller may be a thread that this process has started since.
static void registry_salvage(void) {
    struct cache *next;
    for (struct cache *cache = registry_state.lost; cache != NULL; cache = next) {
        next = cache->next;
        registry_state.lost = next;  // another thread may fork just now
        if (cache != registry_state.survivor) {
            uint16_t turn = atomic_load_explicit(&cache->turn, memory_order_relaxed);
            struct cache_ledger *ledger = cache->ledger;
            registry_renew(cache, ++registry_state.last_number, 0);
            if (ledger != NULL) {
                registry_renew(&ledger->cache, registry_state.last_number, SIZECLASS_TWIN);
                cache->ledger = ledger;
            }
            atomic_store_explicit(&cache->turn, turn + 1, memory_order_relaxed);
            cache->next_parked = registry_state.idle;
            registry_state.idle = cache;
        }
        cache->next = registry_state.caches;
        registry_state.caches = cache;
    }
}

// What the threads of the parent left behind is found at the first slow path:
// a child that only calls exec does not pay for it.
static NOINLINE void registry_recover(void) {
    lock_take(&registry_state.lock);
    bool is_first = registry_state.had_threads;
    if (is_first) {
        registry_salvage();
        slab_relist(registry_has_leased);
        __atomic_store_n(&registry_state.had_threads, false, __ATOMIC_RELEASE);
    }
    lock_give(&registry_state.lock);
    if (is_first) {
        background_resume();
    }
}
