// next.h - the malloc that would be used without this library.             layer 1
//
// Blocks of libc's malloc reach this library when it was loaded late, or when
// a plugin was bound to libc directly. They are passed on.
#ifndef ALLOT_OS_NEXT_H
#define ALLOT_OS_NEXT_H

#include <stdbool.h>
#include <stddef.h>

// Whether libc's malloc holds any memory, so that a foreign pointer may be one
// of its blocks.
bool next_is_in_use(void);

// False if libc offers no way to do it.
bool next_free(void *block);
bool next_realloc(void *block, size_t size_bytes, void **result);
bool next_usable_size(void *block, size_t *size_bytes);

#endif
