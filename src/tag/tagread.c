// tagread.c - figures of tags and sites, leaks.                            layer 6
#include "tag/tagread.h"

#include "base/fmt.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "slab/sizeclass.h"
#include "tag/tag.h"

#include <string.h>

enum { TAGREAD_TEXT_BYTES = 1024, TAGREAD_STDERR = 2 };

static struct lock tagread_lock;  // of held_bytes

// ---- What is held

void tagread_hold(uint32_t account, uint64_t bytes) {
    if (account != 0 && account < tag_count()) {
        atomic_fetch_add_explicit(&tag_account(account)->held_bytes, bytes, memory_order_relaxed);
    }
}

// The slab may be on its way out: its record then stands in for its bits, and has no
// accounts before it.
static uint32_t tagread_account(const struct sizeclass *class, const struct span *span,
                                uint32_t index) {
    _Atomic(uint64_t) *words = __atomic_load_n(&span->words, __ATOMIC_RELAXED);
    if (index >= class->block_count || words == span->as.bits) {
        return 0;
    }
    uint64_t word = atomic_load_explicit(&words[index / 64], memory_order_relaxed);
    bool is_taken = (word >> index % 64 & 1) == 0;
    return is_taken ? atomic_load_explicit(twin_place(words, index), memory_order_relaxed) : 0;
}

// The blocks of a slab share its memory, what is free there, too. Those in stacks
// count for the account that had them last.
static void tagread_visit(unsigned kind, uint32_t slab, void *context) {
    const struct sizeclass *class = &sizeclass_table[kind];
    (void)context;
    if (!sizeclass_is_twin(kind)) {
        return;
    }
    const struct span *span = region_span(slab);
    uint32_t live = 0;
    for (uint32_t i = 0; i < class->block_count; i++) {
        live += tagread_account(class, span, i) != 0;
    }
    for (uint32_t i = 0; i < class->block_count && live > 0; i++) {
        tagread_hold(tagread_account(class, span, i), class->slab_bytes / live);
    }
}

static void tagread_visit_large(void) {
    uint32_t top = region_top();
    for (uint32_t g = 1; g < top; g++) {
        if (region_kind(g) == KIND_LARGE) {
            const struct span *span = region_span(g);
            uint64_t granules = __atomic_load_n(&span->granule_count, __ATOMIC_RELAXED);
            tagread_hold(__atomic_load_n(&span->as.large.account, __ATOMIC_RELAXED),
                         granules << GRANULE_LOG2);
        }
    }
}

void tagread_begin(void) {
    lock_take(&tagread_lock);
    for (uint32_t at = 1; at < tag_count(); at++) {
        atomic_store_explicit(&tag_account(at)->held_bytes, 0, memory_order_relaxed);
    }
    pageheap_hold();
    slab_each(tagread_visit, NULL);
    tagread_visit_large();
    pageheap_let_go();
}

void tagread_end(void) {
    lock_give(&tagread_lock);
}

void tagread_repair(void) {
    lock_reset(&tagread_lock);
}

// ---- Figures

static bool tagread_descends(uint32_t tag, uint32_t ancestor) {
    while (tag != 0 && tag != ancestor) {
        tag = tag_account(tag)->tag->parent;
    }
    return tag != 0;
}

void tagread_add_tree(uint32_t tag) {
    struct tag_sum sum = {0};
    for (uint32_t at = 1; at < tag_count(); at++) {
        if (tagread_descends(tag_account(at)->tag->id, tag)) {
            tag_add(at, &sum);
        }
    }
    tag_account(tag)->tree_bytes = sum.live_bytes;
}

// A parent's number is below its children's, a tag's below its sites': from the last
// to the first each account is whole when it is added to the one above.
void tagread_add_trees(void) {
    uint32_t count = tag_count();
    for (uint32_t at = 1; at < count; at++) {
        tag_account(at)->tree_bytes = 0;
    }
    for (uint32_t at = count - 1; at > 0; at--) {
        struct tag_account *account = tag_account(at);
        struct tag_sum sum = {0};
        tag_add(at, &sum);
        account->tree_bytes += sum.live_bytes;
        uint32_t above = account->site != NULL ? account->tag->id : account->tag->parent;
        if (above != 0) {
            tag_account(above)->tree_bytes += account->tree_bytes;
        }
    }
}

