// header.c - allot.h compiles first, alone and twice as strict C99.
#include <allot.h>
#include <allot.h>

size_t header_stats_size(void);

size_t header_stats_size(void) {
    return sizeof(struct allot_stats);
}
