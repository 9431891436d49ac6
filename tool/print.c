// print.c - see print.h.

#include "print.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct scale {
    double divisor;
    const char *unit;
};

// A value belongs to the last scale that does not exceed it.
static const struct scale print_scales_ns[] = {
    {1, "ns"}, {1e3, "us"}, {1e6, "ms"}, {1e9, "s"}, {60e9, "min"}, {3600e9, "h"},
};
static const struct scale print_scales_bytes[] = {
    {1, "B"}, {0x1p10, "KiB"}, {0x1p20, "MiB"}, {0x1p30, "GiB"}, {0x1p40, "TiB"},
};
static const struct scale print_scale_count = {1, ""};

static struct scale print_scale(enum quantity quantity, uint64_t value) {
    const struct scale *scales = print_scales_ns;
    size_t count = sizeof print_scales_ns / sizeof *print_scales_ns;

    if (quantity == QUANTITY_COUNT) {
        return print_scale_count;
    }
    if (quantity == QUANTITY_BYTES) {
        scales = print_scales_bytes;
        count = sizeof print_scales_bytes / sizeof *print_scales_bytes;
    }
    while (count > 1 && (double)value < scales[count - 1].divisor) {
        count--;
    }
    return scales[count - 1];
}

static struct text print_grouped(uint64_t value) {
    struct text out;
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    size_t at = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            out.chars[at++] = ',';
        }
        out.chars[at++] = digits[i];
    }
    out.chars[at] = '\0';
    return out;
}

// Decimals that give `value` three significant digits. Whole units (ns, B)
// have none.
static int print_decimals(struct scale scale, double value) {
    if (scale.divisor == 1) {
        return 0;
    }
    return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

struct text print_number(enum quantity quantity, uint64_t value) {
    struct scale scale = print_scale(quantity, value);
    double scaled = (double)value / scale.divisor;
    struct text out;

    if (quantity == QUANTITY_COUNT) {
        return print_grouped(value);
    }
    snprintf(out.chars, sizeof out.chars, "%.*f %s", print_decimals(scale, scaled), scaled,
             scale.unit);
    return out;
}

struct text print_range(enum quantity quantity, uint64_t middle, uint64_t low, uint64_t high) {
    struct scale scale = print_scale(quantity, middle);
    int decimals = print_decimals(scale, (double)middle / scale.divisor);
    struct text out;

    if (quantity == QUANTITY_COUNT) {
        snprintf(out.chars, sizeof out.chars, "%.26s - %.26s", print_grouped(low).chars,
                 print_grouped(high).chars);
    } else {
        snprintf(out.chars, sizeof out.chars, "%.*f - %.*f", decimals, (double)low / scale.divisor,
                 decimals, (double)high / scale.divisor);
    }
    return out;
}

struct paper print_open(const char *path, FILE *otherwise) {
    struct paper paper = {.file = otherwise};
    const char *no_colour = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    if (path != NULL && strcmp(path, "-") != 0) {
        paper.file = fopen(path, "we");
    }
    paper.has_colour = paper.file != NULL && isatty(fileno(paper.file)) &&
                       (no_colour == NULL || *no_colour == '\0') && term != NULL &&
                       strcmp(term, "dumb") != 0;
    return paper;
}

int print_close(struct paper *paper) {
    bool failed = ferror(paper->file) != 0;
    int closed =
        paper->file == stdout || paper->file == stderr ? fflush(paper->file) : fclose(paper->file);

    if (failed && closed == 0) {
        errno = EIO;
    }
    return failed || closed != 0 ? -1 : 0;
}

const char *print_on(const struct paper *paper, enum style style) {
    static const char *const codes[] = {
        [STYLE_BOLD] = "\033[1m",
        [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m",
        [STYLE_BAD] = "\033[31m",
    };

    return paper->has_colour ? codes[style] : "";
}

const char *print_off(const struct paper *paper) {
    return paper->has_colour ? "\033[0m" : "";
}

void print_note(const char *format, ...) {
    va_list args;

    fflush(stdout);
    fputs("allot: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

struct text print_status(int wait_status) {
    struct text out;

    if (WIFSIGNALED(wait_status)) {
        snprintf(out.chars, sizeof out.chars, "signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    } else {
        snprintf(out.chars, sizeof out.chars, "exit status %d", WEXITSTATUS(wait_status));
    }
    return out;
}

int print_shell_status(int wait_status) {
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// A JSON string of `word`, where it is not UTF-8 with "?" for what is not ASCII.
static json_t *print_json_word(const char *word) {
    json_t *string = json_string(word);
    char *copy;

    if (string != NULL) {
        return string;
    }
    copy = strdup(word);
    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80) {
            *c = '?';
        }
    }
    string = json_string(copy == NULL ? "?" : copy);
    free(copy);
    return string;
}

json_t *print_json_words(char *const *words) {
    json_t *array = json_array();

    for (; *words != NULL; words++) {
        json_array_append_new(array, print_json_word(*words));
    }
    return array;
}

static size_t print_least(size_t a, size_t b) {
    return a < b ? a : b;
}

// Levenshtein's distance, where exchanging two neighbours is one edit too.
static size_t print_distance(const char *a, const char *b) {
    enum { LENGTH_MAX = 32 };
    size_t table[LENGTH_MAX + 1][LENGTH_MAX + 1];
    size_t rows = strnlen(a, LENGTH_MAX);
    size_t columns = strnlen(b, LENGTH_MAX);

    for (size_t i = 0; i <= rows; i++) {
        table[i][0] = i;
    }
    for (size_t j = 0; j <= columns; j++) {
        table[0][j] = j;
    }
    for (size_t i = 1; i <= rows; i++) {
        for (size_t j = 1; j <= columns; j++) {
            size_t best = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            best = print_least(best, table[i - 1][j] + 1);
            best = print_least(best, table[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = print_least(best, table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    return table[rows][columns];
}

const char *print_nearest(const char *name, const char *const *names) {
    const char *nearest = NULL;
    size_t fewest = strlen(name) / 2 + 1;

    for (; *names != NULL; names++) {
        size_t edits = print_distance(name, *names);

        if (edits < fewest) {
            fewest = edits;
            nearest = *names;
        }
    }
    return nearest;
}
