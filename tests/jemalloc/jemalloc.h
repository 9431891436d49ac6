// jemalloc.h - what a program that was built for jemalloc sees of it.
#ifndef TESTS_JEMALLOC_JEMALLOC_H
#define TESTS_JEMALLOC_JEMALLOC_H

#include <stddef.h>

#define MALLOCX_LG_ALIGN(log2) ((int)(log2))
#define MALLOCX_ZERO ((int)0x40)
#define MALLOCX_TCACHE(number) ((int)(((number) + 2) << 8))
#define MALLOCX_TCACHE_NONE MALLOCX_TCACHE(-1)
#define MALLOCX_ARENA(number) ((int)(((number) + 1) << 20))
#define MALLCTL_ARENAS_ALL 4096

void *mallocx(size_t size, int flags);
void *rallocx(void *block, size_t size, int flags);
size_t xallocx(void *block, size_t size, size_t extra, int flags);
size_t sallocx(const void *block, int flags);
void dallocx(void *block, int flags);
void sdallocx(void *block, size_t size, int flags);
size_t nallocx(size_t size, int flags);
int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
int mallctlnametomib(const char *name, size_t *mib, size_t *mib_length);
int mallctlbymib(const size_t *mib, size_t mib_length, void *old, size_t *old_bytes, void *new,
                 size_t new_bytes);
void malloc_stats_print(void (*write)(void *, const char *), void *context, const char *options);
int je_get_defrag_hint(void *block);
extern void (*malloc_message)(void *, const char *);
extern const char *malloc_conf;

#endif
