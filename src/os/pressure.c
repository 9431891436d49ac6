// pressure.c - what the kernel says of memory limits, in text.             layer 1
#include "os/pressure.h"

#include "base/fmt.h"
#include "os/os.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
    PRESSURE_TEXT_BYTES = 4096,
    PRESSURE_LINES_BYTES = 1 << 22,  // of a file that is read line by line, at most
    PRESSURE_FIELD_ROOT = 3,         // of mountinfo, from 0
    PRESSURE_FIELD_MOUNT = 4,
    PRESSURE_PERCENT = 100,
    PRESSURE_LOOK_MS = 1000,
    PRESSURE_REST_MS = 30000,  // where there is no limit: it may get one
    PRESSURE_NEAR_SHARE = 10,  // of the limit
};
// Version 1 says "no limit" with the largest multiple of a page.
#define PRESSURE_V1_UNLIMITED ((uint64_t)INT64_MAX - 65536)

// What reading takes: too much for the stack of any thread.
struct pressure_work {
    struct pressure_group group;
    char text[PRESSURE_TEXT_BYTES];
};

static struct {
    _Atomic(bool) is_looking;  // the thread that made it true may use the rest
    _Atomic(bool) is_near;
    _Atomic(uint64_t) next_ms;
    struct pressure_work work;  // keeps the group
} pressure_state;

// ---- Texts

static bool pressure_has_word(const char *text, size_t length, const char *word, char separator) {
    size_t word_length = strlen(word);
    for (size_t i = 0; i <= length;) {
        size_t part = 0;
        while (i + part < length && text[i + part] != separator) {
            part++;
        }
        if (part == word_length && memcmp(text + i, word, part) == 0) {
            return true;
        }
        i += part + 1;
    }
    return false;
}

// number:controller,controller:/path
void pressure_read_group(struct pressure_group *group, const char *line) {
    size_t number = fmt_length_until(line, ':');
    if (line[number] == 0) {
        return;
    }
    const char *controllers = line + number + 1;
    size_t length = fmt_length_until(controllers, ':');
    if (controllers[length] == 0) {
        return;
    }
    const char *path = controllers + length + 1;
    size_t path_length = fmt_length_until(path, '\n');
    bool is_v2 = number == 1 && line[0] == '0' && length == 0;
    bool is_v1 = !is_v2 && pressure_has_word(controllers, length, "memory", ',');
    if (path_length >= sizeof group->path || !(is_v1 || is_v2) ||
        (is_v2 && group->version == PRESSURE_V1)) {
        return;
    }
    group->version = is_v1 ? PRESSURE_V1 : PRESSURE_V2;
    memcpy(group->path, path, path_length);
    group->path[path_length] = 0;
}

// The n-th field, counted from 0; its length is 0 if there is none.
static const char *pressure_field(const char *line, unsigned n, size_t *length) {
    for (; n > 0 && *line != 0; n--) {
        line += fmt_length_until(line, ' ');
        line += *line == ' ';
    }
    *length = fmt_length_until(line, ' ');
    return line;
}

static bool pressure_is_mount_of(enum pressure_version version, const char *line) {
    const char *rest = strstr(line, " - ");
    if (rest == NULL) {
        return false;
    }
    size_t length;
    size_t options_length;
    rest += strlen(" - ");
    const char *type = pressure_field(rest, 0, &length);
    const char *options = pressure_field(rest, 2, &options_length);
    options_length = fmt_length_until(options, '\n');
    if (version == PRESSURE_V2) {
        return pressure_has_word(type, length, "cgroup2", ' ');
    }
    return pressure_has_word(type, length, "cgroup", ' ') &&
           pressure_has_word(options, options_length, "memory", ',');
}

// The path below what is mounted: a container sees a part of the hierarchy. A group
// outside of it is the mount itself, as well as can be known.
static const char *pressure_below(const char *path, const char *root, size_t root_length) {
    if (root_length == 1) {
        return path[1] != 0 ? path : "";
    }
    bool is_below = strncmp(path, root, root_length) == 0 &&
                    (path[root_length] == '/' || path[root_length] == 0);
    return is_below ? path + root_length : "";
}

