// zone.c - an allocator in memory that several processes map.              layer 6
#include "range/zone.h"

#include "os/check.h"

#include <string.h>

#define ZONE_ENTRY(kind, number) ((uint32_t)(kind) << ZONE_NUMBER_BITS | (number))

// The pages of a slab hold its blocks without a rest. Less than 2^15 bytes times less than 2^14:
// the quotient by a reciprocal of 32 bits is exact.
struct zone_size {
    uint16_t block_bytes, page_count;
    uint32_t reciprocal;
};
#define ZONE_SIZE(bytes, pages) \
    { bytes, pages, (UINT32_MAX / (bytes)) + 1 }
static const struct zone_size zone_sizes[ZONE_CLASS_COUNT] = {
    ZONE_SIZE(16, 1),   ZONE_SIZE(32, 1),   ZONE_SIZE(48, 3),   ZONE_SIZE(64, 1),
    ZONE_SIZE(80, 5),   ZONE_SIZE(96, 3),   ZONE_SIZE(112, 7),  ZONE_SIZE(128, 2),
    ZONE_SIZE(160, 5),  ZONE_SIZE(192, 3),  ZONE_SIZE(224, 7),  ZONE_SIZE(256, 2),
    ZONE_SIZE(320, 5),  ZONE_SIZE(384, 3),  ZONE_SIZE(448, 7),  ZONE_SIZE(512, 2),
    ZONE_SIZE(640, 5),  ZONE_SIZE(768, 3),  ZONE_SIZE(896, 7),  ZONE_SIZE(1024, 4),
    ZONE_SIZE(1280, 5), ZONE_SIZE(1536, 3), ZONE_SIZE(1792, 7), ZONE_SIZE(2048, 4),
    ZONE_SIZE(2560, 5), ZONE_SIZE(3072, 6), ZONE_SIZE(3584, 7), ZONE_SIZE(4096, 4),
    ZONE_SIZE(5120, 5), ZONE_SIZE(6144, 6), ZONE_SIZE(7168, 7), ZONE_SIZE(8192, 8),
};

// The next store is the one that counts: for whoever looks after this process was killed,
// all before it has happened.
#define ZONE_COMMIT() atomic_signal_fence(memory_order_seq_cst)

// ---- Places ----------------------------------------------------------------------

static uint32_t zone_slab_number(const struct zone *zone, const struct zone_slab *slab) {
    return (uint32_t)(slab - (const struct zone_slab *)(const void *)zone);
}

// In the order of their making.
static struct zone_slab *zone_nth_slab(const struct zone *zone, uint32_t idx) {
    return (struct zone_slab *)((uintptr_t)zone + zone->slabs_at) + idx;
}

static bool zone_is_slab_number(const struct zone *zone, uint32_t number) {
    uint64_t first = zone->slabs_at / sizeof(struct zone_slab);
    return number >= first && number - first < zone->slab_carved_count;
}

static uint32_t zone_kind(uint32_t entry) {
    return entry >> ZONE_NUMBER_BITS;
}

static uint32_t zone_number(uint32_t entry) {
    return entry & ((1u << ZONE_NUMBER_BITS) - 1);
}

static uint64_t zone_page_at(const struct zone *zone, uint32_t page) {
    return zone->pages_at + ((uint64_t)page << ZONE_PAGE_LOG2);
}

static uint32_t zone_page_of(const struct zone *zone, uint64_t at) {
    return (uint32_t)((at - zone->pages_at) >> ZONE_PAGE_LOG2);
}

// As many as the worst case needs, every second page free, in trees that were just made anew:
// two thirds full, and some more, which range.c keeps for its next step.
static uint32_t zone_nodes_for(uint32_t page_count) {
    if (page_count <= 2 * (tree_leaf_most(false) - 2)) {
        return RANGE_NODES_MIN;
    }
    return 24 + page_count / (tree_leaf_most(false) - 1) * 2;
}

