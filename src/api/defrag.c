// defrag.c - which blocks to move.                                         layer 7
#include "allot.h"
#include "api/life.h"
#include "slab/sparse.h"

bool allot_defrag_hint(const void *ptr) {
    return life_is_ready() && sparse_is_worth_moving(ptr);
}
