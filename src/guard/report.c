// report.c - what is wrong with a guarded block, and whose it is, in words.  layer 7
#include "guard/report.h"

#include "api/misuse.h"
#include "base/compiler.h"
#include "base/fmt.h"
#include "guard/maps.h"
#include "guard/trace.h"
#include "os/frame.h"
#include "os/lock.h"
#include "os/os.h"
#include "tag/tag.h"

#include <string.h>

enum { REPORT_TEXT_BYTES = 8192, REPORT_STDERR = 2, REPORT_ELF_TYPE_AT = 16, REPORT_ELF_FIXED = 2 };

static struct {
    struct lock lock;
    char text[REPORT_TEXT_BYTES];
} report_state;

// ---- Places in the code

// A file that is linked to run at one address is known by addresses, any other by
// offsets.
static uintptr_t report_origin(const struct maps_place *place) {
    const unsigned char *head = (const unsigned char *)place->base;
    uint16_t type = 0;
    if (memcmp(head, "\177ELF", 4) == 0) {
        memcpy(&type, head + REPORT_ELF_TYPE_AT, sizeof type);
    }
    return type == REPORT_ELF_FIXED ? 0 : place->base;
}

static bool report_is_own(const struct maps_place *place) {
    const char *name = strrchr(place->path, '/');
    return name != NULL && strncmp(name, "/liballot.so", strlen("/liballot.so")) == 0;
}

// A word of the stack that is no return address ends the trace: nothing is guessed.
static bool report_is_return(const struct maps_place *place, uintptr_t address) {
    return place->is_executable && address - place->low >= FRAME_CALL_BYTES &&
           frame_follows_call((const unsigned char *)address);
}

static void report_add_frame(struct fmt *fmt, unsigned number, uintptr_t address,
                             const struct maps_place *place) {
    fmt_text(fmt, "    #");
    fmt_number(fmt, number);
    fmt_text(fmt, " ");
    if (place != NULL && place->base != 0) {
        fmt_text(fmt, place->path);
        fmt_text(fmt, "+");
        fmt_hex(fmt, address - 1 - report_origin(place));  // in the call
    } else {
        fmt_hex(fmt, address - 1);
        fmt_text(fmt, " in no file");
    }
    fmt_text(fmt, "\n");
}

static void report_add_trace(struct fmt *fmt, const char *title, uint32_t number) {
    const struct trace *trace = trace_at(number);
    fmt_text(fmt, "  ");
    fmt_text(fmt, title);
    fmt_text(fmt, "\n");
    unsigned shown = 0;
    for (unsigned i = 0; trace != NULL && i < TRACE_FRAMES && trace->returns[i] != 0; i++) {
        struct maps_place place;
        bool is_found = maps_find(&place, trace->returns[i]);
        bool is_ours = is_found && shown == 0 && report_is_own(&place);
        if (i > 0 && (!is_found || !report_is_return(&place, trace->returns[i]))) {
            break;
        }
        if (!is_ours) {
            report_add_frame(fmt, shown++, trace->returns[i], is_found ? &place : NULL);
        }
    }
    if (shown == 0) {
        fmt_text(fmt, "    (not known)\n");
    }
}

// ---- Blocks

static void report_add_block(struct fmt *fmt, const struct guarded *guarded) {
    fmt_text(fmt, "the ");
    fmt_number(fmt, guarded->size_bytes);
    fmt_text(fmt, "-byte block at ");
    fmt_hex(fmt, (uintptr_t)guarded->block);
}

static void report_add_tag(struct fmt *fmt, uint32_t number) {
    const struct tag_account *account = tag_account(number);
    fmt_text(fmt, "  of the tag ");
    fmt_text(fmt, account->tag->name);
    if (account->site != NULL) {
        fmt_text(fmt, ", from ");
        fmt_text(fmt, account->site->function);
        fmt_text(fmt, " at ");
        fmt_text(fmt, account->site->file);
        fmt_text(fmt, ":");
        fmt_number(fmt, account->site->line);
    }
    fmt_text(fmt, "\n");
}

static void report_add_traces(struct fmt *fmt, const struct guarded *guarded, uint32_t now) {
    if (now != 0) {
        report_add_trace(fmt, "by the call at", now);
    }
    bool is_known = guarded != NULL && guarded->block != NULL;
    if (is_known && guarded->account != 0) {
        report_add_tag(fmt, guarded->account);
    }
    if (is_known) {
        report_add_trace(fmt, "allocated at", guarded->taken);
    }
    if (is_known && guarded->given != 0) {
        report_add_trace(fmt, "freed at", guarded->given);
    }
    fmt_text(fmt, "  `allot check -- PROGRAM` names functions and lines\n");
}

