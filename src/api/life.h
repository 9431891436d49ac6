// life.h - start, exit and fork of the process.                            layer 7
#ifndef ALLOT_API_LIFE_H
#define ALLOT_API_LIFE_H

#include "cache/cache.h"
#include "heap/registry.h"

#include <stdbool.h>

// What registry_ready calls the first time.
void life_setup(void);

// The calling thread's cache, the library made ready. NULL: see registry_cache.
static ALWAYS_INLINE struct cache *life_cache(void) {
    return LIKELY(registry_ready(life_setup)) ? registry_cache() : NULL;
}

static ALWAYS_INLINE bool life_is_ready(void) {
    return registry_ready(life_setup);
}

#endif
