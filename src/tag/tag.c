// tag.c - accounts: who allocated each block, and how much in all.          layer 6
#include "tag/tag.h"

#include "base/bits.h"
#include "base/config.h"
#include "base/fmt.h"
#include "heap/registry.h"
#include "os/lock.h"
#include "slab/large.h"

#include <errno.h>
#include <string.h>

enum {
    TAG_CHUNK_LOG2 = 8,  // accounts whose records are made at once
    TAG_CHUNKS = (TAG_ACCOUNTS_MAX + 1) >> TAG_CHUNK_LOG2,
    TAG_ROWS_LOG2_MIN = CONFIG_TINY ? 1 : 4,
    TAG_ROWS_POOLS = 17,
    // A peak is looked for when a thread's share has grown by this part of all.
    TAG_STEP_SHARE = 64,
    TAG_STEP_BYTES_MIN = CONFIG_TINY ? 64 : 16 * 1024,
};
#define TAG_SOFT_MAX (SIZE_MAX / 4)

static struct {
    struct lock lock;
    _Atomic(uint32_t) count;  // accounts; number 0 is not used
    struct tag_account *chunks[TAG_CHUNKS];
    struct cache_ledger *ledgers;  // only grows
    struct tag_row *rows_free[TAG_ROWS_POOLS];
    struct tag *charged;
    const char *watched;  // names; NULL: all
} tag_state = {.count = 1, .watched = ""};

// ---- Accounts

uint32_t tag_count(void) {
    return atomic_load_explicit(&tag_state.count, memory_order_acquire);
}

struct tag_account *tag_account(uint32_t account) {
    struct tag_account *chunk = tag_state.chunks[account >> TAG_CHUNK_LOG2];
    return &chunk[account & ((1u << TAG_CHUNK_LOG2) - 1)];
}

// The record of the next number. The lock is held. NULL: no memory, or too many.
static struct tag_account *tag_next_account(void) {
    uint32_t number = tag_count();
    if (number > TAG_ACCOUNTS_MAX) {
        return NULL;
    }
    struct tag_account **chunk = &tag_state.chunks[number >> TAG_CHUNK_LOG2];
    if (*chunk == NULL) {
        *chunk = region_take_meta(sizeof **chunk << TAG_CHUNK_LOG2);
    }
    return *chunk != NULL ? tag_account(number) : NULL;
}

// The lock is held; the next account's record is complete.
static uint32_t tag_publish(void) {
    uint32_t number = tag_count();
    atomic_store_explicit(&tag_state.count, number + 1, memory_order_release);
    return number;
}

void tag_watch(const char *names) {
    tag_state.watched = names;
}

// Names are cut where those of tags are.
bool tag_is_named(const struct tag *tag, const char *names) {
    size_t length = strlen(tag->name);
    while (*names != '\0') {
        size_t known = fmt_length_until(names, ':');
        size_t cut = known < TAG_NAME_BYTES ? known : TAG_NAME_BYTES - 1;
        if (cut > 0 && cut == length && memcmp(names, tag->name, length) == 0) {
            return true;
        }
        names += known + (names[known] == ':');
    }
    return false;
}

static void tag_fill(struct tag *tag, const char *name, const struct allot_tag_limits *limits) {
    for (size_t i = 0; name != NULL && i < TAG_NAME_BYTES - 1 && name[i] != '\0'; i++) {
        tag->name[i] = name[i];
    }
    struct tag *parent = tag->parent != 0 ? tag_account(tag->parent)->tag : NULL;
    budget_init(&tag->budget, parent != NULL ? &parent->budget : NULL);
    tag->is_charged = limits != NULL || (parent != NULL && parent->is_charged);
    tag->is_watched = (parent != NULL && parent->is_watched) || tag_state.watched == NULL ||
                      tag_is_named(tag, tag_state.watched);
    tag->has_limits = limits != NULL;
    if (limits != NULL) {
        tag->limit_bytes = limits->limit_bytes;
        tag->grace_bytes = limits->grace_bytes;
        tag->report = limits->report;
        tag->context = limits->context;
        atomic_store_explicit(&tag->soft_bytes, limits->soft_limit_bytes, memory_order_relaxed);
        tag->budget.limit_bytes = budget_limit_of(limits->limit_bytes, 0);
    }
    if (tag->is_charged) {
        tag->next_charged = tag_state.charged;
        tag_state.charged = tag;
    }
}

