// maps.h - what lies at an address, from the kernel's list of mappings.     layer 7
//
// Read from /proc/self/maps, a part at a time: nothing is allocated or locked, so
// that signal handlers may ask.
#ifndef ALLOT_GUARD_MAPS_H
#define ALLOT_GUARD_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAPS_PATH_BYTES = 256 };

struct maps_place {
    uintptr_t low, high;  // the mapping
    uintptr_t base;       // where its file begins in memory; 0: none does
    bool is_readable, is_executable;
    char path[MAPS_PATH_BYTES];  // as the kernel writes it, cut; "" without a name
};

// False: nothing is mapped there, or the list cannot be read.
bool maps_find(struct maps_place *place, uintptr_t address);

#endif