void pressure_read_mount(struct pressure_group *group, const char *line) {
    if (group->version == PRESSURE_NONE || group->is_mounted ||
        !pressure_is_mount_of(group->version, line)) {
        return;
    }
    size_t root_length;
    size_t mount_length;
    const char *root = pressure_field(line, PRESSURE_FIELD_ROOT, &root_length);
    const char *mount = pressure_field(line, PRESSURE_FIELD_MOUNT, &mount_length);
    char path[PRESSURE_PATH_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, path, sizeof path);
    fmt_span(&fmt, mount, mount_length);
    fmt_text(&fmt, pressure_below(group->path, root, root_length));
    if (root_length > 0 && mount_length > 0 && fmt.length < sizeof path) {
        memcpy(group->path, path, sizeof path);
        group->is_mounted = true;
    }
}

bool pressure_read_bytes(uint64_t *bytes, const char *text) {
    const char *at = text;
    if (strncmp(text, "max", 3) == 0 && (text[3] == 0 || text[3] == '\n')) {
        *bytes = PRESSURE_UNLIMITED;
        return true;
    }
    uint64_t number;
    if (!fmt_parse_number(&at, &number) || (*at != 0 && *at != '\n')) {
        return false;
    }
    *bytes = number >= PRESSURE_V1_UNLIMITED ? PRESSURE_UNLIMITED : number;
    return true;
}

// 12.34 as 1234.
static bool pressure_read_percent(uint32_t *hundredths, const char *text) {
    uint64_t whole;
    const char *at = text;
    if (!fmt_parse_number(&at, &whole) || whole > PRESSURE_PERCENT || at[0] != '.' || at[1] < '0' ||
        at[1] > '9' || at[2] < '0' || at[2] > '9') {
        return false;
    }
    *hundredths = (uint32_t)whole * 100 + (uint32_t)(at[1] - '0') * 10 + (uint32_t)(at[2] - '0');
    return true;
}

static bool pressure_read_avg10(uint32_t *hundredths, const char *text, const char *line) {
    const char *at = strstr(text, line);
    return at != NULL && (at == text || at[-1] == '\n') &&
           pressure_read_percent(hundredths, at + strlen(line));
}

bool pressure_read_stall(uint32_t *some, uint32_t *full, const char *text) {
    uint32_t first;
    uint32_t second;
    if (!pressure_read_avg10(&first, text, "some avg10=") ||
        !pressure_read_avg10(&second, text, "full avg10=")) {
        return false;
    }
    *some = first;
    *full = second;
    return true;
}

uint64_t pressure_read_stat(const char *text, const char *word) {
    size_t length = strlen(word);
    while (*text != 0) {
        const char *at = text + length + 1;
        uint64_t number;
        if (strncmp(text, word, length) == 0 && text[length] == ' ' &&
            fmt_parse_number(&at, &number)) {
            return number;
        }
        text += fmt_length_until(text, '\n');
        text += *text == '\n';
    }
    return 0;
}

// ---- Files

// Hands over each line; one that is longer than the buffer is left out. 0 or an
// errno value.
static int pressure_each_line(struct pressure_work *work, const char *path,
                              void (*visit)(struct pressure_group *, const char *)) {
    char *text = work->text;
    bool is_cut = false;  // the rest of a line that was too long
    for (size_t offset = 0; offset < PRESSURE_LINES_BYTES;) {
        long got = os_read_file(path, text, sizeof work->text, offset);
        if (got <= 0) {
            return got < 0 && offset == 0 ? (int)-got : 0;
        }
        size_t used = 0;
        for (char *end = memchr(text, '\n', (size_t)got); end != NULL;
             end = memchr(text + used, '\n', (size_t)got - used)) {
            *end = 0;
            if (!is_cut) {
                visit(&work->group, text + used);
            }
            is_cut = false;
            used = (size_t)(end - text) + 1;
        }
        is_cut = is_cut || used == 0;
        offset += used > 0 ? used : (size_t)got;
    }
    return 0;
}

static bool pressure_read_in(struct pressure_work *work, const char *name) {
    char path[PRESSURE_PATH_BYTES + 64];
    struct fmt fmt;
    fmt_init(&fmt, path, sizeof path);
    fmt_text(&fmt, work->group.path);
    fmt_text(&fmt, "/");
    fmt_text(&fmt, name);
    return os_read_file(path, work->text, PRESSURE_TEXT_BYTES, 0) > 0;
}