uint32_t tag_create(const char *name, uint32_t parent, const struct allot_tag_limits *limits) {
    uint32_t number = 0;
    lock_take(&tag_state.lock);
    struct tag_account *account = tag_next_account();
    struct tag *tag = account != NULL ? region_take_meta(sizeof *tag) : NULL;
    if (tag != NULL) {
        tag->id = tag_count();
        tag->parent = parent;
        tag_fill(tag, name, limits);
        account->tag = tag;
        number = tag_publish();
    }
    lock_give(&tag_state.lock);
    return number;
}

static uint32_t tag_site_find(const struct allot_site *site, uint32_t tag) {
    uint32_t at = __atomic_load_n(&site->first, __ATOMIC_ACQUIRE);
    while (at != 0 && tag_account(at)->tag->id != tag) {
        at = tag_account(at)->next_of_site;
    }
    return at;
}

// What is known of a site outlives the library that it is in. NULL: no memory.
static const struct allot_site *tag_copy_site(const struct allot_site *site) {
    size_t file_bytes = site->file != NULL ? strlen(site->file) + 1 : 1;
    size_t function_bytes = site->function != NULL ? strlen(site->function) + 1 : 1;
    struct allot_site *copy = region_take_meta(sizeof *copy + file_bytes + function_bytes);
    if (copy != NULL) {
        char *text = (char *)(copy + 1);
        copy->file = memcpy(text, site->file != NULL ? site->file : "", file_bytes);
        copy->function =
            memcpy(text + file_bytes, site->function != NULL ? site->function : "", function_bytes);
        copy->line = site->line;
    }
    return copy;
}

static uint32_t tag_site_create(struct allot_site *site, uint32_t tag) {
    struct tag_account *account = tag_next_account();
    const struct allot_site *copy = account != NULL ? tag_copy_site(site) : NULL;
    if (copy == NULL) {
        return tag;
    }
    struct tag_account *own = tag_account(tag);
    account->tag = own->tag;
    account->site = copy;
    account->next_of_site = site->first;
    atomic_store_explicit(&account->next, own->next, memory_order_relaxed);
    uint32_t number = tag_publish();
    atomic_store_explicit(&own->next, number, memory_order_release);
    __atomic_store_n(&site->first, number, __ATOMIC_RELEASE);
    return number;
}

uint32_t tag_site(struct allot_site *site, uint32_t tag) {
    if (tag == 0 || tag >= tag_count() || tag_account(tag)->site != NULL) {
        return 0;
    }
    uint32_t account = tag_site_find(site, tag);
    if (account == 0) {
        lock_take(&tag_state.lock);
        account = tag_site_find(site, tag);
        account = account != 0 ? account : tag_site_create(site, tag);
        lock_give(&tag_state.lock);
    }
    __atomic_store_n(&site->last, (uint64_t)tag << 32 | account, __ATOMIC_RELEASE);
    return account;
}

// ---- Ledgers

// NULL: the thread is at its very end, or there is no memory.
static struct cache_ledger *tag_ledger(void) {
    struct cache *own = registry_cache();
    if (own == NULL || own->ledger != NULL) {
        return own != NULL ? own->ledger : NULL;
    }
    struct cache_ledger *ledger =
        region_take_meta(offsetof(struct cache_ledger, cache) + CACHE_RECORD_BYTES);
    if (ledger == NULL) {
        return NULL;
    }
    cache_init(&ledger->cache, own->number, own->shard);
    ledger->cache.twin = SIZECLASS_TWIN;
    ledger->cache.bump = ledger->cache.bump_end;  // no places beside the record
    lock_take(&tag_state.lock);
    ledger->next = tag_state.ledgers;
    tag_state.ledgers = ledger;
    lock_give(&tag_state.lock);
    __atomic_store_n(&own->ledger, ledger, __ATOMIC_RELEASE);
    cache_tagged = ledger;
    return ledger;
}

