// image.h - what an ELF file says about itself.
#ifndef TOOL_IMAGE_H
#define TOOL_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

enum libc_kind { LIBC_UNKNOWN, LIBC_GLIBC, LIBC_MUSL };

struct image {
    bool is_elf;         // the fields below are 0 where it is not
    uint8_t class_bits;  // 32 or 64
    uint16_t machine;    // EM_...
    bool is_native;      // class and byte order are ours: only then is the rest filled
    bool is_library;     // what a loader takes into another program
    bool has_loader;     // PT_INTERP: a dynamic loader runs first
    bool is_loader;      // it is itself a dynamic loader
    bool has_malloc;     // exports a malloc of its own, which wins over a preloaded one
    enum libc_kind libc;
    char loader[128];  // the PT_INTERP path, cut if too long
};

// Returns 0 (also where the file is no ELF file), or an errno value.
int image_read(struct image *image, const char *path);

// "x86-64", "AArch64", or "machine 42".
const char *image_machine_name(const struct image *image);

#endif
