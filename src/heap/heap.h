// heap.h - first-class heaps: owners, limits, blocks.                      layer 5
#ifndef ALLOT_HEAP_HEAP_H
#define ALLOT_HEAP_HEAP_H

#include "heap/heapslab.h"
#include "heap/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_request {
    const char *name;
    size_t reserve_bytes, limit_bytes, soft_bytes, grace_bytes;
    heap_report *report;
    void *context;
    struct allot_heap *parent;
    const size_t *classes;
    size_t class_count;
    void *memory;  // NULL: of its own
    size_t memory_bytes;
    bool is_shared, is_prefaulted, is_locked, has_huge_pages, refuses_overflow;
};

// Functions that return an int return 0 or an errno value.

// The request is sound. The caller owns the new heap.
int heap_create(struct allot_heap **heap, const struct heap_request *request);
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

struct heap_figures {
    uint64_t live_bytes, live_blocks, peak_bytes, tree_bytes, held_bytes, reserve_bytes;
    uint64_t malloc_calls, free_calls, remote_blocks, refused_calls;
};
void heap_read_figures(const struct allot_heap *heap, struct heap_figures *figures);

// Sums over all heaps.
void heap_read_totals(struct heap_figures *totals);

// Trims every heap that no running thread owns but the caller; asks the others.
void heap_purge(void);

// In the child of a fork.
void heap_repair(void);

void heap_validate(struct allot_heap *heap);

#endif
