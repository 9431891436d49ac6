// pressure.c - the memory limits of the process.                           layer 7
#include "os/pressure.h"

#include "allot.h"

#include <errno.h>

enum { PRESSURE_STRUCT_VERSION = 1 };
_Static_assert(PRESSURE_UNLIMITED == ALLOT_UNLIMITED, "the interface says the same");

bool allot_pressure(struct allot_pressure *pressure) {
    struct pressure found;
    if (pressure->size_bytes != sizeof *pressure) {
        errno = EINVAL;
        return false;
    }
    int error = pressure_read(&found);
    if (error != 0) {
        errno = error;
        return false;
    }
    pressure->version = PRESSURE_STRUCT_VERSION;
    pressure->unused = 0;
    pressure->limit_bytes = found.has_limit ? found.limit_bytes : ALLOT_NOT_AVAILABLE;
    pressure->used_bytes = found.has_used ? found.used_bytes : ALLOT_NOT_AVAILABLE;
    pressure->some_avg10 = found.has_stall ? found.some_avg10 : ALLOT_STALL_NOT_AVAILABLE;
    pressure->full_avg10 = found.has_stall ? found.full_avg10 : ALLOT_STALL_NOT_AVAILABLE;
    return true;
}
