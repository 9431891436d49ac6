// memory.h - the resident memory of this process as the kernel counts it, read without allocating.
#ifndef TESTS_SUPPORT_MEMORY_H
#define TESTS_SUPPORT_MEMORY_H

#include "check.h"

#include <fcntl.h>

/// The number after `label` in a file of /proc, in bytes; 0 if there is none.
CHECK_UNUSED static uint64_t memory_read_kib(const char *path, const char *label) {
    char text[8192];
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return 0;
    }
    size_t length = 0;
    ssize_t count;
    while (length < sizeof(text) - 1 &&
           (count = read(descriptor, text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)count;
    }
    close(descriptor);
    text[length] = '\0';
    const char *found = strstr(text, label);
    return found ? strtoull(found + strlen(label), NULL, 10) * 1024 : 0;
}

/// Resident bytes. smaps_rollup walks the page tables and is exact; the counter in status may lag.
CHECK_UNUSED static uint64_t memory_resident_bytes(void) {
    uint64_t bytes = memory_read_kib("/proc/self/smaps_rollup", "\nRss:");
    return bytes ? bytes : memory_read_kib("/proc/self/status", "\nVmRSS:");
}

#endif
