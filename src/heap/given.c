// given.c - an allocator that lies wholly in memory that a caller gives.   layer 5
//
//   unit     0   1   2   3   4   5   6   7   8   9
//   run      .  | block | free              | b | .
//   starts   0   1   0   1   0   0   0   0   1   1 (behind the last unit)
//   ends     0   0   0   1   0   0   0   1   0   0
//
// `starts` has a bit where a run starts and is the lowest level of a tree: a bit
// of level k + 1 says whether a word of level k has bits, so that neighbours are
// found across runs of any length. `ends` has a bit for the first and the last
// unit of a free run: a block's neighbours are looked at with one test each.
//
// Free runs of like size are linked in lists: 16 steps per doubling, one unit
// per step below 32 units. A word of bits says which of 64 lists are not empty.
//
// Invariants (given_validate checks them, tests cite the tags):
//   [G1] runs follow each other from unit 1 to the last
//   [G2] `ends` marks the first and last units of free runs, and nothing else
//   [G3] no two free runs are neighbours
//   [G4] a free run is on the list of its size, and on no other
//   [G5] a bit above is set where there is a bit, or a run, below
#include "heap/given.h"

#include "base/bits.h"
#include "base/compiler.h"
#include "os/check.h"

#include <stdint.h>
#include <string.h>

enum {
    GIVEN_UNIT_LOG2 = 4,
    GIVEN_UNIT_BYTES = 1 << GIVEN_UNIT_LOG2,
    GIVEN_STEPS_LOG2 = 4,
    GIVEN_STEPS = 1 << GIVEN_STEPS_LOG2,
    GIVEN_EXACT = 2 * GIVEN_STEPS,  // units; smaller runs have a list per size
    GIVEN_LEVELS = 10,              // 64^10 units are all that there can be
    GIVEN_TRIES = 8,                // free runs looked at for one that fits
};

struct given {
    char *origin;       // where unit 0 would be; it is no unit, so that 0 is none
    size_t unit_count;  // unit 1 is the first
    size_t list_count;
    size_t *first;     // [list_count] of each list of free runs
    uint64_t *filled;  // a bit per list
    uint64_t *ends;
    uint64_t *level[GIVEN_LEVELS];  // starts, and what lies above
    unsigned level_count;           // the last has one word, which is never 0
    size_t live_units, live_count;
    char *memory;
    size_t size_bytes;
};

// In the first unit of a free run.
struct given_links {
    size_t next, prev;  // units; 0: none
};

_Static_assert(sizeof(struct given_links) == GIVEN_UNIT_BYTES, "links fit the smallest run");
_Static_assert(sizeof(struct given) % sizeof(uint64_t) == 0, "tables of words follow it");

// ---- Addresses ----------------------------------------------------------------

static char *given_address(const struct given *given, size_t unit) {
    return given->origin + (unit << GIVEN_UNIT_LOG2);
}

// The unit in which the address lies; 0 if it is in none.
static size_t given_unit(const struct given *given, const void *address) {
    size_t unit = ((uintptr_t)address - (uintptr_t)given->origin) >> GIVEN_UNIT_LOG2;
    return unit <= given->unit_count ? unit : 0;
}

static struct given_links *given_links(const struct given *given, size_t unit) {
    return (struct given_links *)(void *)given_address(given, unit);
}

// ---- Bits ---------------------------------------------------------------------

static size_t given_words(size_t bits) {
    return (bits + 63) / 64;
}

static bool given_has_bit(const uint64_t *words, size_t idx) {
    return (words[idx / 64] >> idx % 64 & 1) != 0;
}

static void given_set_bit(uint64_t *words, size_t idx) {
    words[idx / 64] |= (uint64_t)1 << idx % 64;
}

static void given_clear_bit(uint64_t *words, size_t idx) {
    words[idx / 64] &= ~((uint64_t)1 << idx % 64);
}

static void given_set_start(struct given *given, size_t unit) {
    for (unsigned i = 0; i < given->level_count; i++, unit /= 64) {
        uint64_t before = given->level[i][unit / 64];
        given_set_bit(given->level[i], unit);
        if (before != 0) {
            break;
        }
    }
}

static void given_clear_start(struct given *given, size_t unit) {
    for (unsigned i = 0; i < given->level_count; i++, unit /= 64) {
        given_clear_bit(given->level[i], unit);
        if (given->level[i][unit / 64] != 0) {
            break;
        }
    }
}

