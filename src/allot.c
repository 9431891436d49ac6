// allot.c - the whole library in one translation unit, in the order of src/LAYERS.
//
// cmake/flags.cmake has the flags; the ones that matter are -std=gnu11 -fvisibility=hidden
// -ftls-model=initial-exec -fno-builtin-malloc -Isrc -Iinclude.
// tools/check-layers --write makes this file.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "base/fmt.c"
#include "os/os_linux.c"
#include "os/lock.c"
#include "os/check.c"
#include "os/next.c"
#include "page/region.c"
#include "page/spanset.c"
#include "page/pageheap.c"
#include "slab/sizeclass.c"
#include "slab/slab.c"
#include "slab/large.c"
#include "cache/cache.c"
#include "heap/background.c"
#include "heap/registry.c"
#include "range/tree.c"
#include "range/range.c"
#include "api/options.c"
#include "api/misuse.c"
#include "api/stats.c"
#include "api/life.c"
#include "api/alloc.c"
#include "api/free.c"
#include "api/realloc.c"
#include "api/purge.c"
#include "api/ranges.c"
#include "range/share.c"
#include "range/buffer.c"
#include "range/buffers.c"
#include "range/slices.c"
#include "face/libc.c"
#include "face/cxx.c"
#include "face/early.c"
