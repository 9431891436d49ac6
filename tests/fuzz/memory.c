// memory.c - what ranges need of the library, on libc's malloc, which the sanitizer watches.
#include "allot.h"
#include "os/check.h"
#include "os/os.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *allot_aligned(size_t align_bytes, size_t size_bytes) {
    return aligned_alloc(align_bytes, size_bytes);
}

void *allot_aligned_zeroed(size_t align_bytes, size_t size_bytes) {
    void *block = aligned_alloc(align_bytes, size_bytes);
    return block != NULL ? memset(block, 0, size_bytes) : NULL;
}

void *allot_realloc(void *ptr, size_t size_bytes) {
    void *block = aligned_alloc(64, size_bytes);
    if (block != NULL) {
        size_t old_bytes = malloc_usable_size(ptr);
        memcpy(block, ptr, old_bytes < size_bytes ? old_bytes : size_bytes);
        free(ptr);
    }
    return block;
}

void allot_free(void *ptr) {
    free(ptr);
}

void check_abort(const char *line) {
    fprintf(stderr, "%s\n", line);
    abort();
}