// Up from a word that has no more bits to one that has, down to the next bit.
static NOINLINE size_t given_next_slow(const struct given *given, size_t idx) {
    unsigned i = 0;
    uint64_t rest;
    do {
        i++;
        idx /= 64;
        rest = given->level[i][idx / 64] & UINT64_MAX << 1 << idx % 64;
    } while (rest == 0);
    idx = idx / 64 * 64 + bits_lowest(rest);
    for (; i > 0; i--) {
        idx = idx * 64 + bits_lowest(given->level[i - 1][idx]);
    }
    return idx;
}

// Where the run after that of this unit starts: behind the last unit at most.
static size_t given_next(const struct given *given, size_t unit) {
    uint64_t rest = given->level[0][unit / 64] & UINT64_MAX << 1 << unit % 64;
    if (LIKELY(rest != 0)) {
        return unit / 64 * 64 + bits_lowest(rest);
    }
    return given_next_slow(given, unit);
}

static NOINLINE size_t given_run_slow(const struct given *given, size_t idx) {
    unsigned i = 0;
    uint64_t rest;
    do {
        i++;
        idx /= 64;
        rest = given->level[i][idx / 64] & (((uint64_t)1 << idx % 64) - 1);
    } while (rest == 0);
    idx = idx / 64 * 64 + bits_log2(rest);
    for (; i > 0; i--) {
        idx = idx * 64 + bits_log2(given->level[i - 1][idx]);
    }
    return idx;
}

// Where the run in which this unit lies starts.
static size_t given_run(const struct given *given, size_t unit) {
    uint64_t rest = given->level[0][unit / 64] << (63 - unit % 64);
    if (LIKELY(rest != 0)) {
        return unit - (63 - bits_log2(rest));
    }
    return given_run_slow(given, unit);
}

// ---- Free runs ----------------------------------------------------------------

static size_t given_list(size_t units) {
    if (units < GIVEN_EXACT) {
        return units;
    }
    unsigned shift = bits_log2(units) - GIVEN_STEPS_LOG2;
    return (size_t)shift * GIVEN_STEPS + (units >> shift);
}

// The first list of whose runs all have so many units; it need not exist.
static size_t given_sure_list(size_t units) {
    if (units < GIVEN_EXACT) {
        return units;
    }
    unsigned shift = bits_log2(units) - GIVEN_STEPS_LOG2;
    return given_list(units + ((size_t)1 << shift) - 1);
}

// The first run of the lists from this one on, and its list; 0: there is none.
static size_t given_first_from(const struct given *given, size_t *list) {
    size_t words = given_words(given->list_count);
    uint64_t mask = UINT64_MAX << *list % 64;
    for (size_t i = *list / 64; i < words; i++) {
        if ((given->filled[i] & mask) != 0) {
            *list = i * 64 + bits_lowest(given->filled[i] & mask);
            return given->first[*list];
        }
        mask = UINT64_MAX;
    }
    return 0;
}

static NORETURN COLD void given_end(void) {
    check_abort("allot: error: free memory of a heap in given memory was written to");
}

// A link that was written to is not followed.
static void given_check_next(const struct given *given, size_t next, size_t run) {
    if (UNLIKELY(next > given->unit_count || given_links(given, next)->prev != run)) {
        given_end();
    }
}

static void given_link(struct given *given, size_t run, size_t units) {
    size_t list = given_list(units);
    size_t next = given->first[list];
    *given_links(given, run) = (struct given_links){.next = next, .prev = 0};
    if (next != 0) {
        given_links(given, next)->prev = run;
    }
    given->first[list] = run;
    given_set_bit(given->filled, list);
}

static void given_unlink(struct given *given, size_t run, size_t units) {
    struct given_links links = *given_links(given, run);
    size_t list = given_list(units);
    if (links.next != 0) {
        given_check_next(given, links.next, run);
        given_links(given, links.next)->prev = links.prev;
    }
    if (links.prev == 0) {
        if (UNLIKELY(given->first[list] != run)) {
            given_end();
        }
        given->first[list] = links.next;
        if (links.next == 0) {
            given_clear_bit(given->filled, list);
        }
    } else {
        if (UNLIKELY(links.prev > given->unit_count ||
                     given_links(given, links.prev)->next != run)) {
            given_end();
        }
        given_links(given, links.prev)->next = links.next;
    }
}

// Makes units free whose start is marked and whose neighbours are not free.
static void given_insert(struct given *given, size_t run, size_t units) {
    given_set_bit(given->ends, run);
    given_set_bit(given->ends, run + units - 1);
    given_link(given, run, units);
}

