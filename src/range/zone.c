// zone.c - an allocator in memory that several processes map.              layer 6
#include "range/zone.h"

#include "base/bits.h"
#include "os/check.h"

#include <errno.h>
#include <string.h>

// What the map says of a page: a kind, and a number.
enum {
    ZONE_FREE = 0,
    ZONE_INSIDE,  // of a large block
    ZONE_SLAB,    // the slab
    ZONE_LARGE,   // how many pages begin here
    ZONE_NUMBER_BITS = 30,
};
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

static uint32_t *zone_map(const struct zone *zone) {
    return (uint32_t *)(uintptr_t)(zone + 1);
}

static struct zone_slab *zone_slab(const struct zone *zone, uint32_t idx) {
    return (struct zone_slab *)((uintptr_t)zone + zone->slabs_at) + idx;
}

static uint32_t zone_idx(const struct zone *zone, const struct zone_slab *slab) {
    return (uint32_t)(slab - zone_slab(zone, 0));
}

static uint32_t zone_kind(uint32_t entry) {
    return entry >> ZONE_NUMBER_BITS;
}

static uint32_t zone_number(uint32_t entry) {
    return entry & ZONE_PAGES_MAX;
}

static uint64_t zone_page_at(const struct zone *zone, uint32_t page) {
    return zone->pages_at + ((uint64_t)page << ZONE_PAGE_LOG2);
}

static uint32_t zone_class_of(size_t size_bytes) {
    size_t last = size_bytes - (size_bytes > 0);
    if (last < 64) {
        return (uint32_t)(last / 16);
    }
    unsigned log2 = bits_log2(last);  // four classes to a power of two
    return 4 * (log2 - 5) + ((uint32_t)(last >> (log2 - 2)) & 3);
}

// As many as the worst case needs, every second page free, in trees that were just made anew.
static uint32_t zone_nodes_for(uint32_t page_count) {
    if (page_count <= 2 * (TREE_LEAF_MAX - 2)) {
        return RANGE_NODES_MIN;
    }
    return 16 + (uint32_t)((uint64_t)page_count * 2 / TREE_LEAF_MAX);
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
    uint32_t idx = zone_idx(zone, slab);
    slab->next = class->first;
    slab->previous = ZONE_NO_SLAB;
    if (class->first != ZONE_NO_SLAB) {
        zone_slab(zone, class->first)->previous = idx;
    }
    class->first = idx;
}

static void zone_unlink(struct zone *zone, const struct zone_slab *slab) {
    if (slab->previous == ZONE_NO_SLAB) {
        zone->classes[slab->class_idx].first = slab->next;
    } else {
        zone_slab(zone, slab->previous)->next = slab->next;
    }
    if (slab->next != ZONE_NO_SLAB) {
        zone_slab(zone, slab->next)->previous = slab->previous;
    }
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
    uint32_t idx = zone_number(zone_map(zone)[page]);
    const struct zone_slab *slab = zone_slab(zone, idx);
    return idx < zone->slab_carved_count && slab->first_page == page && slab->page_count > 0 &&
           slab->page_count <= zone->page_carved_count - page && slab->class_idx < ZONE_CLASS_COUNT;
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
    class->empty_count += slab->free_count == slab->block_count;
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
    for (uint32_t i = 1; i < count; i++) {
        map[page + i] = rest;
    }
    range_take_at(&zone->range, page, count);
    return count;
}

static void zone_list_free_slabs(struct zone *zone) {
    zone->slab_free_first = ZONE_NO_SLAB;
    for (uint32_t idx = zone->slab_carved_count; idx-- > 0;) {
        struct zone_slab *slab = zone_slab(zone, idx);
        if (!slab->is_used) {
            slab->next = zone->slab_free_first;
            zone->slab_free_first = idx;
        }
    }
}

void zone_rebuild(struct zone *zone) {
    range_init(&zone->range, zone->page_count, (char *)zone + zone->nodes_at, zone->node_count);
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        struct zone_class *class = &zone->classes[i];
        class->first = ZONE_NO_SLAB;
        class->empty_count = 0;
        class->taken_count = class->given_count;
    }
    zone->large_pages = 0;
    zone->large_taken_count = zone->large_given_count;
    for (uint32_t i = 0; i < zone->slab_carved_count; i++) {
        zone_slab(zone, i)->is_used = false;
    }
    for (uint32_t page = 0; page < zone->page_carved_count;) {
        page += zone_adopt(zone, page);
    }
    zone_list_free_slabs(zone);
}

bool zone_init(struct zone *zone, size_t size_bytes, bool is_unlocked) {
    struct zone made = {.size_bytes = size_bytes, .is_unlocked = is_unlocked};
    if (size_bytes < sizeof(made) || !zone_fit(&made, size_bytes)) {
        return false;
    }
    made.version = ZONE_VERSION;
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
    zone_unlink(zone, slab);
    zone->classes[slab->class_idx].empty_count--;
    slab->is_used = false;
    slab->next = zone->slab_free_first;
    zone->slab_free_first = zone_idx(zone, slab);
    zone_give_pages(zone, slab->first_page, slab->page_count);
}

