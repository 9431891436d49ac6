// options.c - names and texts to settings.                                 layer 7
#include "api/options.h"

#include "allot.h"
#include "base/bits.h"
#include "base/fmt.h"
#include "heap/background.h"
#include "heap/registry.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum options_kind { OPTIONS_BYTES, OPTIONS_TIME, OPTIONS_CHOICE, OPTIONS_TEXT, OPTIONS_NAMES };

enum {
    OPTIONS_NAME_BYTES = 32,
    OPTIONS_NEAR = 3,  // letters by which a name may differ from what was meant
    OPTIONS_COMPLAINTS_BYTES = 1024,
};

struct options_row {
    const char *name;
    enum options_kind kind;
    size_t offset;  // in struct options
    const char *default_text;
    bool is_settable;
    const char *values;
};

#define ALLOT_OPTION(field, kind, text, settable, values, help) \
    {#field, OPTIONS_##kind, offsetof(struct options, field), text, settable, values},
static const struct options_row options_table[] = {
#include "api/options.def"
};
#undef ALLOT_OPTION
enum { OPTIONS_COUNT = sizeof options_table / sizeof options_table[0] };
_Static_assert(OPTIONS_COUNT <= 15, "few enough to remember");

struct options options_state;

static char options_complaints[OPTIONS_COMPLAINTS_BYTES];
static struct fmt options_wrong = {.text = options_complaints,
                                   .size_bytes = sizeof options_complaints};

// Programs may define it; this one stands in for it.
extern const char *allot_defaults __attribute__((weak));

static char *options_text(const struct options_row *row) {
    return (char *)&options_state + row->offset;
}

static uint64_t *options_number(const struct options_row *row) {
    return (uint64_t *)(void *)((char *)&options_state + row->offset);
}

static const struct options_row *options_find(const char *name, size_t length) {
    for (unsigned i = 0; i < OPTIONS_COUNT; i++) {
        const char *known = options_table[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return &options_table[i];
        }
    }
    return NULL;
}

// ---- Values

struct options_unit {
    const char *name;
    uint64_t factor;
};
static const struct options_unit options_byte_units[] = {
    {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", (uint64_t)1 << 40}};
static const struct options_unit options_time_units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};

static bool options_parse_unit(const char *text, size_t length, const struct options_unit *units,
                               size_t count, uint64_t *value) {
    const char *at = text;
    uint64_t number;
    if (length == 0 || !fmt_parse_number(&at, &number)) {
        return false;
    }
    size_t rest = length - (size_t)(at - text);
    for (size_t i = 0; i < count; i++) {
        bool is_unit = strlen(units[i].name) == rest && memcmp(units[i].name, at, rest) == 0;
        if (is_unit || (rest == 0 && number == 0)) {
            return !__builtin_mul_overflow(number, units[i].factor, value);
        }
    }
    return false;
}

static bool options_parse_choice(const char *text, size_t length, const char *values,
                                 uint64_t *value) {
    uint64_t index = 0;
    for (const char *at = values; *at != 0; index++) {
        size_t word = fmt_length_until(at, ' ');
        if (word == length && memcmp(at, text, length) == 0) {
            *value = index;
            return true;
        }
        at += word + (at[word] == ' ');
    }
    return false;
}

static bool options_is_in_range(const struct options_row *row, uint64_t value) {
    if (row->offset == offsetof(struct options, thread_cache)) {
        return value >= 64 * KIB && value <= 64 * MIB;
    }
    if (row->offset == offsetof(struct options, total_cache) ||
        row->offset == offsetof(struct options, reserve)) {
        return value >= MIB && value <= 64 * TIB;
    }
    return true;
}

static bool options_is_stats(const char *text, size_t length) {
    return (length == 3 && memcmp(text, "off", 3) == 0) ||
           (length == 4 && memcmp(text, "exit", 4) == 0) ||
           (length > 5 && memcmp(text, "exit:", 5) == 0);
}

static const char options_guard_tag[] = "tag:";
enum { OPTIONS_GUARD_TAG_LETTERS = sizeof options_guard_tag - 1 };

// "none", "all", "sample:N" or "tag:NAME".
static bool options_parse_guard(const char *text, size_t length, uint64_t *every) {
    static const char name[] = "sample:";
    size_t name_length = sizeof name - 1;
    const char *at = text + name_length;
    if (length == 3 && memcmp(text, "all", 3) == 0) {
        *every = OPTIONS_GUARD_ALL;
        return true;
    }
    if (length == 4 && memcmp(text, "none", 4) == 0) {
        *every = 0;
        return true;
    }
    if (length > OPTIONS_GUARD_TAG_LETTERS &&
        memcmp(text, options_guard_tag, OPTIONS_GUARD_TAG_LETTERS) == 0) {
        *every = OPTIONS_GUARD_TAG;
        return true;
    }
    return length > name_length && memcmp(text, name, name_length) == 0 &&
           fmt_parse_number(&at, every) && at == text + length && *every > 0 &&
           *every <= UINT32_MAX;
}

uint64_t options_guard_every(void) {
    uint64_t every = 0;
    options_parse_guard(options_state.guard, strlen(options_state.guard), &every);
    return every;
}

const char *options_guard_tags(void) {
    return options_state.guard + OPTIONS_GUARD_TAG_LETTERS;
}

static bool options_parse_text(const struct options_row *row, const char *text, size_t length) {
    bool is_guard = row->offset == offsetof(struct options, guard);
    uint64_t every;
    bool is_known = row->kind == OPTIONS_NAMES ? length > 0
                    : is_guard                 ? options_parse_guard(text, length, &every)
                                               : options_is_stats(text, length);
    if (!is_known || length >= OPTIONS_TEXT_BYTES) {
        return false;
    }
    memcpy(options_text(row), text, length);
    options_text(row)[length] = 0;
    return true;
}

// False: nothing has changed.
static bool options_assign(const struct options_row *row, const char *text, size_t length) {
    uint64_t value = 0;
    bool is_right = false;
    switch (row->kind) {
    case OPTIONS_BYTES:
        is_right = options_parse_unit(text, length, options_byte_units, 5, &value);
        break;
    case OPTIONS_TIME:
        is_right = options_parse_unit(text, length, options_time_units, 4, &value);
        if (length == 5 && memcmp(text, "never", 5) == 0) {
            value = OPTIONS_NEVER;
            is_right = true;
        }
        break;
    case OPTIONS_CHOICE: is_right = options_parse_choice(text, length, row->values, &value); break;
    case OPTIONS_TEXT:
    case OPTIONS_NAMES: return options_parse_text(row, text, length);
    }
    if (!is_right || !options_is_in_range(row, value)) {
        return false;
    }
    *options_number(row) = value;
    return true;
}

static void options_print(const struct options_row *row, struct fmt *fmt) {
    uint64_t value = row->kind >= OPTIONS_TEXT ? 0 : *options_number(row);
    unsigned unit = 3;
    const char *at = row->values;
    switch (row->kind) {
    case OPTIONS_BYTES: fmt_bytes(fmt, value); break;
    case OPTIONS_TIME:
        if (value == OPTIONS_NEVER) {
            fmt_text(fmt, "never");
            break;
        }
        while (value % options_time_units[unit].factor != 0 || (value == 0 && unit > 2)) {
            unit--;
        }
        fmt_number(fmt, value / options_time_units[unit].factor);
        fmt_text(fmt, options_time_units[unit].name);
        break;
    case OPTIONS_CHOICE:
        for (; value > 0; value--) {
            at += fmt_length_until(at, ' ') + 1;
        }
        fmt_span(fmt, at, fmt_length_until(at, ' '));
        break;
    case OPTIONS_TEXT:
    case OPTIONS_NAMES: fmt_text(fmt, options_text(row)); break;
    }
}

// ---- Names that are not known

// Edit distance (Levenshtein), one row at a time. Names are short.
static unsigned options_distance(const char *a, size_t a_length, const char *b) {
    unsigned row[OPTIONS_NAME_BYTES + 1];
    size_t b_length = strlen(b);
    for (unsigned j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < a_length; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < b_length; j++) {
            unsigned change = corner + (a[i] != b[j]);
            corner = row[j + 1];
            unsigned less = row[j] < corner ? row[j] : corner;
            row[j + 1] = change < less + 1 ? change : less + 1;
        }
    }
    return row[b_length];
}

static const struct options_row *options_nearest(const char *name, size_t length) {
    const struct options_row *best = NULL;
    unsigned best_distance = OPTIONS_NEAR + 1;
    for (unsigned i = 0; i < OPTIONS_COUNT && length < OPTIONS_NAME_BYTES; i++) {
        unsigned distance = options_distance(name, length, options_table[i].name);
        if (distance < best_distance) {
            best_distance = distance;
            best = &options_table[i];
        }
    }
    return best;
}

static void options_add_variable(struct fmt *fmt, const char *name, size_t length) {
    fmt_text(fmt, "ALLOT_");
    for (size_t i = 0; i < length; i++) {
        char letter = name[i];
        letter = letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
        fmt_span(fmt, &letter, 1);
    }
}

static void options_note_unknown(const char *name, size_t length) {
    const struct options_row *near = options_nearest(name, length);
    fmt_text(&options_wrong, "allot: warning: unknown option ");
    options_add_variable(&options_wrong, name, length);
    if (near != NULL) {
        fmt_text(&options_wrong, " (did you mean ");
        options_add_variable(&options_wrong, near->name, strlen(near->name));
        fmt_text(&options_wrong, "?)");
    }
    fmt_text(&options_wrong, "\n");
}

static void options_note_value(const struct options_row *row, const char *text, size_t length) {
    fmt_text(&options_wrong, "allot: warning: ");
    options_add_variable(&options_wrong, row->name, strlen(row->name));
    fmt_text(&options_wrong, "=");
    fmt_span(&options_wrong, text, length);
    fmt_text(&options_wrong, " is not allowed (");
    fmt_text(&options_wrong, row->values);
    fmt_text(&options_wrong, "); using ");
    options_print(row, &options_wrong);
    fmt_text(&options_wrong, "\n");
}

static void options_take(const char *name, size_t name_length, const char *text, size_t length) {
    const struct options_row *row = options_find(name, name_length);
    if (row == NULL) {
        options_note_unknown(name, name_length);
    } else if (!options_assign(row, text, length)) {
        options_note_value(row, text, length);
    }
}

// ---- Sources

// "name=value,name=value"
static void options_take_list(const char *list) {
    while (*list != 0) {
        size_t length = fmt_length_until(list, ',');
        size_t name_length = fmt_length_until(list, '=');
        if (name_length < length) {
            options_take(list, name_length, list + name_length + 1, length - name_length - 1);
        } else {
            options_note_unknown(list, length);
        }
        list += length + (list[length] == ',');
    }
}

// ALLOT_NAME=value; variables of the test suite are not options.
static void options_take_variable(void *context, const char *variable) {
    (void)context;
    static const char tests[] = "TEST_";
    const char *name = variable + strlen("ALLOT_");
    size_t length = fmt_length_until(name, '=');
    char lower[OPTIONS_NAME_BYTES];
    if (strncmp(name, tests, strlen(tests)) == 0 || name[length] == 0) {
        return;
    }
    if (length >= sizeof lower) {
        options_note_unknown(name, length);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        char letter = name[i];
        lower[i] = letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
    }
    options_take(lower, length, name + length + 1, strlen(name + length + 1));
}

// Hands the values that may change while running to the layers that use them.
static void options_apply(void) {
    uint64_t delay_ns = options_state.purge_delay;
    uint64_t delay_ms = delay_ns == OPTIONS_NEVER ? PAGEHEAP_NEVER : delay_ns / 1000000;
    pageheap_set_policy(delay_ms, options_state.dirty_limit);
    registry_set_limits(options_state.thread_cache, options_state.total_cache);
    background_set_period(delay_ms == PAGEHEAP_NEVER ? 1000 : delay_ms / 2 + 1);
}

static void options_read_all(void) {
    for (unsigned i = 0; i < OPTIONS_COUNT; i++) {
        const char *text = options_table[i].default_text;
        bool is_right = options_assign(&options_table[i], text, strlen(text));
        ALLOT_ASSERT(is_right);
        (void)is_right;
    }
    if (&allot_defaults != NULL && allot_defaults != NULL) {
        options_take_list(allot_defaults);
    }
    os_environment_each("ALLOT_", options_take_variable, NULL);
    options_apply();
}

void options_init(void) {
    static struct lock lock;
    static bool is_done;
    lock_take(&lock);
    if (!is_done) {
        is_done = true;
        options_read_all();
    }
    lock_give(&lock);
}

void options_complain(void) {
    if (options_wrong.length > 0) {
        os_write(2, options_complaints, fmt_length(&options_wrong));
    }
    if (options_state.verbose == 0) {
        return;
    }
    char text[2048];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_text(&fmt, "allot: version ");
    fmt_text(&fmt, allot_version());
    fmt_text(&fmt, "\n");
    for (unsigned i = 0; i < OPTIONS_COUNT; i++) {
        fmt_text(&fmt, "allot: ");
        fmt_text(&fmt, options_table[i].name);
        fmt_text(&fmt, "=");
        options_print(&options_table[i], &fmt);
        fmt_text(&fmt, "\n");
    }
    os_write(2, text, fmt_length(&fmt));
}

// ---- The interface

const char *allot_version(void) {
    return CHECK_LINE(ALLOT_VERSION_MAJOR) "." CHECK_LINE(ALLOT_VERSION_MINOR) "." CHECK_LINE(
        ALLOT_VERSION_PATCH);
}

bool allot_set(const char *name, const char *value) {
    options_init();
    const struct options_row *row = options_find(name, strlen(name));
    int error = row == NULL ? ENOENT : !row->is_settable ? EPERM : 0;
    if (error == 0 && !options_assign(row, value, strlen(value))) {
        error = EINVAL;
    }
    if (error != 0) {
        errno = error;
        return false;
    }
    options_apply();
    return true;
}

int allot_get(const char *name, char *value, size_t value_bytes) {
    options_init();
    const struct options_row *row = options_find(name, strlen(name));
    if (row == NULL || value_bytes == 0) {
        errno = row == NULL ? ENOENT : EINVAL;
        return -1;
    }
    struct fmt fmt;
    fmt_init(&fmt, value, value_bytes);
    options_print(row, &fmt);
    return (int)fmt.length;
}