// Takes a free run out; its start stays marked.
static void given_remove(struct given *given, size_t run, size_t units) {
    given_unlink(given, run, units);
    given_clear_bit(given->ends, run);
    given_clear_bit(given->ends, run + units - 1);
}

// The free run that starts at the end of another becomes part of that one:
// its units, 0 if there is none.
static size_t given_absorb(struct given *given, size_t run) {
    if (!given_has_bit(given->ends, run)) {
        return 0;
    }
    size_t units = given_next(given, run) - run;
    given_remove(given, run, units);
    given_clear_start(given, run);
    return units;
}

// Cuts a run that is on no list: what lies behind its first units is free.
static void given_trim(struct given *given, size_t run, size_t run_units, size_t kept_units) {
    if (kept_units < run_units) {
        given_set_start(given, run + kept_units);
        given_insert(given, run + kept_units, run_units - kept_units);
    }
}

// ---- Search -------------------------------------------------------------------

struct given_place {
    size_t run, run_units;
    size_t skip;  // units before the first that is aligned
};

static bool given_fits(const struct given *given, struct given_place *place, size_t units,
                       size_t align_bytes) {
    uintptr_t address = (uintptr_t)given_address(given, place->run);
    place->run_units = given_next(given, place->run) - place->run;
    place->skip = ((0 - address) & (align_bytes - 1)) >> GIVEN_UNIT_LOG2;
    return place->skip + units <= place->run_units;
}

// A block of `units` at most as large as the memory.
static bool given_search(const struct given *given, struct given_place *place, size_t units,
                         size_t align_bytes) {
    size_t list = given_list(units);
    place->run = given_first_from(given, &list);
    for (int i = 0; i < GIVEN_TRIES && place->run != 0; i++) {
        if (LIKELY(given_fits(given, place, units, align_bytes))) {
            return true;
        }
        size_t next = given_links(given, place->run)->next;
        if (next != 0) {
            given_check_next(given, next, place->run);
        } else {
            list++;
            next = given_first_from(given, &list);
        }
        place->run = next;
    }
    if (place->run == 0) {
        return false;
    }
    list = given_sure_list(units + ((align_bytes - 1) >> GIVEN_UNIT_LOG2));
    place->run = given_first_from(given, &list);
    return place->run != 0 && given_fits(given, place, units, align_bytes);
}

// Units of a block; 0 if it is larger than the memory.
static size_t given_units(const struct given *given, size_t size_bytes) {
    if (size_bytes > given->unit_count << GIVEN_UNIT_LOG2) {
        return 0;
    }
    return size_bytes == 0 ? 1 : (size_bytes + GIVEN_UNIT_BYTES - 1) >> GIVEN_UNIT_LOG2;
}

// ---- Making it ----------------------------------------------------------------

// Words of all tables for so many units. Bits are also needed for unit 0 and for
// the one behind the last.
static size_t given_table_words(size_t unit_count) {
    size_t lists = given_list(unit_count) + 1;
    size_t words = lists + given_words(lists) + given_words(unit_count + 2);
    size_t level_words = unit_count + 2;
    do {
        level_words = given_words(level_words);
        words += level_words;
    } while (level_words > 1);
    return words;
}

static size_t given_tables_bytes(size_t unit_count) {
    return bits_round_up(sizeof(struct given) + given_table_words(unit_count) * sizeof(uint64_t),
                         GIVEN_UNIT_BYTES);
}

// As many units as fit together with their tables.
static size_t given_unit_count(size_t size_bytes) {
    size_t fits = 0;
    size_t fits_not = size_bytes / GIVEN_UNIT_BYTES + 1;
    while (fits_not - fits > 1) {
        size_t middle = fits + (fits_not - fits) / 2;
        if (given_tables_bytes(middle) <= size_bytes - middle * GIVEN_UNIT_BYTES) {
            fits = middle;
        } else {
            fits_not = middle;
        }
    }
    return fits;
}

static void given_lay_tables(struct given *given) {
    size_t bits = given->unit_count + 2;
    uint64_t *words = (uint64_t *)(given + 1);
    memset(words, 0, given_table_words(given->unit_count) * sizeof *words);
    given->list_count = given_list(given->unit_count) + 1;
    given->first = words;
    words += given->list_count;
    given->filled = words;
    words += given_words(given->list_count);
    given->ends = words;
    words += given_words(bits);
    do {
        bits = given_words(bits);
        given->level[given->level_count++] = words;
        words += bits;
    } while (bits > 1);
}

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "lists are made of words");