// Where everything lies if there are so many pages; returns the end of the last.
static uint64_t zone_lay_out(struct zone *zone, uint32_t page_count) {
    zone->page_count = page_count;
    zone->node_count = zone_nodes_for(page_count);
    zone->slabs_at = bits_round_up(sizeof(*zone) + (size_t)page_count * 4, CACHE_LINE_BYTES);
    zone->nodes_at = zone->slabs_at + (uint64_t)page_count * sizeof(struct zone_slab);
    zone->pages_at = bits_round_up(zone->nodes_at + (uint64_t)zone->node_count * TREE_NODE_BYTES,
                                   ZONE_PAGE_BYTES);
    return zone_page_at(zone, page_count);
}

// The most pages for which there is room, by bisection.
static bool zone_fit(struct zone *zone, uint64_t size_bytes) {
    uint64_t low = 0, high = size_bytes >> ZONE_PAGE_LOG2;
    high = high < ZONE_PAGES_MAX ? high : ZONE_PAGES_MAX;
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (zone_lay_out(zone, (uint32_t)middle) <= size_bytes) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    zone_lay_out(zone, (uint32_t)low);
    return low > 0;
}

// ---- What follows ------------------------------------------------------------------

static void zone_link(struct zone *zone, struct zone_slab *slab) {
    struct zone_class *class = &zone->classes[slab->class_idx];
    slab->next = class->first;
    class->first = zone_slab_number(zone, slab);
}

static uint32_t zone_count_free(const struct zone_slab *slab) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < ZONE_SLAB_WORDS; i++) {
        count += bits_count(slab->bits[i]);
    }
    return count;
}

// Whether the map's entry of a page is the first one of a slab.
static bool zone_begins_slab(const struct zone *zone, uint32_t page) {
    uint32_t number = zone_number(zone_map(zone)[page]);
    const struct zone_slab *slab = zone_slab(zone, number);
    return zone_is_slab_number(zone, number) && slab->at == zone_page_at(zone, page) &&
           slab->page_count > 0 && slab->page_count <= zone->page_carved_count - page &&
           slab->class_idx < ZONE_CLASS_COUNT;
}

// How many pages belong together from this one on; 0: it is left over from an operation that
// was interrupted.
static uint32_t zone_run(const struct zone *zone, uint32_t page) {
    uint32_t entry = zone_map(zone)[page];
    if (zone_kind(entry) == ZONE_SLAB) {
        return zone_begins_slab(zone, page) ? zone_slab(zone, zone_number(entry))->page_count : 0;
    }
    bool is_right = zone_kind(entry) == ZONE_LARGE && zone_number(entry) > 0 &&
                    zone_number(entry) <= zone->page_carved_count - page;
    return is_right ? zone_number(entry) : 0;
}

static void zone_adopt_slab(struct zone *zone, struct zone_slab *slab) {
    struct zone_class *class = &zone->classes[slab->class_idx];
    slab->is_used = true;
    slab->free_count = (uint16_t)zone_count_free(slab);
    class->taken_count += slab->block_count - slab->free_count;
    zone->empty_count += slab->free_count == slab->block_count;
    if (slab->free_count > 0) {
        zone_link(zone, slab);
    }
}

// Pages that were free are a run. What begins there is said last.
static void zone_mark(struct zone *zone, uint32_t page, uint32_t count, uint32_t first,
                      uint32_t rest) {
    uint32_t *map = zone_map(zone), end = page + count;
    map[page] = ZONE_FREE;
    for (uint32_t i = page + 1; i < end; i++) {
        map[i] = rest;
    }
    ZONE_COMMIT();
    zone->page_carved_count = end > zone->page_carved_count ? end : zone->page_carved_count;
    ZONE_COMMIT();
    map[page] = first;
}

// Counts what begins at a page; returns its pages.
static uint32_t zone_adopt(struct zone *zone, uint32_t page) {
    uint32_t *map = zone_map(zone), count = zone_run(zone, page);
    if (count == 0) {
        map[page] = ZONE_FREE;
        return 1;
    }
    uint32_t rest = ZONE_ENTRY(ZONE_INSIDE, 0);
    if (zone_kind(map[page]) == ZONE_SLAB) {
        rest = map[page];
        zone_adopt_slab(zone, zone_slab(zone, zone_number(rest)));
    } else {
        zone->large_pages += count;
        zone->large_taken_count++;
    }
    for (uint32_t i = page + 1; i < page + count; i++) {
        if (map[i] != rest) {
            map[i] = rest;
        }
    }
    int error = range_take_at(&zone->range, page, count);
    ALLOT_ASSERT(error == 0);  // zone_nodes_for
    (void)error;
    return count;
}