static struct tag_row *tag_take_rows(unsigned rows_log2) {
    struct tag_row *rows = tag_state.rows_free[rows_log2];
    if (rows == NULL) {
        return region_take_meta(sizeof *rows << rows_log2);
    }
    tag_state.rows_free[rows_log2] = *(struct tag_row **)rows;
    memset(rows, 0, sizeof *rows << rows_log2);
    return rows;
}

// Readers hold the lock, too.
static bool tag_grow_rows(struct cache_ledger *ledger, uint32_t account) {
    unsigned rows_log2 = bits_log2(account) + 1;
    rows_log2 = rows_log2 > TAG_ROWS_LOG2_MIN ? rows_log2 : TAG_ROWS_LOG2_MIN;
    lock_take(&tag_state.lock);
    struct tag_row *rows = tag_take_rows(rows_log2);
    if (rows != NULL) {
        struct tag_row *old = ledger->rows;
        if (old != NULL) {
            memcpy(rows, old, ledger->row_count * sizeof *rows);
            unsigned old_log2 = bits_log2(ledger->row_count);
            *(struct tag_row **)old = tag_state.rows_free[old_log2];
            tag_state.rows_free[old_log2] = old;
        }
        ledger->scope_row = NULL;
        ledger->rows = rows;
        ledger->row_count = 1u << rows_log2;
    }
    lock_give(&tag_state.lock);
    return rows != NULL;
}

// NULL: count in the account's own record.
static struct tag_row *tag_row(uint32_t account) {
    struct cache_ledger *ledger = tag_ledger();
    if (ledger == NULL) {
        return NULL;
    }
    if (account >= ledger->row_count && !tag_grow_rows(ledger, account)) {
        return NULL;
    }
    struct tag_row *row = &ledger->rows[account];
    const struct tag *tag = tag_account(account)->tag;
    row->is_plain = tag->is_charged || tag->is_watched   ? TAG_ROW_SLOW
                    : tag_account(account)->site == NULL ? TAG_ROW_OF_TAG
                                                         : TAG_ROW_OF_SITE;
    if (account == cache_scope && row->is_plain != 0) {
        ledger->scope = account;
        ledger->scope_row = row;
    }
    return row;
}

struct tag_change {
    uint64_t taken_bytes, taken_blocks, given_bytes, given_blocks;
};

static void tag_count_late(struct tag_row *row, const struct tag_change *change) {
    __atomic_fetch_add(&row->taken_bytes, change->taken_bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&row->taken_blocks, change->taken_blocks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&row->given_bytes, change->given_bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&row->given_blocks, change->given_blocks, __ATOMIC_RELAXED);
}

static void tag_change(uint32_t account, struct tag_row *row, const struct tag_change *change) {
    struct tag *tag = tag_account(account)->tag;
    if (row == NULL) {
        tag_count_late(&tag_account(account)->late, change);
    } else {
        compiler_count_by(&row->taken_bytes, change->taken_bytes);
        compiler_count_by(&row->taken_blocks, change->taken_blocks);
        compiler_count_by(&row->given_bytes, change->given_bytes);
        compiler_count_by(&row->given_blocks, change->given_blocks);
    }
    if (tag->is_charged && change->given_bytes > 0) {
        atomic_fetch_sub_explicit(&tag->own_bytes, (int64_t)change->given_bytes,
                                  memory_order_relaxed);
        budget_shrink(&tag->budget, (int64_t)change->given_bytes);
    }
}

// ---- Sums

