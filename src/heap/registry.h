// registry.h - threads: start, exit, fork.                                 layer 5
//
// Every thread that allocates has a cache, made at its first slow path. When
// the thread ends its cache is parked with its blocks for the next thread, up
// to a few; beyond that it is emptied and its record is used again.
#ifndef ALLOT_HEAP_REGISTRY_H
#define ALLOT_HEAP_REGISTRY_H

#include "cache/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Called when the first allocation is made, before anything else; again with the
// next one if there was no memory.
typedef void registry_setup(void);

// Makes the library ready. False if there is no memory; may be tried again.
bool registry_ready(registry_setup *setup);

// The cache of the calling thread, made if there is none. NULL if the thread is
// at its very end or there is no memory: use cache_take_uncached.
struct cache *registry_cache(void);

// The cache of the calling thread if it has one.
struct cache *registry_find(void);

// A number that the calling thread alone has, and no thread before it; 0 at the
// thread's very end.
uint64_t registry_thread_id(void);

// The same for fast paths: REGISTRY_NO_ID until the thread has a cache, and when
// it has none any more.
enum { REGISTRY_NO_ID = 1 };
extern THREAD_LOCAL uint64_t registry_id;

// Whether the thread of that number has not ended. If it has, what it did has
// happened before.
bool registry_is_alive(uint64_t thread_id);

// Whether the calling thread goes past its cache, which is emptied; it must have
// one.
void registry_bypass(bool is_bypassed);

// Sets the account that plain calls of the thread are charged to, 0 for none, and
// returns the one before. Threads that start from now on begin with the first scope.
uint32_t registry_set_scope(uint32_t account);
void registry_set_first_scope(uint32_t account);

// Every malloc and free of threads that start from now on takes the slow path
// and is counted.
void registry_set_counting(bool is_counting);

// Most bytes that one thread, and that all threads together may cache.
void registry_set_limits(size_t thread_bytes, size_t total_bytes);

// Empties the caches of the caller and of ended threads, and asks the others.
void registry_purge(void);

struct registry_stats {
    struct cache_stats cached;
    uint64_t malloc_calls, free_calls, large_calls;
    uint64_t refill_calls, flush_calls, remote_blocks;
    uint32_t thread_count;
};
void registry_read_stats(struct registry_stats *stats);

// Empties the caller's cache at the end of the process, so that a double free
// that is still in it is found.
void registry_finish(void);

// In the child of a fork.
void registry_repair(bool had_threads);

#endif