void tagread_tag(uint32_t number, struct allot_tag_stats *stats) {
    const struct tag *tag = tag_account(number)->tag;
    struct tag_sum sum = {0};
    uint64_t held = 0;
    for (uint32_t at = number; at != 0; at = tag_account(at)->next) {
        tag_add(at, &sum);
        held += atomic_load_explicit(&tag_account(at)->held_bytes, memory_order_relaxed);
    }
    uint64_t peak = atomic_load_explicit(&tag->peak_bytes, memory_order_relaxed);
    *stats = (struct allot_tag_stats){
        .size_bytes = sizeof *stats,
        .tag = number,
        .parent = tag->parent,
        .live_bytes = sum.live_bytes,
        .live_blocks = sum.live_blocks,
        .peak_bytes = peak > sum.live_bytes ? peak : sum.live_bytes,
        .tree_bytes = tag_account(number)->tree_bytes,
        .limit_bytes = __atomic_load_n(&tag->limit_bytes, __ATOMIC_RELAXED),
        .held_bytes = held,
        .malloc_calls = sum.taken_blocks,
        .free_calls = sum.given_blocks,
        .remote_free_blocks = sum.remote_blocks,
        .refused_calls = atomic_load_explicit(&tag->refused_calls, memory_order_relaxed),
    };
    memcpy(stats->name, tag->name, sizeof stats->name);
}
_Static_assert(sizeof((struct allot_tag_stats *)0)->name == TAG_NAME_BYTES, "names are as long");

void tagread_site(uint32_t number, struct allot_site_stats *stats) {
    const struct tag_account *account = tag_account(number);
    struct tag_sum sum = {0};
    tag_add(number, &sum);
    uint64_t bytes = atomic_load_explicit(&account->marked_bytes, memory_order_relaxed);
    uint64_t blocks = atomic_load_explicit(&account->marked_blocks, memory_order_relaxed);
    *stats = (struct allot_site_stats){
        .size_bytes = sizeof *stats,
        .tag = account->tag->id,
        .live_bytes = sum.live_bytes,
        .live_blocks = sum.live_blocks,
        .malloc_calls = sum.taken_blocks,
        .grown_bytes = (int64_t)(sum.live_bytes - bytes),
        .grown_blocks = (int64_t)(sum.live_blocks - blocks),
    };
    if (account->site != NULL) {
        stats->file = account->site->file;
        stats->function = account->site->function;
        stats->line = account->site->line;
    }
}

void tagread_mark(void) {
    for (uint32_t at = 1; at < tag_count(); at++) {
        struct tag_sum sum = {0};
        tag_add(at, &sum);
        struct tag_account *account = tag_account(at);
        atomic_store_explicit(&account->marked_bytes, sum.live_bytes, memory_order_relaxed);
        atomic_store_explicit(&account->marked_blocks, sum.live_blocks, memory_order_relaxed);
    }
}

// ---- Text

static void tagread_column(struct fmt *fmt, uint64_t number, size_t width) {
    char text[32];
    struct fmt digits;
    fmt_init(&digits, text, sizeof text);
    fmt_number(&digits, number);
    for (size_t i = fmt_length(&digits); i < width; i++) {
        fmt_text(fmt, " ");
    }
    fmt_text(fmt, text);
}

void tagread_print(int fd) {
    static const char head[] =
        "allot:      tag    live bytes   live blocks    peak bytes    held bytes"
        "   allocations       refused  name\n";
    char text[TAGREAD_TEXT_BYTES];
    struct fmt fmt;
    os_write(fd, head, sizeof head - 1);
    for (uint32_t at = 1; at < tag_count(); at++) {
        if (tag_account(at)->site != NULL) {
            continue;
        }
        struct allot_tag_stats stats;
        tagread_tag(at, &stats);
        const uint64_t columns[] = {stats.live_bytes, stats.live_blocks,  stats.peak_bytes,
                                    stats.held_bytes, stats.malloc_calls, stats.refused_calls};
        fmt_init(&fmt, text, sizeof text);
        fmt_text(&fmt, "allot: ");
        tagread_column(&fmt, at, 8);
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            tagread_column(&fmt, columns[i], 14);
        }
        fmt_text(&fmt, "  ");
        fmt_text(&fmt, stats.name);
        fmt_text(&fmt, "\n");
        os_write(fd, text, fmt_length(&fmt));
    }
}

// A string of JSON: quotation marks, backslashes and control characters are escaped.
static void tagread_quote(struct fmt *fmt, const char *text) {
    static const char digits[] = "0123456789abcdef";
    fmt_text(fmt, "\"");
    for (; *text != '\0'; text++) {
        unsigned char letter = (unsigned char)*text;
        char escaped[] = {'\\', 'u', '0', '0', digits[letter >> 4], digits[letter & 15], '\0'};
        if (letter < ' ' || letter == '"' || letter == '\\') {
            fmt_text(fmt, escaped);
        } else {
            fmt_span(fmt, text, 1);
        }
    }
    fmt_text(fmt, "\"");
}