// All of which no block is live. Returns whether there were any.
static bool zone_drop_empty(struct zone *zone) {
    bool has_dropped = false;
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        const struct zone_class *class = &zone->classes[i];
        uint32_t idx = class->first;
        while (class->empty_count > 0 && idx != ZONE_NO_SLAB) {
            struct zone_slab *slab = zone_slab(zone, idx);
            idx = slab->next;
            if (slab->free_count == slab->block_count) {
                zone_drop_slab(zone, slab);
                has_dropped = true;
            }
        }
    }
    return has_dropped;
}

static bool zone_take_pages(struct zone *zone, uint32_t *page, uint64_t count) {
    uint64_t first = 0;
    int error = range_take(&zone->range, &first, count, 1);
    if (UNLIKELY(error == ENOMEM)) {
        zone_rebuild(zone);
        error = range_take(&zone->range, &first, count, 1);
    }
    *page = (uint32_t)first;
    return error == 0;
}

static uint64_t zone_take_large(struct zone *zone, size_t size_bytes) {
    uint64_t count = ((uint64_t)size_bytes - 1) / ZONE_PAGE_BYTES + 1;
    uint32_t page;
    if (!zone_take_pages(zone, &page, count) &&
        !(zone_drop_empty(zone) && zone_take_pages(zone, &page, count))) {
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
    uint32_t idx = zone->slab_free_first;
    if (idx == ZONE_NO_SLAB) {
        return zone_slab(zone, zone->slab_carved_count++);
    }
    zone->slab_free_first = zone_slab(zone, idx)->next;
    return zone_slab(zone, idx);
}

static void zone_fill_slab(struct zone_slab *slab, uint32_t class_idx, uint32_t page,
                           uint32_t page_count) {
    uint32_t count = page_count * ZONE_PAGE_BYTES / zone_sizes[class_idx].block_bytes;
    *slab = (struct zone_slab){.first_page = page,
                               .page_count = page_count,
                               .block_count = (uint16_t)count,
                               .free_count = (uint16_t)count,
                               .class_idx = (uint8_t)class_idx,
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
    if (zone_drop_empty(zone) && zone_take_pages(zone, page, *count)) {
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
    zone_fill_slab(slab, class_idx, page, count);
    uint32_t entry = ZONE_ENTRY(ZONE_SLAB, zone_idx(zone, slab));
    zone_mark(zone, page, count, entry, entry);
    zone_link(zone, slab);
    zone->classes[class_idx].empty_count++;
    return true;
}

// ---- Blocks ----------------------------------------------------------------------

uint64_t zone_take(struct zone *zone, size_t size_bytes) {
    if (UNLIKELY(size_bytes > ZONE_SMALL_MAX_BYTES)) {
        return zone_take_large(zone, size_bytes);
    }
    uint32_t class_idx = zone_class_of(size_bytes);
    struct zone_class *class = &zone->classes[class_idx];
    if (UNLIKELY(class->first == ZONE_NO_SLAB) && !zone_add_slab(zone, class_idx)) {
        return 0;
    }
    struct zone_slab *slab = zone_slab(zone, class->first);
    uint64_t *word = slab->bits;
    while (*word == 0) {  // [Z3] there is a bit
        word++;
    }
    uint32_t index = (uint32_t)(word - slab->bits) * 64 + bits_lowest(*word);
    *word &= *word - 1;
    class->empty_count -= slab->free_count == slab->block_count;
    class->taken_count++;
    if (UNLIKELY(--slab->free_count == 0)) {
        zone_unlink(zone, slab);
    }
    return zone_page_at(zone, slab->first_page) +
           (uint64_t)index * zone_sizes[class_idx].block_bytes;
}

// In a slab. EDOM, or EALREADY.
static int zone_find_small(struct zone_block *block, uint64_t inside_bytes) {
    const struct zone_slab *slab = block->slab;
    const struct zone_size *size = &zone_sizes[slab->class_idx];
    block->index = (uint32_t)(inside_bytes * size->reciprocal >> 32);
    if (UNLIKELY(block->index * size->block_bytes != inside_bytes ||
                 block->index >= slab->block_count)) {
        return EDOM;
    }
    return (slab->bits[block->index / 64] >> block->index % 64 & 1) != 0 ? EALREADY : 0;
}

int zone_find(const struct zone *zone, struct zone_block *block, uint64_t at) {
    uint64_t place = at - zone->pages_at;
    if (UNLIKELY(place >= (uint64_t)zone->page_carved_count << ZONE_PAGE_LOG2)) {
        return place < (uint64_t)zone->page_count << ZONE_PAGE_LOG2 ? EALREADY : ERANGE;
    }
    uint32_t page = (uint32_t)(place >> ZONE_PAGE_LOG2), entry = zone_map(zone)[page];
    if (LIKELY(zone_kind(entry) == ZONE_SLAB)) {
        block->slab = zone_slab(zone, zone_number(entry));
        return zone_find_small(block,
                               place - ((uint64_t)block->slab->first_page << ZONE_PAGE_LOG2));
    }
    block->slab = NULL;
    block->index = page;
    block->page_count = zone_number(entry);
    if (entry == ZONE_FREE) {
        return EALREADY;
    }
    return zone_kind(entry) == ZONE_LARGE && place % ZONE_PAGE_BYTES == 0 ? 0 : EDOM;
}

size_t zone_usable_bytes(const struct zone_block *block) {
    return block->slab != NULL ? zone_sizes[block->slab->class_idx].block_bytes
                               : (size_t)block->page_count << ZONE_PAGE_LOG2;
}

size_t zone_rounded_bytes(size_t size_bytes) {
    return size_bytes <= ZONE_SMALL_MAX_BYTES ? zone_sizes[zone_class_of(size_bytes)].block_bytes
                                              : bits_round_up(size_bytes, ZONE_PAGE_BYTES);
}

void zone_give(struct zone *zone, const struct zone_block *block) {
    struct zone_slab *slab = block->slab;
    if (UNLIKELY(slab == NULL)) {
        zone->large_pages -= block->page_count;
        zone->large_given_count++;
        zone_give_pages(zone, block->index, block->page_count);
        return;
    }
    struct zone_class *class = &zone->classes[slab->class_idx];
    slab->bits[block->index / 64] |= UINT64_C(1) << block->index % 64;
    class->given_count++;
    if (UNLIKELY(slab->free_count++ == 0)) {
        zone_link(zone, slab);
    }
    // One empty slab stays, so that a block that comes and goes does not make it each time.
    if (UNLIKELY(slab->free_count == slab->block_count) && class->empty_count++ > 0) {
        zone_drop_slab(zone, slab);
    }
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
    uint64_t from = *at > zone->pages_at ? *at - zone->pages_at : 0, page = from >> ZONE_PAGE_LOG2;
    for (; page < zone->page_carved_count; page++) {
        uint32_t entry = zone_map(zone)[page];
        uint64_t page_from = page << ZONE_PAGE_LOG2;
        if (zone_kind(entry) == ZONE_LARGE && page_from >= from) {
            *at = zone->pages_at + page_from;
            *usable_bytes = (size_t)zone_number(entry) << ZONE_PAGE_LOG2;
            return true;
        }
        if (zone_kind(entry) != ZONE_SLAB) {
            continue;
        }
        const struct zone_slab *slab = zone_slab(zone, zone_number(entry));
        size_t block_bytes = zone_sizes[slab->class_idx].block_bytes;
        uint64_t first = (uint64_t)slab->first_page << ZONE_PAGE_LOG2;
        uint64_t inside = (from > page_from ? from : page_from) - first;
        uint32_t index = (uint32_t)((inside + block_bytes - 1) / block_bytes);
        if (zone_find_live(slab, &index)) {
            *at = zone->pages_at + first + index * block_bytes;
            *usable_bytes = block_bytes;
            return true;
        }
        page = slab->first_page + slab->page_count - 1;
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

static bool zone_is_slab_right(const struct zone *zone, const struct zone_slab *slab) {
    for (uint32_t i = slab->block_count; i < ZONE_SLAB_WORDS * 64; i++) {
        if ((slab->bits[i / 64] >> i % 64 & 1) != 0) {
            return false;  // [Z3]
        }
    }
    bool is_linked = slab->previous != ZONE_NO_SLAB
                         ? zone_slab(zone, slab->previous)->next == zone_idx(zone, slab)
                         : zone->classes[slab->class_idx].first == zone_idx(zone, slab);
    return slab->is_used && slab->free_count == zone_count_free(slab) &&
           (slab->free_count == 0 || is_linked);  // [Z3] [Z4]
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
        is_right = zone_is_slab_right(zone, zone_slab(zone, zone_number(map[page])));
    }
    return is_right ? count : 0;
}

// [Z4] [Z5]: the lists have as many as there are.
static bool zone_are_lists_right(const struct zone *zone) {
    uint32_t listed = 0, used = 0, partial = 0, empty = 0;
    for (uint32_t i = 0; i < ZONE_CLASS_COUNT; i++) {
        uint32_t idx = zone->classes[i].first;
        for (; idx < zone->slab_carved_count && partial <= zone->slab_carved_count; partial++) {
            const struct zone_slab *slab = zone_slab(zone, idx);
            empty += slab->free_count == slab->block_count;
            idx = slab->class_idx == i && slab->free_count > 0 ? slab->next : 0;
        }
        empty -= zone->classes[i].empty_count;
    }
    for (uint32_t i = 0; i < zone->slab_carved_count; i++) {
        used += zone_slab(zone, i)->is_used;
        partial -= zone_slab(zone, i)->is_used && zone_slab(zone, i)->free_count > 0;
    }
    uint32_t idx = zone->slab_free_first;
    for (; idx < zone->slab_carved_count && listed <= zone->slab_carved_count; listed++) {
        idx = zone_slab(zone, idx)->is_used ? 0 : zone_slab(zone, idx)->next;
    }
    return partial == 0 && empty == 0 && listed + used == zone->slab_carved_count;
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
