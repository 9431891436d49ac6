// report.c - jemalloc's report.                                            layer 8
#include "api/life.h"
#include "base/config.h"
#include "base/fmt.h"
#include "face/figures.h"
#include "os/os.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if ALLOT_CONFIG_FACE

// Weak: a program with a jemalloc of its own can be linked with liballot.o.
#define REPORT_EXPORT __attribute__((visibility("default"), weak))

// What a program sets, or jemalloc's settings that it was linked with: the former
// gets the report, the latter are not looked at.
typedef void report_writer(void *context, const char *text);
extern report_writer *malloc_message, *je_malloc_message;
extern const char *malloc_conf, *je_malloc_conf;
report_writer *malloc_message REPORT_EXPORT;
report_writer *je_malloc_message REPORT_EXPORT;
const char *malloc_conf REPORT_EXPORT;
const char *je_malloc_conf REPORT_EXPORT;

static void report_to_stderr(void *context, const char *text) {
    (void)context;
    os_write(2, text, strlen(text));
}

struct report {
    report_writer *write;
    void *context;
    bool is_json;
    bool has_bins;
};

enum { REPORT_LINE_BYTES = 256 };

static const struct report_figure {
    const char *name;  // behind "stats."
    size_t offset;
} report_figures[] = {
    {"allocated", offsetof(struct figures, allocated)},
    {"active", offsetof(struct figures, active)},
    {"metadata", offsetof(struct figures, metadata)},
    {"resident", offsetof(struct figures, resident)},
    {"mapped", offsetof(struct figures, mapped)},
    {"retained", offsetof(struct figures, retained)},
};

static void report_print_figure(const struct report *report, const struct report_figure *figure,
                                bool is_first) {
    char text[REPORT_LINE_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    if (report->is_json) {
        fmt_text(&fmt, is_first ? "\"" : ",\"");
        fmt_text(&fmt, figure->name);
        fmt_text(&fmt, "\":");
    } else {
        fmt_text(&fmt, "stats.");
        fmt_text(&fmt, figure->name);
        fmt_text(&fmt, ": ");
    }
    fmt_number(&fmt, figures_word(figure->offset));
    fmt_text(&fmt, report->is_json ? "" : "\n");
    report->write(report->context, text);
}

static void report_print_bin(const struct report *report, unsigned bin, bool is_first) {
    const struct sizeclass *class = &sizeclass_table[SIZECLASS_FIRST + bin];
    const size_t at = FIGURES_OF_BIN(bin);
    const struct {
        const char *name;
        uint64_t number;
    } parts[] = {
        {"size", class->size_bytes},
        {"nregs", class->block_count},
        {"curregs", figures_word(at + offsetof(struct figures_bin, taken_count))},
        {"curslabs", figures_word(at + offsetof(struct figures_bin, slab_count))},
        {"nonfull_slabs", figures_word(at + offsetof(struct figures_bin, nonfull_count))},
    };
    char text[REPORT_LINE_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_text(&fmt, !report->is_json ? "bin:" : is_first ? "{" : ",{");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        fmt_text(&fmt, !report->is_json ? " " : i > 0 ? ",\"" : "\"");
        fmt_text(&fmt, parts[i].name);
        fmt_text(&fmt, report->is_json ? "\":" : " ");
        fmt_number(&fmt, parts[i].number);
    }
    fmt_text(&fmt, report->is_json ? "}" : "\n");
    report->write(report->context, text);
}

static void report_print(const struct report *report) {
    report->write(report->context,
                  report->is_json ? "{\"jemalloc\":{\"version\":\"" FIGURES_VERSION "\",\"stats\":{"
                                  : "--- allot under jemalloc's names: " FIGURES_VERSION " ---\n");
    for (size_t i = 0; i < sizeof report_figures / sizeof report_figures[0]; i++) {
        report_print_figure(report, &report_figures[i], i == 0);
    }
    report->write(report->context, report->is_json ? "},\"bins\":[" : "");
    bool is_first = true;
    for (unsigned i = 0; i < SIZECLASS_SLABS && report->has_bins; i++) {
        if (figures_word(FIGURES_OF_BIN(i) + offsetof(struct figures_bin, slab_count)) > 0) {
            report_print_bin(report, i, is_first);
            is_first = false;
        }
    }
    report->write(report->context, report->is_json ? "]}}\n" : "--- end ---\n");
}

// Options are letters: J asks for JSON, b leaves the bins out; others name parts
// of jemalloc's report that this one does not have.
REPORT_EXPORT void malloc_stats_print(report_writer *write, void *context, const char *options);
REPORT_EXPORT void malloc_stats_print(report_writer *write, void *context, const char *options) {
    if (!life_is_ready()) {
        return;
    }
    if (write == NULL) {
        write = malloc_message != NULL      ? malloc_message
                : je_malloc_message != NULL ? je_malloc_message
                                            : report_to_stderr;
    }
    options = options != NULL ? options : "";
    struct report report = {write, context, strchr(options, 'J') != NULL,
                            strchr(options, 'b') == NULL};
    figures_refresh();
    report_print(&report);
}
extern __typeof__(malloc_stats_print) je_malloc_stats_print REPORT_EXPORT
    __attribute__((alias("malloc_stats_print")));

#endif
