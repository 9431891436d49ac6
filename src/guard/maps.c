// maps.c - what lies at an address, from the kernel's list of mappings.     layer 7
#include "guard/maps.h"

#include "os/os.h"

#include <string.h>

enum { MAPS_LINE_BYTES = 512, MAPS_PART_BYTES = 1024 };

struct maps_reader {
    int fd;
    size_t at, length;
    char part[MAPS_PART_BYTES];
    char line[MAPS_LINE_BYTES];
};

// The next line, cut to the room for it.
static bool maps_next(struct maps_reader *reader) {
    size_t length = 0;
    for (;;) {
        if (reader->at == reader->length) {
            reader->at = 0;
            reader->length = os_read(reader->fd, reader->part, sizeof reader->part);
            if (reader->length == 0) {
                return false;
            }
        }
        char letter = reader->part[reader->at++];
        if (letter == '\n') {
            reader->line[length] = 0;
            return true;
        }
        if (length + 1 < sizeof reader->line) {
            reader->line[length++] = letter;
        }
    }
}

static uintptr_t maps_hex(const char **text) {
    uintptr_t value = 0;
    for (;; (*text)++) {
        char c = **text;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit == 16) {
            return value;
        }
        value = value << 4 | digit;
    }
}

// "low-high rwxp offset device inode      path"
static void maps_parse(struct maps_place *place, const char *line) {
    uintptr_t base = place->base;
    char before[MAPS_PATH_BYTES];
    memcpy(before, place->path, sizeof before);
    place->low = maps_hex(&line);
    line++;
    place->high = maps_hex(&line);
    place->is_readable = line[0] == ' ' && line[1] == 'r';
    place->is_executable = place->is_readable && line[3] == 'x';
    line += strlen(line) > 6 ? 6 : strlen(line);
    uintptr_t offset = maps_hex(&line);
    for (unsigned i = 0; i < 3; i++) {
        line += strcspn(line, " ");
        line += *line == ' ';
    }
    line += strspn(line, " ");
    size_t length = strlen(line);
    length = length < sizeof place->path ? length : sizeof place->path - 1;
    memcpy(place->path, line, length);
    place->path[length] = 0;
    // Parts of one file follow each other, the one with its first bytes first.
    bool is_file = place->path[0] == '/';
    bool goes_on = offset != 0 && base != 0 && strcmp(before, place->path) == 0;
    place->base = !is_file ? 0 : offset == 0 ? place->low : goes_on ? base : 0;
}

bool maps_find(struct maps_place *place, uintptr_t address) {
    struct maps_reader reader;
    reader.fd = os_open_read("/proc/self/maps");
    reader.at = reader.length = 0;
    place->base = 0;
    place->path[0] = 0;
    bool is_found = false;
    while (reader.fd >= 0 && !is_found && maps_next(&reader)) {
        maps_parse(place, reader.line);
        is_found = address >= place->low && address < place->high;
    }
    if (reader.fd >= 0) {
        os_close(reader.fd);
    }
    return is_found;
}
