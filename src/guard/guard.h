// guard.h - blocks that are watched: all of them, or some.                 layer 7
//
//   all      every block has redzones, a large one fences; all calls take the slow
//            path, since every thread's cache_self stays at cache_none
//   sample   of the blocks that pass slow paths one in so many is fenced
//   tag      as all, for the tags that are watched: no other call changes its path
//
// A freed block is kept in quarantine, filled or inaccessible, before its memory
// is used again. A block that has an account keeps it in its record, and counts for it
// as an ordinary one would. Blocks of first-class heaps are not watched.
#ifndef ALLOT_GUARD_GUARD_H
#define ALLOT_GUARD_GUARD_H

#include "base/compiler.h"
#include "page/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum guard_mode { GUARD_NONE, GUARD_SAMPLE, GUARD_ALL, GUARD_TAG };
extern enum guard_mode guard_mode;  // never changes after guard_init

// Once, before any block is taken.
void guard_init(enum guard_mode mode, uint64_t sample_every);

bool guard_wants_slow(size_t align_bytes, size_t size_bytes);

// Whether the block that the calling thread asks for is to be guarded: then call
// guard_allocate. On slow paths only.
static ALWAYS_INLINE bool guard_wants(size_t align_bytes, size_t size_bytes) {
    return UNLIKELY(guard_mode != GUARD_NONE) && guard_wants_slow(align_bytes, size_bytes);
}

// These begin a trace: call them last, so that nothing of ours is between, or from a
// function that keeps its frame.

// NULL with errno = ENOMEM: there is no memory. `align_bytes` is a power of two.
void *guard_allocate(size_t align_bytes, size_t size_bytes, bool is_zeroed);

// For addresses of kind KIND_PEN, which may be no blocks: that is reported.
void guard_free(void *block);
void guard_free_sized(void *block, size_t size_bytes);
void *guard_realloc(void *block, size_t size_bytes);
size_t guard_usable_bytes(const char *function, const void *block);

// The account of a live block; 0: none, or it is no block.
uint32_t guard_account(const void *block);

// Calls `visit` for each live block, with its account and the bytes that it keeps in use;
// it takes no lock.
void guard_each(void (*visit)(uint32_t account, uint64_t bytes));

struct guard_stats {
    size_t live_bytes, live_blocks;  // as asked for
    size_t held_bytes;               // by freed blocks
};
void guard_read_stats(struct guard_stats *stats);

// At the end of the process, and in the child of a fork.
void guard_finish(void);
void guard_repair(void);

#endif