struct given *given_init(void *memory, size_t size_bytes) {
    size_t gap = (0 - (uintptr_t)memory) & (GIVEN_UNIT_BYTES - 1);
    size_t unit_count = size_bytes < gap ? 0 : given_unit_count(size_bytes - gap);
    if (unit_count == 0) {
        return NULL;
    }
    char *start = (char *)memory + gap;
    struct given *given = (struct given *)(void *)start;
    *given = (struct given){
        .origin = start + given_tables_bytes(unit_count) - GIVEN_UNIT_BYTES,
        .unit_count = unit_count,
        .memory = memory,
        .size_bytes = size_bytes,
    };
    given_lay_tables(given);
    given_set_start(given, unit_count + 1);
    given_set_start(given, 1);
    given_insert(given, 1, unit_count);
    return given;
}

// ---- Blocks -------------------------------------------------------------------

void *given_take(struct given *given, size_t size_bytes, size_t align_bytes) {
    ALLOT_ASSERT(bits_is_power(align_bytes));
    struct given_place place;
    size_t units = given_units(given, size_bytes);
    if (units == 0 || !given_search(given, &place, units, align_bytes)) {
        return NULL;
    }
    size_t block = place.run + place.skip;
    given_remove(given, place.run, place.run_units);
    if (place.skip != 0) {
        given_set_start(given, block);
        given_insert(given, place.run, place.skip);
    }
    given_trim(given, block, place.run_units - place.skip, units);
    given->live_units += units;
    given->live_count++;
    return given_address(given, block);
}

// The unit where a live block starts that is at this address; 0: there is none.
static size_t given_block(const struct given *given, const void *address) {
    size_t unit = given_unit(given, address);
    bool is_block = (uintptr_t)address % GIVEN_UNIT_BYTES == 0 &&
                    given_has_bit(given->level[0], unit) && !given_has_bit(given->ends, unit);
    return is_block ? unit : 0;
}

bool given_is_block(const struct given *given, const void *address) {
    return given_block(given, address) != 0;
}

size_t given_usable_bytes(const struct given *given, const void *block) {
    size_t unit = given_block(given, block);
    ALLOT_ASSERT(unit != 0);
    return (given_next(given, unit) - unit) << GIVEN_UNIT_LOG2;
}

// Why an address is no live block.
static COLD enum given_fault given_fault_of(const struct given *given, const void *address) {
    size_t unit = given_unit(given, address);
    if (unit == 0 || (uintptr_t)address % GIVEN_UNIT_BYTES != 0) {
        return GIVEN_BAD_POINTER;
    }
    bool is_free = given_has_bit(given->ends, given_run(given, unit));
    return is_free ? GIVEN_DOUBLE_FREE : GIVEN_BAD_POINTER;
}

enum given_fault given_give(struct given *given, void *block) {
    size_t run = given_block(given, block);
    if (UNLIKELY(run == 0)) {
        return given_fault_of(given, block);
    }
    size_t units = given_next(given, run) - run;
    given->live_units -= units;
    given->live_count--;
    units += given_absorb(given, run + units);
    if (given_has_bit(given->ends, run - 1)) {
        size_t left = given_run(given, run - 1);
        given_remove(given, left, run - left);
        given_clear_start(given, run);
        units += run - left;
        run = left;
    }
    given_insert(given, run, units);
    return GIVEN_OK;
}

bool given_resize(struct given *given, void *block, size_t size_bytes) {
    size_t run = given_block(given, block);
    ALLOT_ASSERT(run != 0);
    size_t end = given_next(given, run);
    size_t before = end - run;
    size_t units = given_units(given, size_bytes);
    bool is_free_behind = given_has_bit(given->ends, end);
    size_t room = is_free_behind ? given_next(given, end) - run : before;
    if (units == 0 || units > room) {
        return false;
    }
    if (units != before) {
        given_absorb(given, end);
        given_trim(given, run, room, units);
        given->live_units += units - before;
    }
    return true;
}

void *given_find(const struct given *given, const void *address) {
    size_t unit = given_unit(given, address);
    if (unit == 0) {
        return NULL;
    }
    size_t run = given_run(given, unit);
    return given_has_bit(given->ends, run) ? NULL : given_address(given, run);
}

