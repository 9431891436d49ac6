// misuse.h - what a wrong pointer is, in words.                            layer 7
#ifndef ALLOT_API_MISUSE_H
#define ALLOT_API_MISUSE_H

#include "base/fmt.h"
#include "slab/slab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether the address is a block that the program holds. For slab blocks in
// threads' caches the answer may be yes although they were freed.
bool misuse_is_block(const void *address);

// Says what is wrong with the address that was passed to `function`, and
// aborts or returns as the option demands.
void misuse_pointer(const char *function, const void *address);

// The same for a size that the block cannot have had.
void misuse_size(const char *function, const void *block, size_t size_bytes, size_t usable_bytes);

// What a flush finds: slab_report.
void misuse_slab(void *block, enum slab_fault fault);

// ---- For those who know more of a block

enum misuse_kind { MISUSE_NONE, MISUSE_UNKNOWN, MISUSE_INSIDE, MISUSE_FREE };

struct misuse_finding {
    enum misuse_kind kind;
    const void *block;
    size_t size_bytes;  // usable
};

// Add the sentence.
void misuse_describe(struct fmt *fmt, const char *function, const void *address,
                     const struct misuse_finding *finding);
void misuse_describe_size(struct fmt *fmt, const char *function, const void *block,
                          size_t size_bytes, size_t usable_bytes);

// Counts one and writes the text, unless the option forbids it; then aborts, if the
// option wants that.
void misuse_tell(const struct fmt *fmt);
void misuse_end(void);

// Misuses that were reported.
uint64_t misuse_count(void);

#endif
