// image.c - see image.h. Nothing in the file is trusted: each offset is checked
// against the length of the mapping.

#include "image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_NATIVE_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#define IMAGE_NATIVE_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

struct bytes {
    const unsigned char *start;
    size_t length_bytes;
};

// The `length_bytes` at `offset`, or NULL where the file is too short or the
// offset, as no linker makes it, is not a multiple of `align_bytes`.
static const void *image_at(struct bytes file, uint64_t offset, uint64_t length_bytes,
                            size_t align_bytes) {
    if (offset > file.length_bytes || length_bytes > file.length_bytes - offset ||
        offset % align_bytes != 0) {
        return NULL;
    }
    return file.start + offset;
}

// The text at `offset` of a string table, "" where it does not end inside.
static const char *image_string(struct bytes file, const ElfW(Shdr) *table, uint64_t offset) {
    const char *text;

    if (offset >= table->sh_size) {
        return "";
    }
    text = image_at(file, table->sh_offset, table->sh_size, 1);
    if (text == NULL || memchr(text + offset, '\0', table->sh_size - offset) == NULL) {
        return "";
    }
    return text + offset;
}

static enum libc_kind image_libc_of_name(const char *name) {
    if (strstr(name, "ld-musl") != NULL || strncmp(name, "libc.musl", 9) == 0) {
        return LIBC_MUSL;
    }
    if (strstr(name, "ld-linux") != NULL || strstr(name, "/ld64.so") != NULL ||
        strncmp(name, "libc.so.6", 9) == 0) {
        return LIBC_GLIBC;
    }
    return LIBC_UNKNOWN;
}

static void image_read_loader(struct image *image, struct bytes file, const ElfW(Ehdr) *header) {
    for (unsigned i = 0; i < header->e_phnum; i++) {
        const ElfW(Phdr) *segment =
            image_at(file, header->e_phoff + (uint64_t)i * header->e_phentsize, sizeof(ElfW(Phdr)),
                     _Alignof(ElfW(Phdr)));

        if (segment != NULL && segment->p_type == PT_INTERP) {
            const char *path = image_at(file, segment->p_offset, segment->p_filesz, 1);

            image->has_loader = true;
            if (path != NULL) {
                size_t length = strnlen(path, segment->p_filesz);

                length = length < sizeof image->loader ? length : sizeof image->loader - 1;
                memcpy(image->loader, path, length);
                image->libc = image_libc_of_name(image->loader);
            }
        }
    }
}

static void image_read_symbols(struct image *image, struct bytes file, const ElfW(Shdr) *section,
                               const ElfW(Shdr) *names) {
    const ElfW(Sym) *symbols =
        image_at(file, section->sh_offset, section->sh_size, _Alignof(ElfW(Sym)));
    size_t count = symbols == NULL ? 0 : section->sh_size / sizeof *symbols;

    for (size_t i = 0; i < count; i++) {
        if (symbols[i].st_shndx != SHN_UNDEF &&
            strcmp(image_string(file, names, symbols[i].st_name), "malloc") == 0) {
            image->has_malloc = true;
        }
    }
}

static void image_read_needed(struct image *image, struct bytes file, const ElfW(Shdr) *section,
                              const ElfW(Shdr) *names) {
    const ElfW(Dyn) *entries =
        image_at(file, section->sh_offset, section->sh_size, _Alignof(ElfW(Dyn)));
    size_t count = entries == NULL ? 0 : section->sh_size / sizeof *entries;

    for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
        const char *name = image_string(file, names, entries[i].d_un.d_val);

        if (entries[i].d_tag == DT_FLAGS_1 && (entries[i].d_un.d_val & DF_1_PIE) != 0) {
            image->is_library = false;
        }
        if (entries[i].d_tag == DT_NEEDED && image->libc == LIBC_UNKNOWN) {
            image->libc = image_libc_of_name(name);
        } else if (entries[i].d_tag == DT_SONAME) {
            image->is_loader = strncmp(name, "ld-", 3) == 0 || strncmp(name, "ld64", 4) == 0;
        }
    }
}

static void image_read_sections(struct image *image, struct bytes file, const ElfW(Ehdr) *header) {
    const ElfW(Shdr) *sections = image_at(
        file, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections, _Alignof(ElfW(Shdr)));

    if (sections == NULL || header->e_shentsize != sizeof *sections) {
        return;
    }
    for (unsigned i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_link >= header->e_shnum) {
            continue;
        }
        if (sections[i].sh_type == SHT_DYNSYM) {
            image_read_symbols(image, file, &sections[i], &sections[sections[i].sh_link]);
        } else if (sections[i].sh_type == SHT_DYNAMIC) {
            image_read_needed(image, file, &sections[i], &sections[sections[i].sh_link]);
        }
    }
}

static void image_parse(struct image *image, struct bytes file) {
    const ElfW(Ehdr) *header = image_at(file, 0, EI_NIDENT + 4, 1);
    const unsigned char *ident = file.start;

    if (header == NULL || memcmp(ident, ELFMAG, SELFMAG) != 0) {
        return;
    }
    image->is_elf = true;
    image->class_bits = ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
    image->machine = header->e_machine;
    if (ident[EI_DATA] != IMAGE_NATIVE_DATA) {
        image->machine = __builtin_bswap16(image->machine);
    }
    image->is_native = ident[EI_CLASS] == IMAGE_NATIVE_CLASS &&
                       ident[EI_DATA] == IMAGE_NATIVE_DATA &&
                       image_at(file, 0, sizeof *header, 1) != NULL;
    if (image->is_native) {
        image->is_library = header->e_type == ET_DYN;
        image_read_loader(image, file, header);
        image_read_sections(image, file, header);
    }
}

int image_read(struct image *image, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    struct bytes file;
    void *map;

    memset(image, 0, sizeof *image);
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &status) != 0 || status.st_size == 0) {
        close(fd);
        return 0;
    }
    map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return errno;
    }
    file = (struct bytes){map, (size_t)status.st_size};
    image_parse(image, file);
    munmap(map, file.length_bytes);
    return 0;
}

const char *image_machine_name(const struct image *image) {
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {
        {EM_X86_64, "x86-64"},  {EM_386, "32-bit x86"}, {EM_AARCH64, "AArch64"},
        {EM_ARM, "32-bit ARM"}, {EM_RISCV, "RISC-V"},   {EM_PPC64, "POWER"},
        {EM_S390, "S/390"},
    };
    static char other[32];

    if (image->machine == EM_X86_64 && image->class_bits == 32) {
        return "x32";
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].machine == image->machine) {
            return names[i].name;
        }
    }
    snprintf(other, sizeof other, "machine %u", image->machine);
    return other;
}