static void report_add_offset(struct fmt *fmt, ptrdiff_t offset) {
    fmt_text(fmt, offset < 0 ? "-" : "");
    fmt_number(fmt, (uint64_t)(offset < 0 ? -offset : offset));
}

static void report_begin(struct fmt *fmt) {
    lock_take(&report_state.lock);
    fmt_init(fmt, report_state.text, sizeof report_state.text);
}

static void report_end(const struct fmt *fmt, bool may_abort) {
    misuse_tell(fmt);
    lock_give(&report_state.lock);
    if (may_abort) {
        misuse_end();
    }
}

void report_damage(const struct guarded *guarded, const struct report_damage *damage,
                   bool may_abort) {
    static const char *const names[] = {"", "underrun", "overrun", "write after free"};
    struct fmt fmt;
    report_begin(&fmt);
    fmt_text(&fmt, "allot: error: ");
    fmt_text(&fmt, names[damage->kind]);
    fmt_text(&fmt, ": ");
    report_add_block(&fmt, guarded);
    fmt_text(&fmt, " was written at offset ");
    report_add_offset(&fmt, damage->first);
    if (damage->last != damage->first) {
        fmt_text(&fmt, " to ");
        report_add_offset(&fmt, damage->last);
    }
    fmt_text(&fmt, "\n");
    report_add_traces(&fmt, guarded, 0);
    report_end(&fmt, may_abort);
}

// Where an address lies: "  0x.. lies 3 bytes behind the 24-byte block at 0x..".
static void report_add_place(struct fmt *fmt, const char *address, const struct guarded *guarded) {
    const char *end = guarded->block + guarded->size_bytes;
    bool is_before = address < guarded->block;
    size_t distance = (size_t)(is_before        ? guarded->block - address
                               : address >= end ? address - end
                                                : address - guarded->block);
    fmt_hex(fmt, (uintptr_t)address);
    fmt_text(fmt, " lies ");
    fmt_number(fmt, distance);
    fmt_text(fmt, is_before        ? " bytes before "
                  : address >= end ? " bytes behind "
                                   : " bytes inside ");
    report_add_block(fmt, guarded);
    fmt_text(fmt, "\n");
}

static struct misuse_finding report_find(const char *address, const struct guarded *guarded) {
    if (guarded == NULL || guarded->block == NULL || address < guarded->block ||
        (address != guarded->block && address >= guarded->block + guarded->size_bytes)) {
        return (struct misuse_finding){MISUSE_UNKNOWN, NULL, 0};
    }
    enum misuse_kind kind = address == guarded->block ? MISUSE_FREE : MISUSE_INSIDE;
    return (struct misuse_finding){kind, guarded->block, guarded->size_bytes};
}

void report_pointer(const char *function, const void *address, const struct guarded *guarded,
                    uint32_t now) {
    struct misuse_finding finding = report_find(address, guarded);
    struct fmt fmt;
    report_begin(&fmt);
    misuse_describe(&fmt, function, address, &finding);
    if (finding.kind == MISUSE_UNKNOWN && guarded != NULL && guarded->block != NULL) {
        fmt_text(&fmt, "  ");
        report_add_place(&fmt, address, guarded);
    }
    report_add_traces(&fmt, guarded, now);
    report_end(&fmt, true);
}

void report_size(const struct guarded *guarded, size_t size_bytes, uint32_t now) {
    struct fmt fmt;
    report_begin(&fmt);
    misuse_describe_size(&fmt, "free_sized", guarded->block, size_bytes, guarded->size_bytes);
    report_add_traces(&fmt, guarded, now);
    report_end(&fmt, true);
}

bool report_address(const void *address, const struct guarded *guarded) {
    if (!lock_try(&report_state.lock)) {
        return false;
    }
    struct fmt fmt;
    fmt_init(&fmt, report_state.text, sizeof report_state.text);
    fmt_text(&fmt, "allot: ");
    report_add_place(&fmt, address, guarded);
    report_add_traces(&fmt, guarded, 0);
    os_write(REPORT_STDERR, fmt.text, fmt_length(&fmt));
    lock_give(&report_state.lock);
    return true;
}

void report_repair(void) {
    lock_reset(&report_state.lock);
}
