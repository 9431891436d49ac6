// buffers.h - what lists of slices ask of a buffer.                        layer 7
#ifndef ALLOT_RANGE_BUFFERS_H
#define ALLOT_RANGE_BUFFERS_H

#include "allot.h"

#include <stdbool.h>

// Whether the bytes lie in one array, so that they may be freed together.
bool buffers_is_slice(allot_buffer *buffer, struct allot_slice slice);

#endif
