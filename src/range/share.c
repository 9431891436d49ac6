// share.c - intervals with reference counts, in leaves.                    layer 7
#include "range/share.h"

#include "allot.h"
#include "os/check.h"

#include <errno.h>
#include <string.h>

enum { SHARE_SLOTS_FIRST = 8, SHARE_MERGE_ENTRIES = SHARE_LEAF_ENTRIES * 3 / 4 };

// A place in the order of entries: valid until the next insertion or removal.
struct share_place {
    size_t slot;
    uint32_t idx;
};

// The last slot that begins at or before the offset; the table is not empty.
static size_t share_route(const struct share_map *map, uint64_t offset) {
    size_t low = 0;
    size_t high = map->slot_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (map->slots[middle].from <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// Index of the first entry of the leaf that ends beyond the offset.
static uint32_t share_search(const struct share_leaf *leaf, uint64_t offset) {
    uint32_t low = 0;
    uint32_t high = leaf->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (leaf->entries[middle].end > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// The first entry that ends beyond the offset, or NULL; the place may be NULL.
static struct share_entry *share_find(const struct share_map *map, uint64_t offset,
                                      struct share_place *place) {
    if (map->slot_count == 0) {
        return NULL;
    }
    struct share_place at = {share_route(map, offset), 0};
    at.idx = share_search(map->slots[at.slot].leaf, offset);
    if (at.idx == 0 && at.slot > 0) {
        // The last entry before may reach beyond where this leaf begins.
        const struct share_leaf *before = map->slots[at.slot - 1].leaf;
        if (before->entries[before->count - 1].end > offset) {
            at = (struct share_place){at.slot - 1, before->count - 1};
        }
    }
    if (at.idx == map->slots[at.slot].leaf->count) {
        at = (struct share_place){at.slot + 1, 0};
        if (at.slot == map->slot_count) {
            return NULL;
        }
    }
    if (place != NULL) {
        *place = at;
    }
    return &map->slots[at.slot].leaf->entries[at.idx];
}

// Puts a leaf into the table at this index. False: there is no memory.
static bool share_add_slot(struct share_map *map, size_t at, uint64_t from,
                           struct share_leaf *leaf) {
    if (map->slot_count == map->slot_capacity) {
        size_t capacity = map->slot_capacity > 0 ? 2 * map->slot_capacity : SHARE_SLOTS_FIRST;
        struct share_slot *slots = allot_realloc(map->slots, capacity * sizeof(*slots));
        if (slots == NULL) {
            return false;
        }
        map->slots = slots;
        map->slot_capacity = capacity;
    }
    memmove(map->slots + at + 1, map->slots + at, (map->slot_count - at) * sizeof(*map->slots));
    map->slots[at] = (struct share_slot){from, leaf};
    map->slot_count++;
    return true;
}

static void share_remove_slot(struct share_map *map, size_t at) {
    allot_free(map->slots[at].leaf);
    map->slot_count--;
    memmove(map->slots + at, map->slots + at + 1, (map->slot_count - at) * sizeof(*map->slots));
    if (at == 0 && map->slot_count > 0) {
        map->slots[0].from = 0;
    }
}

// Moves the upper half of a full leaf into a new one. False: there is no memory.
static bool share_split_leaf(struct share_map *map, size_t at) {
    struct share_leaf *full = map->slots[at].leaf;
    struct share_leaf *upper = allot_malloc(sizeof(*upper));
    uint32_t half = full->count / 2;
    if (upper == NULL || !share_add_slot(map, at + 1, full->entries[half].first, upper)) {
        allot_free(upper);
        return false;
    }
    upper->count = full->count - half;
    memcpy(upper->entries, full->entries + half, upper->count * sizeof(*upper->entries));
    full->count = half;
    return true;
}

// Inserts what overlaps no entry. False: there is no memory, nothing changed.
static bool share_insert(struct share_map *map, struct share_entry entry) {
    if (map->slot_count == 0) {
        struct share_leaf *leaf = allot_malloc(sizeof(*leaf));
        if (leaf == NULL || !share_add_slot(map, 0, 0, leaf)) {
            allot_free(leaf);
            return false;
        }
        leaf->count = 0;
    }
    size_t slot = share_route(map, entry.first);
    if (map->slots[slot].leaf->count == SHARE_LEAF_ENTRIES) {
        if (!share_split_leaf(map, slot)) {
            return false;
        }
        slot = share_route(map, entry.first);
    }
    struct share_leaf *leaf = map->slots[slot].leaf;
    uint32_t at = share_search(leaf, entry.first);
    memmove(leaf->entries + at + 1, leaf->entries + at,
            (leaf->count - at) * sizeof(*leaf->entries));
    leaf->entries[at] = entry;
    leaf->count++;
    map->entry_count++;
    return true;
}

// Takes the entries of the next leaf in, if both together are few.
static void share_merge(struct share_map *map, size_t slot) {
    if (slot + 1 >= map->slot_count) {
        return;
    }
    struct share_leaf *leaf = map->slots[slot].leaf;
    struct share_leaf *next = map->slots[slot + 1].leaf;
    if (leaf->count + next->count <= SHARE_MERGE_ENTRIES) {
        memcpy(leaf->entries + leaf->count, next->entries, next->count * sizeof(*next->entries));
        leaf->count += next->count;
        share_remove_slot(map, slot + 1);
    }
}

static void share_remove(struct share_map *map, struct share_place place) {
    struct share_leaf *leaf = map->slots[place.slot].leaf;
    leaf->count--;
    memmove(leaf->entries + place.idx, leaf->entries + place.idx + 1,
            (leaf->count - place.idx) * sizeof(*leaf->entries));
    map->entry_count--;
    if (leaf->count == 0) {
        share_remove_slot(map, place.slot);
    } else {
        share_merge(map, place.slot);
        if (place.slot > 0) {
            share_merge(map, place.slot - 1);
        }
    }
}

// Makes two entries of one that the offset lies inside of.
static bool share_cut_at(struct share_map *map, uint64_t offset) {
    struct share_entry *entry = share_find(map, offset, NULL);
    if (entry == NULL || entry->first >= offset) {
        return true;
    }
    struct share_entry whole = *entry;
    entry->end = offset;
    if (share_insert(map, (struct share_entry){offset, whole.end, whole.extra})) {
        return true;
    }
    entry->end = whole.end;  // nothing has moved
    return false;
}

bool share_has(const struct share_map *map, uint64_t first, uint64_t end) {
    const struct share_entry *entry = share_find(map, first, NULL);
    return entry != NULL && entry->first < end;
}

int share_cut(struct share_map *map, uint64_t first, uint64_t end) {
    return share_cut_at(map, first) && share_cut_at(map, end) ? 0 : ENOMEM;
}

bool share_find_gap(const struct share_map *map, uint64_t *first, uint64_t end, uint64_t *gap_end) {
    while (*first < end) {
        const struct share_entry *entry = share_find(map, *first, NULL);
        if (entry == NULL || entry->first >= end) {
            *gap_end = end;
            return true;
        }
        if (entry->first > *first) {
            *gap_end = entry->first;
            return true;
        }
        *first = entry->end;
    }
    return false;
}

// Adds to the count of each entry in the interval, whose ends are cut. What
// reaches 0 is removed.
static void share_count(struct share_map *map, uint64_t first, uint64_t end, int change) {
    struct share_place place;
    struct share_entry *entry = share_find(map, first, &place);
    while (entry != NULL && entry->first < end) {
        first = entry->end;
        entry->extra += (uint32_t)change;
        if (entry->extra == 0) {
            share_remove(map, place);
        }
        entry = share_find(map, first, &place);
    }
}

void share_release(struct share_map *map, uint64_t first, uint64_t end) {
    share_count(map, first, end, -1);
}

static bool share_is_full(const struct share_map *map, uint64_t first, uint64_t end) {
    const struct share_entry *entry = share_find(map, first, NULL);
    while (entry != NULL && entry->first < end) {
        if (entry->extra == UINT32_MAX) {
            return true;
        }
        entry = share_find(map, entry->end, NULL);
    }
    return false;
}

// Retains what other entries cover in part: gaps get entries that count 0
// first, so that nothing has been counted where memory runs out.
static int share_retain_mixed(struct share_map *map, uint64_t first, uint64_t end) {
    if (share_cut(map, first, end) != 0) {
        return ENOMEM;
    }
    uint64_t at = first;
    uint64_t gap_end;
    while (share_find_gap(map, &at, end, &gap_end)) {
        if (!share_insert(map, (struct share_entry){at, gap_end, 0})) {
            share_count(map, first, end, 0);
            return ENOMEM;
        }
        at = gap_end;
    }
    share_count(map, first, end, 1);
    return 0;
}

int share_retain(struct share_map *map, uint64_t first, uint64_t end) {
    struct share_entry *entry = share_find(map, first, NULL);
    if (entry == NULL || entry->first >= end) {
        return share_insert(map, (struct share_entry){first, end, 1}) ? 0 : ENOMEM;
    }
    if (share_is_full(map, first, end)) {
        return EOVERFLOW;
    }
    if (entry->first == first && entry->end == end) {
        entry->extra++;
        return 0;
    }
    return share_retain_mixed(map, first, end);
}

void share_clear(struct share_map *map) {
    for (size_t i = 0; i < map->slot_count; i++) {
        allot_free(map->slots[i].leaf);
    }
    allot_free(map->slots);
    *map = (struct share_map){0};
}

size_t share_memory_bytes(const struct share_map *map) {
    return map->slot_capacity * sizeof(*map->slots) + map->slot_count * sizeof(struct share_leaf);
}

bool share_validate(const struct share_map *map) {
    uint64_t end = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < map->slot_count; i++) {
        const struct share_leaf *leaf = map->slots[i].leaf;
        uint64_t next_from = i + 1 < map->slot_count ? map->slots[i + 1].from : UINT64_MAX;
        if (leaf->count == 0 || (i == 0 && map->slots[0].from != 0)) {  // [U3]
            return false;
        }
        for (uint32_t at = 0; at < leaf->count; at++) {
            const struct share_entry *entry = &leaf->entries[at];
            bool is_placed = entry->first >= map->slots[i].from && entry->first < next_from;
            bool is_ordered = entry->first >= end && entry->end > entry->first;
            if (!is_placed || !is_ordered || entry->extra == 0) {  // [U3], [U1], [U2]
                return false;
            }
            end = entry->end;
        }
        count += leaf->count;
    }
    return count == map->entry_count;
}
