// heap.h - first-class heaps: owners, limits, blocks.                      layer 5
#ifndef ALLOT_HEAP_HEAP_H
#define ALLOT_HEAP_HEAP_H

#include "heap/heapslab.h"
#include "heap/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Functions that return an int return 0 or an errno value.

// The options are sound. The caller owns the new heap.
int heap_create(struct allot_heap **heap, const struct allot_heap_options *options);
int heap_destroy(struct allot_heap *heap);

int heap_adopt(struct allot_heap *heap);
int heap_disown(struct allot_heap *heap);

// Whether the caller may allocate; takes the lock of a shared heap. Everything
// below marked [inside] is called between the two.
int heap_enter(struct allot_heap *heap);
void heap_leave(struct allot_heap *heap);

struct heap_wish {
    size_t size_bytes;
    size_t align_bytes;  // 1: that of malloc
    bool is_zeroed;
};

// A block. Enters and leaves the heap; calls the report.
int heap_malloc(struct allot_heap *heap, const struct heap_wish *wish, void **block);
int heap_realloc(struct allot_heap *heap, void *block, size_t size_bytes, void **result);

// Frees a block of any heap, from any thread. False: it is free already, or none.
bool heap_free(void *block);

// The same for an address that may be that of a block in given memory.
bool heap_free_given(struct allot_heap *heap, void *block);

// [inside]
void heap_set_limit(struct allot_heap *heap, size_t limit_bytes, bool has_grace);
bool heap_walk(struct allot_heap *heap, bool (*visit)(void *, size_t, void *), void *context);

// All but size_bytes.
void heap_read_stats(const struct allot_heap *heap, struct allot_heap_stats *stats);

// Sums over all heaps.
void heap_read_totals(struct allot_heap_stats *totals);

// Trims every heap that no running thread owns but the caller; asks the others.
void heap_purge(void);

// Looks at heaps that no running thread owns: what they did not use for so long goes back.
// For the purge thread, from time to time.
void heap_tick(void);

// In the child of a fork.
void heap_repair(void);

void heap_validate(struct allot_heap *heap);

#endif