static void zone_list_free_slabs(struct zone *zone) {
    zone->slab_free_first = ZONE_NO_SLAB;
    for (uint32_t idx = zone->slab_carved_count; idx-- > 0;) {
        struct zone_slab *slab = zone_nth_slab(zone, idx);
        if (!slab->is_used) {
            slab->next = zone->slab_free_first;
            zone->slab_free_first = zone_slab_number(zone, slab);
        }
    }
}

void zone_rebuild(struct zone *zone) {
    range_init(&zone->range, zone->page_count, (char *)zone + zone->nodes_at, zone->node_count);
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        struct zone_class *class = &zone->classes[i];
        class->first = ZONE_NO_SLAB;
        class->taken_count = class->given_count;
    }
    zone->empty_count = 0;
    zone->large_pages = 0;
    zone->large_taken_count = zone->large_given_count;
    for (uint32_t i = 0; i < zone->slab_carved_count; i++) {
        zone_nth_slab(zone, i)->is_used = false;
    }
    for (uint32_t page = 0; page < zone->page_carved_count;) {
        page += zone_adopt(zone, page);
    }
    zone_list_free_slabs(zone);
}

static void zone_fill_classes(struct zone *zone) {
    uint8_t class_idx = 0;
    for (size_t i = 0; i < sizeof(zone->class_by_size); i++) {
        class_idx += i * ZONE_SIZE_STEP_BYTES > zone_sizes[class_idx].block_bytes;
        zone->class_by_size[i] = class_idx;
    }
}

bool zone_init(struct zone *zone, size_t size_bytes) {
    struct zone made = {.size_bytes = size_bytes};
    if (size_bytes < sizeof(made) || !zone_fit(&made, size_bytes)) {
        return false;
    }
    made.version = ZONE_VERSION;
    zone_fill_classes(&made);
    memcpy(zone, &made, sizeof(made));
    zone_rebuild(zone);
    atomic_store_explicit(&zone->magic, ZONE_MAGIC, memory_order_release);
    return true;
}

int zone_check(const struct zone *zone, size_t size_bytes) {
    if (size_bytes < sizeof(*zone) ||
        atomic_load_explicit(&zone->magic, memory_order_acquire) != ZONE_MAGIC) {
        return ENOENT;
    }
    if (zone->version != ZONE_VERSION) {
        return ENOTSUP;
    }
    if (zone->size_bytes > size_bytes) {
        return ERANGE;
    }
    struct zone is = {0};
    bool is_right = zone_fit(&is, zone->size_bytes) && is.page_count == zone->page_count &&
                    is.slabs_at == zone->slabs_at && is.nodes_at == zone->nodes_at &&
                    is.pages_at == zone->pages_at && is.node_count == zone->node_count &&
                    zone->page_carved_count <= zone->page_count &&
                    zone->slab_carved_count <= zone->page_carved_count;
    return is_right ? 0 : EBADMSG;
}

// ---- Pages -----------------------------------------------------------------------

static void zone_give_pages(struct zone *zone, uint32_t page, uint32_t count) {
    uint32_t *map = zone_map(zone);
    map[page] = ZONE_FREE;
    ZONE_COMMIT();
    memset(&map[page], 0, count * sizeof(*map));
    if (UNLIKELY(range_give(&zone->range, page, count) != 0)) {
        zone_rebuild(zone);  // new trees need fewer nodes
    }
}

static void zone_drop_slab(struct zone *zone, struct zone_slab *slab) {
    slab->is_used = false;
    slab->next = zone->slab_free_first;
    zone->slab_free_first = zone_slab_number(zone, slab);
    zone->empty_count--;
    zone_give_pages(zone, zone_page_of(zone, slab->at), slab->page_count);
}

void zone_drop_empty(struct zone *zone) {
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT && zone->empty_count > 0; i++) {
        uint32_t *link = &zone->classes[i].first;
        while (*link != ZONE_NO_SLAB) {
            struct zone_slab *slab = zone_slab(zone, *link);
            if (slab->free_count == slab->block_count) {
                *link = slab->next;
                zone_drop_slab(zone, slab);
            } else {
                link = &slab->next;
            }
        }
    }
}