static bool tagread_is_quiet(const struct tag *tag, const char *quiet) {
    while (tag->parent != 0 && !tag_is_named(tag, quiet)) {
        tag = tag_account(tag->parent)->tag;
    }
    return tag_is_named(tag, quiet);
}

static void tagread_add_leak(struct fmt *fmt, const struct allot_site_stats *stats,
                             const char *name) {
    fmt_text(fmt, "allot: ");
    fmt_number(fmt, stats->live_bytes);
    fmt_text(fmt, " bytes in ");
    fmt_number(fmt, stats->live_blocks);
    fmt_text(fmt, stats->live_blocks == 1 ? " block of " : " blocks of ");
    fmt_text(fmt, name);
    if (stats->grown_bytes > 0 && (uint64_t)stats->grown_bytes != stats->live_bytes) {
        fmt_text(fmt, ", ");
        fmt_number(fmt, (uint64_t)stats->grown_bytes);
        fmt_text(fmt, " of them since the mark");
    }
    if (stats->file != NULL) {
        fmt_text(fmt, ", from ");
        fmt_text(fmt, stats->function);
        fmt_text(fmt, " at ");
        fmt_text(fmt, stats->file);
        fmt_text(fmt, ":");
        fmt_number(fmt, stats->line);
    }
    fmt_text(fmt, "\n");
}

static void tagread_add_signed(struct fmt *fmt, const char *name, int64_t number) {
    fmt_text(fmt, name);
    fmt_text(fmt, number < 0 ? "-" : "");
    fmt_number(fmt, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void tagread_add_json(struct fmt *fmt, const struct allot_site_stats *stats,
                             const char *name) {
    fmt_text(fmt, "{\"tag\":");
    tagread_quote(fmt, name);
    tagread_add_signed(fmt, ",\"live_bytes\":", (int64_t)stats->live_bytes);
    tagread_add_signed(fmt, ",\"live_blocks\":", (int64_t)stats->live_blocks);
    tagread_add_signed(fmt, ",\"grown_bytes\":", stats->grown_bytes);
    tagread_add_signed(fmt, ",\"grown_blocks\":", stats->grown_blocks);
    if (stats->file != NULL) {
        fmt_text(fmt, ",\"file\":");
        tagread_quote(fmt, stats->file);
        tagread_add_signed(fmt, ",\"line\":", stats->line);
        fmt_text(fmt, ",\"function\":");
        tagread_quote(fmt, stats->function);
    }
    fmt_text(fmt, "}");
}

// Accounts have numbers in the order of their first use: the oldest comes first.
uint64_t tagread_leaks(int fd, unsigned flags, const char *quiet) {
    bool is_json = (flags & ALLOT_LEAKS_JSON) != 0;
    uint64_t blocks = 0;
    char text[TAGREAD_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_text(&fmt, is_json ? "{\"leaks\":[" : "");
    for (uint32_t at = 1; at < tag_count(); at++) {
        struct allot_site_stats stats;
        const struct tag *tag = tag_account(at)->tag;
        tagread_site(at, &stats);
        bool has_grown = stats.grown_bytes > 0 || stats.grown_blocks > 0;
        if (stats.live_blocks == 0 || ((flags & ALLOT_LEAKS_GROWN) != 0 && !has_grown) ||
            tagread_is_quiet(tag, quiet)) {
            continue;
        }
        if (is_json) {
            fmt_text(&fmt, blocks > 0 ? ",\n" : "\n");
            tagread_add_json(&fmt, &stats, tag->name);
        } else {
            tagread_add_leak(&fmt, &stats, tag->name);
        }
        blocks += stats.live_blocks;
        os_write(fd, text, fmt_length(&fmt));
        fmt_init(&fmt, text, sizeof text);
    }
    fmt_text(&fmt, is_json ? "]}\n" : "");
    os_write(fd, text, fmt_length(&fmt));
    return blocks;
}

void tagread_close(const char *where, const char *quiet) {
    static const char prefix[] = "exit:";
    if (strncmp(where, "exit", 4) != 0) {
        return;
    }
    bool is_file = strncmp(where, prefix, sizeof prefix - 1) == 0;
    int fd = is_file ? os_open_append(where + sizeof prefix - 1) : TAGREAD_STDERR;
    if (fd >= 0) {
        tagread_leaks(fd, is_file ? ALLOT_LEAKS_JSON : 0, quiet);
    }
    if (is_file && fd >= 0) {
        os_close(fd);
    }
}
