// heapspan.h - spans of a heap: from its reserve, or from the page heap.    layer 5
#ifndef ALLOT_HEAP_HEAPSPAN_H
#define ALLOT_HEAP_HEAPSPAN_H

#include "heap/record.h"

#include <stdbool.h>
#include <stdint.h>

// Sets the reserve that the options ask for aside for good. False: there is no memory.
bool heapspan_reserve(struct allot_heap *heap, const struct allot_heap_options *options);

// Takes `count` granules at a multiple of `align` granules, a power of two, links them
// in `all` and says in each record that they are of class `kind` (KIND_LARGE;
// KIND_INSIDE: mixed). The caller sets the page map when the rest of the record is filled.
// `is_zero` tells whether all reads as zero. 0: no memory, nothing has changed.
uint32_t heapspan_take(struct allot_heap *heap, unsigned kind, uint32_t count, uint32_t align,
                       bool *is_zero);

// Publishes the span in the page map.
void heapspan_publish(uint32_t first, uint32_t count);

// Gives a span back. Its page map entries are no longer KIND_HEAP. If the heap keeps what
// it does not use, a span as large as a slab stays with it.
void heapspan_give(struct allot_heap *heap, uint32_t first);

// Lets go of what was kept for so long. Returns its bytes.
size_t heapspan_release(struct allot_heap *heap, uint32_t older_than_ms);

// At the end of a heap whose spans have all been given back, and are kept or not.
void heapspan_end(struct allot_heap *heap);

// Likewise, and purges as much: it was idle already. Any thread. Nothing if the heap has no
// idle time.
size_t heapspan_retire(struct allot_heap *heap, uint32_t older_than_ms);

// The bytes that are kept; builds that validate.
size_t heapspan_count_kept(const struct allot_heap *heap);

// In the child of a fork, where the lock was held at that moment: finds the spans
// again by the page map.
void heapspan_rebuild(struct allot_heap *heap);

#endif