static uint64_t tag_load(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

// What was given is read first, and what was taken right behind it: what a thread
// takes and gives meanwhile is hardly seen.
static void tag_add_row(const struct tag_row *row, struct tag_sum *sum) {
    uint64_t given_bytes = tag_load(&row->given_bytes);
    sum->live_bytes += tag_load(&row->taken_bytes) - given_bytes;
    uint64_t given_blocks = tag_load(&row->given_blocks);
    uint64_t taken_blocks = tag_load(&row->taken_blocks);
    sum->live_blocks += taken_blocks - given_blocks;
    sum->given_blocks += given_blocks;
    sum->taken_blocks += taken_blocks;
    sum->remote_blocks += tag_load(&row->remote_blocks);
}

static uint64_t tag_positive(uint64_t number) {
    return (int64_t)number > 0 ? number : 0;
}

// The lock is held.
static void tag_add_locked(uint32_t account, struct tag_sum *sum) {
    struct tag_sum own = {0};
    tag_add_row(&tag_account(account)->late, &own);
    for (const struct cache_ledger *at = tag_state.ledgers; at != NULL; at = at->next) {
        if (account < at->row_count) {
            tag_add_row(&at->rows[account], &own);
        }
    }
    sum->live_bytes += tag_positive(own.live_bytes);
    sum->live_blocks += tag_positive(own.live_blocks);
    sum->taken_blocks += own.taken_blocks;
    sum->given_blocks += own.given_blocks;
    sum->remote_blocks += own.remote_blocks;
}

void tag_add(uint32_t account, struct tag_sum *sum) {
    lock_take(&tag_state.lock);
    tag_add_locked(account, sum);
    lock_give(&tag_state.lock);
}

static void tag_raise_peak(struct tag *tag, uint64_t bytes) {
    uint64_t peak = atomic_load_explicit(&tag->peak_bytes, memory_order_relaxed);
    while (bytes > peak &&
           !atomic_compare_exchange_weak_explicit(&tag->peak_bytes, &peak, bytes,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void tag_note_peak(struct tag *tag, uint64_t more_bytes) {
    struct tag_sum sum = {0};
    lock_take(&tag_state.lock);
    for (uint32_t at = tag->id; at != 0; at = tag_account(at)->next) {
        tag_add_locked(at, &sum);
    }
    lock_give(&tag_state.lock);
    tag_raise_peak(tag, sum.live_bytes + more_bytes);
    int64_t step = (int64_t)(sum.live_bytes / TAG_STEP_SHARE);
    atomic_store_explicit(&tag->step_bytes, step > TAG_STEP_BYTES_MIN ? step : TAG_STEP_BYTES_MIN,
                          memory_order_relaxed);
}

// ---- Limits

// Before the limit, with no lock held: the report may change what is live.
static void tag_report_due(struct tag *tag, uint64_t bytes) {
    size_t soft = atomic_load_explicit(&tag->soft_bytes, memory_order_relaxed);
    uint64_t used =
        tag_positive((uint64_t)atomic_load_explicit(&tag->budget.used_bytes, memory_order_relaxed));
    if (tag->report == NULL || soft == 0 || used + bytes <= soft) {
        return;
    }
    size_t next = soft;
    while (next < used + bytes && next < TAG_SOFT_MAX) {
        next *= 2;
    }
    if (atomic_compare_exchange_strong_explicit(&tag->soft_bytes, &soft, next, memory_order_relaxed,
                                                memory_order_relaxed)) {
        tag->report(tag->id, used + bytes, tag->context);
    }
}

// What is lent counts twice until it is given back, and is never free for others.
static uint64_t tag_take_lent(uint64_t bytes) {
    struct cache_ledger *ledger = tag_ledger();
    uint64_t lent = ledger != NULL ? ledger->lent_bytes : 0;
    if (lent > 0) {
        ledger->lent_bytes = 0;
    }
    return lent < bytes ? lent : bytes;
}

static bool tag_charge(struct tag *tag, uint64_t bytes) {
    uint64_t lent = tag_take_lent(bytes);
    tag_report_due(tag, bytes - lent);
    if (bytes > lent && !budget_grow(&tag->budget, (int64_t)(bytes - lent))) {
        atomic_fetch_add_explicit(&tag->refused_calls, 1, memory_order_relaxed);
        return false;
    }
    budget_shrink(&tag->budget, -(int64_t)lent);
    int64_t own = atomic_fetch_add_explicit(&tag->own_bytes, (int64_t)bytes, memory_order_relaxed);
    tag_raise_peak(tag, tag_positive((uint64_t)own) + bytes);
    return true;
}

// False: a limit refuses.
static bool tag_admit(uint32_t account, struct tag_row *row, uint64_t bytes) {
    struct tag *tag = tag_account(account)->tag;
    if (tag->is_charged) {
        if (row != NULL) {
            row->due_bytes = INT64_MIN;
        }
        return tag_charge(tag, bytes);
    }
    if (row == NULL) {
        return true;
    }
    int64_t held = (int64_t)(row->taken_bytes + bytes - row->given_bytes);
    if (held > row->due_bytes || row->due_bytes == 0) {
        tag_note_peak(tag, bytes);
        row->due_bytes = INT64_MAX;
    }
    // What the thread gave since it looked may be with others by now.
    int64_t due = held + atomic_load_explicit(&tag->step_bytes, memory_order_relaxed);
    row->due_bytes = due < row->due_bytes ? due : row->due_bytes;
    return true;
}

static void tag_take_back(uint32_t account, uint64_t bytes) {
    struct tag *tag = tag_account(account)->tag;
    if (tag->is_charged) {
        atomic_fetch_sub_explicit(&tag->own_bytes, (int64_t)bytes, memory_order_relaxed);
        budget_shrink(&tag->budget, (int64_t)bytes);
    }
}

void tag_lend(uint32_t account, size_t bytes) {
    bool is_charged = account != 0 && tag_account(account)->tag->is_charged;
    struct cache_ledger *ledger = is_charged ? tag_ledger() : NULL;
    if (ledger != NULL) {
        ledger->lent_bytes = bytes;
    }
}

void tag_set_limit(struct tag *tag, const size_t *limit_bytes, const bool *has_grace) {
    lock_take(&tag_state.lock);
    size_t limit = limit_bytes != NULL ? *limit_bytes : tag->limit_bytes;
    tag->has_grace = has_grace != NULL ? *has_grace : tag->has_grace;
    __atomic_store_n(&tag->limit_bytes, limit, __ATOMIC_RELAXED);
    budget_set_limit(&tag->budget, budget_limit_of(limit, tag->has_grace ? tag->grace_bytes : 0));
    lock_give(&tag_state.lock);
}

// ---- Blocks

static const struct span *tag_span(const void *block) {
    return region_span((uint32_t)region_granule(block));
}

static void *tag_obtain(unsigned kind, bool *is_zero) {
    struct cache_ledger *ledger = tag_ledger();
    if (ledger == NULL) {
        return cache_take_uncached(kind + SIZECLASS_TWIN, is_zero);
    }
    void *block = cache_pop(&ledger->cache, kind);
    if (block == NULL) {
        block = cache_refill(&ledger->cache, kind, is_zero);
        for (void **slot = ledger->cache.top[kind]; *slot != NULL; slot--) {
            *cache_place(slot) = tag_place(*slot, tag_span(*slot));
        }
    }
    return block;
}

static void *tag_refuse(void) {
    errno = ENOMEM;
    return NULL;
}

NOINLINE void *tag_take_slow(uint32_t account, unsigned kind, bool *is_zero) {
    const struct sizeclass *class = &sizeclass_table[kind];
    if (!sizeclass_is_slab(kind)) {
        return tag_take_large(account, class->size_bytes, 1, is_zero);
    }
    int saved = errno;
    struct tag_row *row = tag_row(account);
    if (!tag_admit(account, row, class->size_bytes)) {
        return tag_refuse();
    }
    void *block = tag_obtain(kind, is_zero);
    if (block == NULL) {
        tag_take_back(account, class->size_bytes);
        return tag_refuse();
    }
    atomic_store_explicit(tag_place(block, tag_span(block)), (uint16_t)account,
                          memory_order_relaxed);
    // A report may have moved the rows.
    tag_change(account, tag_row(account), &(struct tag_change){class->size_bytes, 1, 0, 0});
    errno = saved;
    return block;
}

void *tag_take_large(uint32_t account, size_t size_bytes, size_t align_bytes, bool *is_zero) {
    int saved = errno;
    size_t usable = large_good_size(size_bytes);
    if (size_bytes > LARGE_MAX_BYTES || !tag_admit(account, tag_row(account), usable)) {
        return tag_refuse();
    }
    const struct cache_ledger *ledger = tag_ledger();
    unsigned shard = ledger != NULL ? ledger->cache.shard : 0;
    void *block = large_take(KIND_LARGE, shard, size_bytes, align_bytes, is_zero);
    if (block == NULL) {
        tag_take_back(account, usable);
        return tag_refuse();
    }
    __atomic_store_n(&region_span((uint32_t)region_granule(block))->as.large.account,
                     (uint16_t)account, __ATOMIC_RELAXED);
    tag_change(account, tag_row(account), &(struct tag_change){usable, 1, 0, 0});
    errno = saved;
    return block;
}

uint32_t tag_find(const void *block) {
    size_t granule = region_granule(block);
    if (!region_contains(granule)) {
        return 0;
    }
    unsigned kind = region_kind(granule);
    if (kind == KIND_LARGE && large_is_block(block)) {
        return region_span((uint32_t)granule)->as.large.account;
    }
    if (kind != KIND_TAGGED || !slab_is_taken(twin_kind(granule), block)) {
        return 0;
    }
    return atomic_load_explicit(tag_place(block, region_span((uint32_t)granule)),
                                memory_order_relaxed);
}

NOINLINE bool tag_give_slow(void *block, size_t granule) {
    unsigned twin = twin_kind(granule);
    uint32_t account = tag_find(block);
    if (account == 0) {
        return false;
    }
    struct cache_ledger *ledger = tag_ledger();
    struct tag_row *row = tag_row(account);
    tag_change(account, row, &(struct tag_change){0, 0, sizeclass_table[twin].size_bytes, 1});
    if (ledger == NULL) {
        cache_give_uncached(twin, block);
        return true;
    }
    const struct span *span = region_span((uint32_t)granule);
    uint16_t lessee = atomic_load_explicit(&span->lessee, memory_order_relaxed);
    if (row != NULL && lessee != ledger->cache.number) {
        compiler_count_up(&row->remote_blocks);
    }
    unsigned kind = twin - SIZECLASS_TWIN;
    if (!cache_push(&ledger->cache, kind, block)) {
        cache_push_slow(&ledger->cache, kind, block);
    }
    void **top = ledger->cache.top[kind];
    block = ledger->cache.hot[kind];
    if (block != NULL) {
        *cache_place(top) = tag_place(block, tag_span(block));
    }
    return true;
}

void tag_give_large(const void *block) {
    uint32_t account = region_span((uint32_t)region_granule(block))->as.large.account;
    if (account != 0) {
        tag_change(account, tag_row(account),
                   &(struct tag_change){0, 0, large_usable_bytes(block), 1});
    }
}

bool tag_resize(uint32_t account, size_t from_bytes, size_t to_bytes) {
    if (account == 0 || from_bytes == to_bytes) {
        return true;
    }
    size_t more = to_bytes > from_bytes ? to_bytes - from_bytes : 0;
    size_t less = to_bytes > from_bytes ? 0 : from_bytes - to_bytes;
    if (more > 0 && !tag_admit(account, tag_row(account), more)) {
        return false;
    }
    tag_change(account, tag_row(account), &(struct tag_change){more, 0, less, 0});
    return true;
}

bool tag_note_taken(uint32_t account, size_t bytes) {
    if (account == 0) {
        return true;
    }
    if (!tag_admit(account, tag_row(account), bytes)) {
        return false;
    }
    tag_change(account, tag_row(account), &(struct tag_change){bytes, 1, 0, 0});
    return true;
}

void tag_note_given(uint32_t account, size_t bytes) {
    if (account != 0) {
        tag_change(account, tag_row(account), &(struct tag_change){0, 0, bytes, 1});
    }
}

void tag_repair(void) {
    lock_reset(&tag_state.lock);
    memset(tag_state.rows_free, 0, sizeof tag_state.rows_free);
    for (struct tag *tag = tag_state.charged; tag != NULL; tag = tag->next_charged) {
        lock_reset(&tag->budget.lock);
    }
}
