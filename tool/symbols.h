// symbols.h - names and lines of places in files of machine code.
#ifndef TOOL_SYMBOLS_H
#define TOOL_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether this build can tell any.
bool symbols_are_known(void);

// "function (file:line)" or a part of it into `text`. False: nothing is known.
bool symbols_find(char *text, size_t text_bytes, const char *path, uint64_t offset);

#endif