bool given_contains(const struct given *given, const void *address) {
    return (uintptr_t)address - (uintptr_t)given->memory < given->size_bytes;
}

bool given_walk(struct given *given, bool (*visit)(void *block, size_t usable_bytes, void *context),
                void *context) {
    for (size_t run = 1; run <= given->unit_count; run = given_next(given, run)) {
        size_t units = given_next(given, run) - run;
        if (!given_has_bit(given->ends, run) &&
            !visit(given_address(given, run), units << GIVEN_UNIT_LOG2, context)) {
            return false;
        }
    }
    return true;
}

// ---- Figures and invariants ---------------------------------------------------

static size_t given_largest(const struct given *given) {
    size_t largest = 0;
    for (size_t i = given_words(given->list_count); i-- > 0 && largest == 0;) {
        size_t run = given->filled[i] == 0 ? 0 : given->first[i * 64 + bits_log2(given->filled[i])];
        while (run != 0) {
            size_t units = given_next(given, run) - run;
            largest = units > largest ? units : largest;
            size_t next = given_links(given, run)->next;
            if (next != 0) {
                given_check_next(given, next, run);
            }
            run = next;
        }
    }
    return largest;
}

void given_read_stats(const struct given *given, struct given_stats *stats) {
    *stats = (struct given_stats){
        .size_bytes = given->size_bytes,
        .live_bytes = given->live_units << GIVEN_UNIT_LOG2,
        .live_blocks = given->live_count,
        .free_bytes = (given->unit_count - given->live_units) << GIVEN_UNIT_LOG2,
        .largest_bytes = given_largest(given) << GIVEN_UNIT_LOG2,
        .own_bytes = given->size_bytes - (given->unit_count << GIVEN_UNIT_LOG2),
    };
}

// [G4], [G5]: all lists hold exactly `count` free runs, each on its own.
static void given_validate_lists(const struct given *given, size_t count) {
    for (size_t list = 0; list < given->list_count; list++) {
        size_t prev = 0;
        ALLOT_ASSERT(given_has_bit(given->filled, list) == (given->first[list] != 0));
        for (size_t run = given->first[list]; run != 0; count--) {
            ALLOT_ASSERT(count > 0 && run <= given->unit_count);
            ALLOT_ASSERT(given_links(given, run)->prev == prev);
            ALLOT_ASSERT(given_has_bit(given->level[0], run) && given_has_bit(given->ends, run));
            ALLOT_ASSERT(given_list(given_next(given, run) - run) == list);
            prev = run;
            run = given_links(given, run)->next;
        }
    }
    ALLOT_ASSERT(count == 0);
}

static void given_validate_levels(const struct given *given) {
    size_t words = given->unit_count + 2;
    for (unsigned i = 0; i < given->level_count; i++) {
        words = given_words(words);
        for (size_t k = 0; k < words; k++) {
            bool has_bits = given->level[i][k] != 0;
            ALLOT_ASSERT(i + 1 < given->level_count
                             ? given_has_bit(given->level[i + 1], k) == has_bits
                             : words == 1 && has_bits);  // [G5]
        }
    }
}

// [G2] within a free run.
static void given_validate_ends(const struct given *given, size_t run, size_t next) {
    bool is_free = given_has_bit(given->ends, run);
    for (size_t unit = run; unit < next; unit++) {
        bool is_end = unit == run || unit + 1 == next;
        ALLOT_ASSERT(given_has_bit(given->ends, unit) == (is_free && is_end));
    }
}

void given_validate(const struct given *given) {
    size_t free_count = 0;
    size_t live_count = 0;
    size_t live_units = 0;
    bool was_free = false;
    size_t run = 1;
    given_validate_levels(given);
    ALLOT_ASSERT(given->level[0][0] & 2 && !(given->level[0][0] & 1));  // [G1]
    while (run <= given->unit_count) {
        size_t next = given_next(given, run);
        bool is_free = given_has_bit(given->ends, run);
        ALLOT_ASSERT(!is_free || !was_free);  // [G3]
        given_validate_ends(given, run, next);
        free_count += is_free;
        live_count += !is_free;
        live_units += is_free ? 0 : next - run;
        was_free = is_free;
        run = next;
    }
    ALLOT_ASSERT(run == given->unit_count + 1);  // [G1]
    ALLOT_ASSERT(!given_has_bit(given->ends, 0) && !given_has_bit(given->ends, run));
    ALLOT_ASSERT(live_count == given->live_count && live_units == given->live_units);
    given_validate_lists(given, free_count);
}