// Whether a search for empty slabs finds enough of them to be worth its while.
static bool zone_has_many_empty(const struct zone *zone) {
    return zone->empty_count > zone->slab_carved_count / 16;
}

static int zone_try_pages(struct zone *zone, uint64_t *page, uint64_t count) {
    int error = range_take(&zone->range, page, count, 1);
    if (UNLIKELY(error == ENOMEM)) {
        zone_rebuild(zone);
        error = range_take(&zone->range, page, count, 1);
    }
    return error;
}

static bool zone_take_pages(struct zone *zone, uint32_t *page, uint64_t count) {
    uint64_t first = 0;
    int error = zone_try_pages(zone, &first, count);
    bool is_fresh = error == 0 && first + count > zone->page_carved_count;
    if (is_fresh ? zone_has_many_empty(zone) : error != 0 && zone->empty_count > 0) {
        // What was in use before is resident.
        if (is_fresh && range_give(&zone->range, first, count) != 0) {
            zone_rebuild(zone);
        }
        zone_drop_empty(zone);
        error = zone_try_pages(zone, &first, count);
    }
    *page = (uint32_t)first;
    return error == 0;
}

static COLD uint64_t zone_take_large(struct zone *zone, size_t size_bytes) {
    uint64_t count = ((uint64_t)size_bytes - 1) / ZONE_PAGE_BYTES + 1;
    uint32_t page;
    if (!zone_take_pages(zone, &page, count)) {
        return 0;
    }
    zone_mark(zone, page, (uint32_t)count, ZONE_ENTRY(ZONE_LARGE, (uint32_t)count),
              ZONE_ENTRY(ZONE_INSIDE, 0));
    zone->large_pages += count;
    zone->large_taken_count++;
    return zone_page_at(zone, page);
}

// ---- Slabs -----------------------------------------------------------------------

static struct zone_slab *zone_take_record(struct zone *zone) {
    if (zone->slab_free_first == ZONE_NO_SLAB) {
        return zone_nth_slab(zone, zone->slab_carved_count++);
    }
    struct zone_slab *slab = zone_slab(zone, zone->slab_free_first);
    zone->slab_free_first = slab->next;
    return slab;
}

static void zone_fill_slab(struct zone_slab *slab, uint32_t class_idx, uint64_t at,
                           uint32_t page_count) {
    const struct zone_size *size = &zone_sizes[class_idx];
    uint32_t count = page_count * ZONE_PAGE_BYTES / size->block_bytes;
    *slab = (struct zone_slab){.at = at,
                               .reciprocal = size->reciprocal,
                               .block_bytes = size->block_bytes,
                               .block_count = (uint16_t)count,
                               .free_count = (uint16_t)count,
                               .class_idx = (uint8_t)class_idx,
                               .page_count = (uint8_t)page_count,
                               .is_used = true};
    for (uint32_t i = 0; i < count; i++) {
        slab->bits[i / 64] |= UINT64_C(1) << i % 64;
    }
}

// A slab of all pages that are usual for its class, or of as few as do.
static bool zone_take_slab_pages(struct zone *zone, uint32_t class_idx, uint32_t *page,
                                 uint32_t *count) {
    const struct zone_size *size = &zone_sizes[class_idx];
    *count = size->page_count;
    if (zone_take_pages(zone, page, *count)) {
        return true;
    }
    *count = (size->block_bytes - 1u) / ZONE_PAGE_BYTES + 1;
    return zone_take_pages(zone, page, *count);
}

static COLD bool zone_add_slab(struct zone *zone, uint32_t class_idx) {
    uint32_t page, count;
    if (!zone_take_slab_pages(zone, class_idx, &page, &count)) {
        return false;
    }
    struct zone_slab *slab = zone_take_record(zone);
    zone_fill_slab(slab, class_idx, zone_page_at(zone, page), count);
    uint32_t entry = ZONE_ENTRY(ZONE_SLAB, zone_slab_number(zone, slab));
    zone_mark(zone, page, count, entry, entry);
    zone_link(zone, slab);
    zone->empty_count++;
    return true;
}

