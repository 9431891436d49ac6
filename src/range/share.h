// share.h - which bytes of a buffer have more than one reference.          layer 7
//
// A byte that is handed out has one reference, which costs nothing. Further
// ones are kept as entries, intervals of offsets with the same count:
//
//   bytes      [ handed out ........................................ ]
//   entries          [ +2 ][ +1      ]              [ +7 ]
//
// Entries lie in order in leaves of fixed size, and a table says where each
// leaf begins: a search is two binary ones, a change moves at most one leaf.
//
// Invariants (share_validate checks them, tests cite the tags):
//   [U1] entries are in order, not empty and do not overlap
//   [U2] every entry counts at least one further reference
//   [U3] an entry lies in the last leaf that does not begin beyond it; no leaf
//        is empty
#ifndef ALLOT_RANGE_SHARE_H
#define ALLOT_RANGE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARE_LEAF_ENTRIES = 42 };

struct share_entry {
    uint64_t first, end;
    uint32_t extra;  // references beyond the first
};

struct share_leaf {
    uint32_t count;
    struct share_entry entries[SHARE_LEAF_ENTRIES];
};
_Static_assert(sizeof(struct share_leaf) <= 1024, "a leaf is a block of 1 KiB");

struct share_slot {
    uint64_t from;  // no entry of the leaf begins before; 0 for the first leaf
    struct share_leaf *leaf;
};

// All zero: no entries.
struct share_map {
    struct share_slot *slots;
    size_t slot_count, slot_capacity;
    uint64_t entry_count;
};

// Forgets all entries and frees their memory.
void share_clear(struct share_map *map);

// Whether some byte of [first, end) has a further reference.
bool share_has(const struct share_map *map, uint64_t first, uint64_t end);

// One reference more for each byte. Returns 0; ENOMEM or EOVERFLOW: no count
// has changed.
int share_retain(struct share_map *map, uint64_t first, uint64_t end);

// Makes entries begin and end at both offsets, so that share_release between
// them needs no memory. Returns 0 or ENOMEM; no count changes.
int share_cut(struct share_map *map, uint64_t first, uint64_t end);

// The next part of [*first, end) without further references; false if there is
// none.
bool share_find_gap(const struct share_map *map, uint64_t *first, uint64_t end, uint64_t *gap_end);

// One reference less for each byte that has further ones, after share_cut.
void share_release(struct share_map *map, uint64_t first, uint64_t end);

size_t share_memory_bytes(const struct share_map *map);

// Checks [U1] to [U3].
bool share_validate(const struct share_map *map);

#endif
