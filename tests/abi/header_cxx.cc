// header_cxx.cc - allot.h compiles first, alone and twice as strict C++11.
#include <allot.h>
#include <allot.h>

static_assert(sizeof(struct allot_stats) % sizeof(uint64_t) == 0, "no padding at the end");