// ---- Blocks ----------------------------------------------------------------------

COLD uint64_t zone_take_slow(struct zone *zone, uint32_t class_idx, size_t size_bytes) {
    uint64_t at = 0;
    if (class_idx == ZONE_CLASS_LARGE) {
        at = zone_take_large(zone, size_bytes);
    } else if (zone_add_slab(zone, class_idx)) {
        struct zone_class *class = &zone->classes[class_idx];
        at = zone_take_from(zone, class, zone_slab(zone, class->first));
    }
    zone->refused_count += at == 0;
    return at;
}

// Which block of pages begins at a position.
static int zone_find_large(const struct zone *zone, uint64_t at, uint32_t entry) {
    if (at - zone->pages_at >= (uint64_t)zone->page_count << ZONE_PAGE_LOG2) {
        return ERANGE;
    }
    if (entry == ZONE_FREE) {
        return EALREADY;
    }
    return zone_kind(entry) == ZONE_LARGE && at % ZONE_PAGE_BYTES == 0 ? 0 : EDOM;
}

int zone_find(const struct zone *zone, size_t *usable_bytes, uint64_t at) {
    uint32_t entry = zone_entry(zone, at), index;
    if (zone_kind(entry) != ZONE_SLAB) {
        *usable_bytes = (size_t)zone_number(entry) << ZONE_PAGE_LOG2;
        return zone_find_large(zone, at, entry);
    }
    const struct zone_slab *slab = zone_slab(zone, zone_number(entry));
    *usable_bytes = slab->block_bytes;
    return zone_find_in_slab(slab, &index, at);
}

size_t zone_rounded_bytes(const struct zone *zone, size_t size_bytes) {
    return size_bytes <= ZONE_SMALL_MAX_BYTES
               ? zone_sizes[zone_class_of(zone, size_bytes)].block_bytes
               : bits_round_up(size_bytes, ZONE_PAGE_BYTES);
}

COLD int zone_give_slow(struct zone *zone, uint64_t at) {
    uint32_t entry = zone_entry(zone, at);
    int error = zone_find_large(zone, at, entry);
    if (error == 0) {
        zone->large_pages -= zone_number(entry);
        zone->large_given_count++;
        zone_give_pages(zone, zone_page_of(zone, at), zone_number(entry));
    }
    return error;
}

// ---- Looking ---------------------------------------------------------------------

// In a slab, from a block on.
static bool zone_find_live(const struct zone_slab *slab, uint32_t *index) {
    while (*index < slab->block_count && (slab->bits[*index / 64] >> *index % 64 & 1) != 0) {
        ++*index;
    }
    return *index < slab->block_count;
}

bool zone_find_next(const struct zone *zone, uint64_t *at, size_t *usable_bytes) {
    uint64_t from = *at > zone->pages_at ? *at : zone->pages_at;
    for (uint32_t page = zone_page_of(zone, from); page < zone->page_carved_count; page++) {
        uint32_t entry = zone_map(zone)[page];
        uint64_t page_at = zone_page_at(zone, page);
        if (zone_kind(entry) == ZONE_LARGE && page_at >= from) {
            *at = page_at;
            *usable_bytes = (size_t)zone_number(entry) << ZONE_PAGE_LOG2;
            return true;
        }
        if (zone_kind(entry) == ZONE_SLAB) {
            const struct zone_slab *slab = zone_slab(zone, zone_number(entry));
            uint64_t inside = from > slab->at ? from - slab->at : 0;
            uint32_t index = (uint32_t)((inside + slab->block_bytes - 1) / slab->block_bytes);
            if (zone_find_live(slab, &index)) {
                *at = slab->at + (uint64_t)index * slab->block_bytes;
                *usable_bytes = slab->block_bytes;
                return true;
            }
            page = zone_page_of(zone, slab->at) + slab->page_count - 1;
        }
    }
    return false;
}