static bool pressure_read_limit(struct pressure_work *work, uint64_t *bytes) {
    bool is_v2 = work->group.version == PRESSURE_V2;
    return pressure_read_in(work, is_v2 ? "memory.max" : "memory.limit_in_bytes") &&
           pressure_read_bytes(bytes, work->text);
}

static bool pressure_read_used(struct pressure_work *work, uint64_t *bytes) {
    bool is_v2 = work->group.version == PRESSURE_V2;
    return pressure_read_in(work, is_v2 ? "memory.current" : "memory.usage_in_bytes") &&
           pressure_read_bytes(bytes, work->text);
}

// 0 or an errno value; there may still be no group.
static int pressure_find(struct pressure_work *work) {
    memset(&work->group, 0, sizeof work->group);
    int error = pressure_each_line(work, "/proc/self/cgroup", pressure_read_group);
    return error != 0 ? error
                      : pressure_each_line(work, "/proc/self/mountinfo", pressure_read_mount);
}

int pressure_read(struct pressure *pressure) {
    struct pressure_work work;
    *pressure = (struct pressure){0};
    int error = pressure_find(&work);
    if (error != 0 || !work.group.is_mounted) {
        return error;
    }
    pressure->has_limit = pressure_read_limit(&work, &pressure->limit_bytes);
    pressure->has_used = pressure_read_used(&work, &pressure->used_bytes);
    pressure->has_stall =
        work.group.version == PRESSURE_V2 && pressure_read_in(&work, "memory.pressure") &&
        pressure_read_stall(&pressure->some_avg10, &pressure->full_avg10, work.text);
    return 0;
}

// ---- Near the limit

static bool pressure_has_group(struct pressure_work *work) {
    return work->group.is_mounted || (pressure_find(work) == 0 && work->group.is_mounted);
}

// How much of the group's memory is used; the limit, or PRESSURE_UNLIMITED.
static uint64_t pressure_look(struct pressure_work *work, uint64_t *limit) {
    uint64_t used = 0;
    *limit = PRESSURE_UNLIMITED;
    if (!pressure_has_group(work)) {
        return 0;
    }
    if (!pressure_read_limit(work, limit) || !pressure_read_used(work, &used)) {
        work->group.is_mounted = false;  // the process may be in another group
        *limit = PRESSURE_UNLIMITED;
    }
    return used;
}

static bool pressure_is_short(struct pressure_work *work, uint64_t limit, uint64_t used) {
    uint64_t share = limit / PRESSURE_NEAR_SHARE;
    if (limit == PRESSURE_UNLIMITED || used < limit - share) {
        return false;
    }
    uint64_t files = 0;
    if (pressure_read_in(work, "memory.stat")) {
        files = pressure_read_stat(work->text, "inactive_file") +
                pressure_read_stat(work->text, "active_file");
    }
    return used - (files < used ? files : used) >= limit - share;
}

bool pressure_is_near(void) {
    struct pressure_work *work = &pressure_state.work;
    uint64_t now_ms = os_now_ms();
    bool is_due = now_ms >= atomic_load_explicit(&pressure_state.next_ms, memory_order_relaxed);
    if (is_due &&
        !atomic_exchange_explicit(&pressure_state.is_looking, true, memory_order_acquire)) {
        uint64_t limit;
        uint64_t used = pressure_look(work, &limit);
        uint64_t pause_ms = limit != PRESSURE_UNLIMITED ? PRESSURE_LOOK_MS : PRESSURE_REST_MS;
        bool is_near = pressure_is_short(work, limit, used);
        atomic_store_explicit(&pressure_state.is_near, is_near, memory_order_relaxed);
        atomic_store_explicit(&pressure_state.next_ms, now_ms + pause_ms, memory_order_relaxed);
        atomic_store_explicit(&pressure_state.is_looking, false, memory_order_release);
    }
    return atomic_load_explicit(&pressure_state.is_near, memory_order_relaxed);
}

// A thread of the parent may have been looking; the child may get a group of its own.
void pressure_repair(void) {
    pressure_state.work.group.is_mounted = false;
    atomic_store_explicit(&pressure_state.is_looking, false, memory_order_relaxed);
}
