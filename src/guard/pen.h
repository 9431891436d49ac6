// pen.h - spans in which guarded blocks live.                              layer 7
//
//   slots    | redzone | block | redzone      | redzone | block | redzone | ...
//   fenced   | fence   | redzone | block .... | redzone | fence          |
//                                '-- as far to the right as its alignment allows
//
// A pen has equal slots, or one fenced block: fences are pages that nobody can
// touch. What is known of a block stands elsewhere, in a record per slot. Records
// and pens are never given back, so that a walk needs no lock: it looks at the
// state of each record.
//
//   FREE -> LIVE         by who takes the block
//   LIVE -> BUSY         by who frees it: exactly one
//   BUSY -> QUARANTINED  freed, filled or fenced, and not used again for a while
//   QUARANTINED -> BUSY -> FREE
//   LIVE, QUARANTINED <-> the same + GUARDED_PINNED   by a walk, for moments
//   LIVE + PINNED -> BUSY + PINNED -> HANDED + PINNED   by who frees it meanwhile and
//                         need not wait: the walk puts it into quarantine
#ifndef ALLOT_GUARD_PEN_H
#define ALLOT_GUARD_PEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum guarded_state {
    GUARDED_FREE,
    GUARDED_LIVE,
    GUARDED_BUSY,
    GUARDED_QUARANTINED,
    GUARDED_HANDED,
    GUARDED_PINNED = 8,  // added to another state
};

struct guarded {
    _Atomic(uint32_t) state;
    bool is_reported : 1;   // its damage
    bool is_closed : 1;     // all of it is inaccessible
    uint8_t align_log2;     // as it was asked for
    uint16_t account;       // who allocated it; 0: nobody said
    uint32_t taken, given;  // traces; given = 0: not freed
    struct pen *pen;
    struct guarded *next;  // free in its class; later in the quarantine
    char *block;
    size_t size_bytes;
    char *low, *high;  // what can be touched: the redzones lie around the block in it
};
_Static_assert(sizeof(struct guarded) <= 64, "one record is one cache line");

// A record in state FREE whose block the caller publishes by making it LIVE. Fenced
// if asked for, if it is large, or its alignment is. NULL: there is no memory.
struct guarded *pen_take(unsigned shard, size_t align_bytes, size_t size_bytes, bool is_fenced);

// The record is BUSY and its block in nobody's hands: they may be used again.
void pen_give(struct guarded *guarded);

// Makes all of a fenced block inaccessible and gives its memory back. False: it has
// to be filled instead.
bool pen_close(struct guarded *guarded);

// The record of the slot or fenced block around an address of kind KIND_PEN, in
// whatever state. NULL: the end of a pen, behind its slots.
struct guarded *pen_find(const void *address);

// All records that were ever in use: `pen_next(NULL)` is the first.
struct guarded *pen_next(struct guarded *guarded);

// In the child of a fork.
void pen_repair(void);

#endif