void zone_read_stats(const struct zone *zone, struct allot_region_pool_stats *stats) {
    *stats = (struct allot_region_pool_stats){
        .size_bytes = sizeof(*stats),
        .region_bytes = zone->size_bytes,
        .own_bytes = zone->size_bytes - ((uint64_t)zone->page_count << ZONE_PAGE_LOG2),
        .live_bytes = zone->large_pages << ZONE_PAGE_LOG2,
        .free_bytes = zone->range.free_total << ZONE_PAGE_LOG2,
        .largest_bytes = range_largest(&zone->range) << ZONE_PAGE_LOG2,
        .malloc_count = zone->large_taken_count,
        .free_count = zone->large_given_count,
        .refused_count = zone->refused_count,
        .repair_count = zone->rebuilt_count,
    };
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        const struct zone_class *class = &zone->classes[i];
        stats->live_bytes += (class->taken_count - class->given_count) * zone_sizes[i].block_bytes;
        stats->malloc_count += class->taken_count;
        stats->free_count += class->given_count;
    }
    stats->live_blocks = stats->malloc_count - stats->free_count;
}

static bool zone_is_slab_right(const struct zone_slab *slab) {
    for (uint32_t i = slab->block_count; i < ZONE_SLAB_WORDS * 64; i++) {
        if ((slab->bits[i / 64] >> i % 64 & 1) != 0) {
            return false;
        }
    }
    return slab->is_used && slab->free_count == zone_count_free(slab) &&
           slab->block_bytes == zone_sizes[slab->class_idx].block_bytes &&
           slab->reciprocal == zone_sizes[slab->class_idx].reciprocal;
}

// Checks what begins at a page that is not free; returns its pages, or 0. [Z1] [Z2]
static uint32_t zone_validate_run(const struct zone *zone, uint32_t page) {
    const uint32_t *map = zone_map(zone);
    uint32_t count = zone_run(zone, page);
    bool is_slab = zone_kind(map[page]) == ZONE_SLAB;
    bool is_right = count > 0 && range_is_used(&zone->range, page, count);
    for (uint32_t i = 1; is_right && i < count; i++) {
        is_right = map[page + i] == (is_slab ? map[page] : ZONE_ENTRY(ZONE_INSIDE, 0));
    }
    if (is_right && is_slab) {
        is_right = zone_is_slab_right(zone_slab(zone, zone_number(map[page])));  // [Z3]
    }
    return is_right ? count : 0;
}

// How many records a list has that are as said; more than there are if it is wrong.
static uint32_t zone_count_listed(const struct zone *zone, uint32_t number, bool is_used,
                                  uint32_t class_idx) {
    uint32_t count = 0;
    while (number != ZONE_NO_SLAB && count <= zone->slab_carved_count) {
        const struct zone_slab *slab = zone_slab(zone, number);
        bool is_right = zone_is_slab_number(zone, number) && slab->is_used == is_used &&
                        (!is_used || (slab->class_idx == class_idx && slab->free_count > 0));
        if (!is_right) {
            return UINT32_MAX / 2;
        }
        number = slab->next;
        count++;
    }
    return count;
}

// [Z4] [Z5]
static bool zone_are_lists_right(const struct zone *zone) {
    uint32_t unused = zone_count_listed(zone, zone->slab_free_first, false, 0);
    uint64_t listed = 0, empty = 0, partial = 0, used = 0;
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        listed += zone_count_listed(zone, zone->classes[i].first, true, i);
    }
    for (uint32_t i = 0; i < zone->slab_carved_count; i++) {
        const struct zone_slab *slab = zone_nth_slab(zone, i);
        used += slab->is_used;
        partial += slab->is_used && slab->free_count > 0;
        empty += slab->is_used && slab->free_count == slab->block_count;
    }
    return listed == partial && empty == zone->empty_count &&
           unused + used == zone->slab_carved_count;
}

bool zone_validate(const struct zone *zone) {
    if (zone_check(zone, zone->size_bytes) != 0) {
        return false;
    }
    uint64_t free_count = zone->page_count - zone->page_carved_count;
    for (uint32_t page = 0; page < zone->page_carved_count;) {
        bool is_free = zone_map(zone)[page] == ZONE_FREE;
        uint32_t count = is_free ? 1 : zone_validate_run(zone, page);
        if (count == 0) {
            return false;
        }
        free_count += is_free;
        page += count;
    }
    return free_count == zone->range.free_total && range_validate(&zone->range) &&
           zone_are_lists_right(zone);
}
