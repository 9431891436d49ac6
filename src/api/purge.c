// purge.c - giving memory back on request.                                 layer 7
#include "allot.h"
#include "api/life.h"
#include "heap/heap.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "slab/holes.h"

size_t allot_purge(size_t target_bytes, uint64_t deadline_ns) {
    if (!life_is_ready()) {
        return 0;
    }
    uint64_t now = os_now_ns();
    uint64_t until = deadline_ns < UINT64_MAX - now ? now + deadline_ns : UINT64_MAX;
    registry_purge();
    heap_purge();
    size_t purged = pageheap_purge(target_bytes, until);
    return purged <= target_bytes ? purged + holes_purge(target_bytes - purged, until) : purged;
}
