// misuse.c - what a wrong pointer is, in words.                            layer 7
#include "api/misuse.h"

#include "api/options.h"
#include "heap/heapgiven.h"
#include "heap/heapslab.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"
#include "slab/twin.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MISUSE_STDERR = 2, MISUSE_TEXT_BYTES = 256 };

static _Atomic(uint64_t) misuse_reported;

static struct misuse_finding misuse_in_slab(unsigned kind, const void *address,
                                            const struct cache *cache) {
    struct slab_place place = slab_find(kind, address);
    if (!place.is_block) {
        return (struct misuse_finding){MISUSE_UNKNOWN, NULL, 0};
    }
    const char *block = (const char *)address - place.offset_bytes;
    size_t size = sizeclass_table[kind].size_bytes;
    unsigned stack = sizeclass_is_twin(kind) ? kind - SIZECLASS_TWIN : kind;
    bool is_free = slab_is_free(kind, block) || (cache != NULL && cache_holds(cache, stack, block));
    enum misuse_kind found = place.offset_bytes != 0 ? MISUSE_INSIDE
                             : is_free               ? MISUSE_FREE
                                                     : MISUSE_NONE;
    return (struct misuse_finding){found, block, size};
}

static struct misuse_finding misuse_in_heap(const void *address) {
    struct heapslab_place place = heapslab_find(address);
    enum misuse_kind found = place.block == NULL      ? MISUSE_UNKNOWN
                             : place.block != address ? MISUSE_INSIDE
                             : place.is_free          ? MISUSE_FREE
                                                      : MISUSE_NONE;
    return (struct misuse_finding){found, place.block, place.size_bytes};
}

static struct misuse_finding misuse_in_given(const void *address) {
    const struct allot_heap *heap = heapgiven_find(address);
    const void *block = heap != NULL ? given_find(heap->given, address) : NULL;
    if (block == NULL) {
        return (struct misuse_finding){MISUSE_UNKNOWN, NULL, 0};
    }
    return (struct misuse_finding){block == address ? MISUSE_NONE : MISUSE_INSIDE, block,
                                   given_usable_bytes(heap->given, block)};
}

static struct misuse_finding misuse_in_span(const void *address) {
    const void *block = large_find(address);
    if (block == NULL) {
        return (struct misuse_finding){MISUSE_UNKNOWN, NULL, 0};
    }
    return (struct misuse_finding){block == address ? MISUSE_NONE : MISUSE_INSIDE, block,
                                   large_usable_bytes(block)};
}

static const struct cache *misuse_tagged(const struct cache *cache) {
    return cache != NULL && cache->ledger != NULL ? &cache->ledger->cache : NULL;
}

// Looks into the stacks of `cache`, too, unless it is NULL.
static struct misuse_finding misuse_find(const void *address, const struct cache *cache) {
    size_t granule = region_granule(address);
    if (region_contains(granule)) {
        unsigned kind = region_kind(granule);
        if (sizeclass_is_slab(kind)) {
            return misuse_in_slab(kind, address, cache);
        }
        if (kind == KIND_HEAP) {
            return misuse_in_heap(address);
        }
        if (kind == KIND_TAGGED) {
            return misuse_in_slab(twin_kind(granule), address, misuse_tagged(cache));
        }
        struct misuse_finding finding = {MISUSE_UNKNOWN, NULL, 0};
        if (kind != KIND_NONE) {
            finding = misuse_in_span(address);
        }
        size_t given_bytes = finding.kind == MISUSE_UNKNOWN ? large_was_block(address) : 0;
        return given_bytes > 0 ? (struct misuse_finding){MISUSE_FREE, address, given_bytes}
                               : finding;
    }
    return misuse_in_given(address);
}

bool misuse_is_block(const void *address) {
    return misuse_find(address, NULL).kind == MISUSE_NONE;
}

uint64_t misuse_count(void) {
    return atomic_load_explicit(&misuse_reported, memory_order_relaxed);
}

void misuse_tell(const struct fmt *fmt) {
    atomic_fetch_add_explicit(&misuse_reported, 1, memory_order_relaxed);
    if (options_state.misuse != OPTIONS_MISUSE_IGNORE) {
        os_write(MISUSE_STDERR, fmt->text, fmt_length(fmt));
    }
}

void misuse_end(void) {
    if (options_state.misuse == OPTIONS_MISUSE_ABORT) {
        abort();
    }
}

// ---- Words

static void misuse_begin(struct fmt *fmt, const char *function, const void *address) {
    fmt_text(fmt, "allot: error: ");
    fmt_text(fmt, function);
    fmt_text(fmt, " of ");
    fmt_hex(fmt, (uintptr_t)address);
}

static void misuse_add_block(struct fmt *fmt, size_t size_bytes) {
    fmt_number(fmt, size_bytes);
    fmt_text(fmt, "-byte block");
}

void misuse_describe(struct fmt *fmt, const char *function, const void *address,
                     const struct misuse_finding *finding) {
    bool is_free_call = function[0] == 'f';
    bool is_double = finding->kind == MISUSE_FREE && is_free_call;
    misuse_begin(fmt, is_double ? "double free" : function, address);
    if (is_double) {
        fmt_text(fmt, " (");
        misuse_add_block(fmt, finding->size_bytes);
        fmt_text(fmt, ")");
    } else if (finding->kind == MISUSE_INSIDE) {
        fmt_text(fmt, ", which lies ");
        fmt_number(fmt, (uintptr_t)address - (uintptr_t)finding->block);
        fmt_text(fmt, " bytes inside a ");
        misuse_add_block(fmt, finding->size_bytes);
        fmt_text(fmt, " at ");
        fmt_hex(fmt, (uintptr_t)finding->block);
    } else if (finding->kind == MISUSE_FREE) {
        fmt_text(fmt, ", a ");
        misuse_add_block(fmt, finding->size_bytes);
        fmt_text(fmt, " that was freed");
    } else {
        fmt_text(fmt, ", which was not allocated here");
    }
    fmt_text(fmt, "\n");
}

void misuse_describe_size(struct fmt *fmt, const char *function, const void *block,
                          size_t size_bytes, size_t usable_bytes) {
    misuse_begin(fmt, function, block);
    fmt_text(fmt, " with ");
    fmt_number(fmt, size_bytes);
    fmt_text(fmt, " bytes, but the block has ");
    fmt_number(fmt, usable_bytes);
    fmt_text(fmt, "\n");
}

static void misuse_act(const char *function, const void *address,
                       const struct misuse_finding *finding) {
    char text[MISUSE_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    misuse_describe(&fmt, function, address, finding);
    misuse_tell(&fmt);
    misuse_end();
}

void misuse_pointer(const char *function, const void *address) {
    struct misuse_finding finding = misuse_find(address, registry_find());
    misuse_act(function, address, &finding);
}

void misuse_size(const char *function, const void *block, size_t size_bytes, size_t usable_bytes) {
    char text[MISUSE_TEXT_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    misuse_describe_size(&fmt, function, block, size_bytes, usable_bytes);
    misuse_tell(&fmt);
    misuse_end();
}

void misuse_slab(void *block, enum slab_fault fault) {
    if (fault == SLAB_DOUBLE_FREE) {
        size_t granule = region_granule(block);
        unsigned kind = region_kind(granule);
        kind = kind == KIND_TAGGED ? twin_kind(granule) : kind;
        size_t size =
            kind == KIND_HEAP ? heapslab_find(block).size_bytes : sizeclass_table[kind].size_bytes;
        misuse_act("free", block, &(struct misuse_finding){MISUSE_FREE, block, size});
    } else {
        misuse_pointer("free", block);
    }
}
