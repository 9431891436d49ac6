// config.h - the constants that shape a build.                             layer 0
//
// The only place for feature conditionals: each becomes a constant that is
// used in an ordinary `if`, so that both arms always compile.
#ifndef ALLOT_BASE_CONFIG_H
#define ALLOT_BASE_CONFIG_H

#include <stddef.h>

#ifndef ALLOT_CONFIG_TINY
#define ALLOT_CONFIG_TINY 0
#endif
#ifndef ALLOT_CONFIG_VALIDATE
#define ALLOT_CONFIG_VALIDATE 0
#endif
#ifndef ALLOT_CONFIG_FACE
#define ALLOT_CONFIG_FACE 1
#endif

enum {
    // Few slots, small steps: rare paths become common.
    CONFIG_TINY = ALLOT_CONFIG_TINY,
    // Invariants are checked at transitions.
    CONFIG_VALIDATE = ALLOT_CONFIG_VALIDATE,
};

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

// The page map's unit. 16 KiB: the smallest slab, and four pages of 4 KiB, so
// that a map of one byte per granule costs 64 bytes per MiB.
#define GRANULE_LOG2 14
#define GRANULE_BYTES ((size_t)1 << GRANULE_LOG2)

#endif
