// sizes.h - random sizes that cross every class boundary: half of them are one of a boundary's two
// sides, the rest spread evenly over the powers of two.
#ifndef TESTS_STRESS_SIZES_H
#define TESTS_STRESS_SIZES_H

#include "../support/api.h"
#include "../support/check.h"

/// A size from 0 to about 2^log2_max, small ones being as likely as large ones.
CHECK_UNUSED static size_t sizes_draw(struct check_random *random, unsigned log2_max) {
    unsigned log2 = (unsigned)check_random_below(random, log2_max + 1);
    size_t size = check_random_below(random, (size_t)1 << log2);
    uint64_t choice = check_random_below(random, 8);
    if (choice < 4) {
        size_t good = allot_good_size(size);
        size = good + choice - (good > 0);  // -1, 0, +1, +2
    }
    return size;
}

/// An alignment, mostly small.
CHECK_UNUSED static size_t sizes_draw_align(struct check_random *random) {
    unsigned log2_max = check_random_below(random, 8) ? 8 : 16;
    return (size_t)1 << check_random_below(random, log2_max + 1);
}

#endif
