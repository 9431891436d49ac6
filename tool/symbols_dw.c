// symbols_dw.c - names and lines by elfutils' libdw, which also finds separate
// debugging information by build-id.
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "symbols.h"

enum { SYMBOLS_FILES_MAX = 64 };

static const Dwfl_Callbacks symbols_callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

static struct symbols_file {
    char path[PATH_MAX];
    Dwfl *dwfl;
    Dwfl_Module *module;
    GElf_Addr bias;   // what libdw adds to addresses of the file
    GElf_Addr first;  // the address in the file of its first byte
} symbols_files[SYMBOLS_FILES_MAX];

static size_t symbols_file_count;

bool symbols_are_known(void) {
    return true;
}

// The address of offset 0, if the file can be loaded anywhere; else 0.
static GElf_Addr symbols_first(Elf *elf) {
    GElf_Ehdr head;
    size_t count = 0;

    if (gelf_getehdr(elf, &head) == NULL || head.e_type != ET_DYN ||
        elf_getphdrnum(elf, &count) != 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr part;

        if (gelf_getphdr(elf, (int)i, &part) != NULL && part.p_type == PT_LOAD &&
            part.p_offset == 0) {
            return part.p_vaddr;
        }
    }
    return 0;
}

static void symbols_open(struct symbols_file *file, const char *path) {
    Elf *elf;

    snprintf(file->path, sizeof file->path, "%s", path);
    file->dwfl = dwfl_begin(&symbols_callbacks);
    if (file->dwfl == NULL) {
        return;
    }
    dwfl_report_begin(file->dwfl);
    file->module = dwfl_report_offline(file->dwfl, path, path, -1);
    dwfl_report_end(file->dwfl, NULL, NULL);
    elf = file->module == NULL ? NULL : dwfl_module_getelf(file->module, &file->bias);
    if (elf == NULL) {
        file->module = NULL;
        return;
    }
    file->first = symbols_first(elf);
}

static struct symbols_file *symbols_of(const char *path) {
    for (size_t i = 0; i < symbols_file_count; i++) {
        if (strcmp(symbols_files[i].path, path) == 0) {
            return &symbols_files[i];
        }
    }
    if (symbols_file_count == SYMBOLS_FILES_MAX || path[0] != '/') {
        return NULL;
    }
    symbols_open(&symbols_files[symbols_file_count], path);
    return &symbols_files[symbols_file_count++];
}

bool symbols_find(char *text, size_t text_bytes, const char *path, uint64_t offset) {
    const struct symbols_file *file = symbols_of(path);
    const char *name, *source = NULL;
    Dwfl_Line *line;
    GElf_Addr address;
    int number = 0;

    if (file == NULL || file->module == NULL) {
        return false;
    }
    address = offset + file->first + file->bias;
    name = dwfl_module_addrname(file->module, address);
    line = dwfl_module_getsrc(file->module, address);
    if (line != NULL) {
        source = dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
    }
    if (name == NULL && source == NULL) {
        return false;
    }
    if (source == NULL) {
        snprintf(text, text_bytes, "%s", name);
    } else {
        snprintf(text, text_bytes, "%s (%s:%d)", name == NULL ? "?" : name, source, number);
    }
    return true;
}
