// range.c - which numbers from 0 to a size are free.                       layer 6
#include "range/range.h"

#include "os/check.h"

#include <errno.h>

// ---- Nodes ---------------------------------------------------------------------

void range_init(struct range *range, uint64_t size, void *nodes, uint32_t node_count) {
    ALLOT_ASSERT(node_count >= RANGE_NODES_MIN);
    *range = (struct range){.size = size, .free_total = size, .free_count = size > 0};
    tree_pool_init(&range->pool, nodes, node_count);
    bool is_wide = size > TREE_NARROW_MAX;
    tree_init(&range->by_offset, &range->pool, is_wide);
    tree_init(&range->by_size, &range->pool, is_wide);
    if (size > 0) {
        tree_insert(&range->by_offset, &range->pool, (struct tree_pair){0, size});
        tree_insert(&range->by_size, &range->pool, (struct tree_pair){size, 0});
    }
}

void range_set_nodes(struct range *range, void *nodes, uint32_t node_count) {
    tree_pool_move(&range->pool, nodes, node_count);
}

// Whether a free range may become another one, in its place of by_offset. [N4]
static bool range_can_move(const struct range *range, struct tree_pair to) {
    return !range_is_tight(range) ||
           tree_nodes_for(&range->by_size, &range->pool, to) <= range->pool.free_count;
}

// Whether there may be one more. Some nodes are kept for those operations that make them
// fewer or other ones: free would fail otherwise where nothing more is recorded. [N4]
static bool range_can_add(const struct range *range, struct tree_pair by_offset) {
    struct tree_pair by_size = {by_offset.second, by_offset.first};
    return !range_is_tight(range) ||
           tree_nodes_for(&range->by_offset, &range->pool, by_offset) +
                   tree_nodes_for(&range->by_size, &range->pool, by_size) +
                   tree_nodes_most(&range->by_size) <=
               range->pool.free_count;
}

// The only free range, as in a range that is used like a stack: the first pair of a leaf in
// both orders, which can be changed without a search.
static ALWAYS_INLINE struct tree_pair range_only(const struct range *range) {
    const struct tree *tree = &range->by_offset;
    const uint64_t *words = tree_node(&range->pool, tree->root)->as.words;
    return tree_pair_of(tree_get(words, 0, tree->is_wide), tree->is_wide);
}

static ALWAYS_INLINE void range_set_only(struct range *range, struct tree_pair pair) {
    bool is_wide = range->by_offset.is_wide;
    struct tree_pair turned = {pair.second, pair.first};
    tree_put(tree_node(&range->pool, range->by_offset.root)->as.words, 0,
             tree_number(pair, is_wide), is_wide);
    tree_put(tree_node(&range->pool, range->by_size.root)->as.words, 0,
             tree_number(turned, is_wide), is_wide);
    range->free_total = pair.second;
}

// ---- Taking --------------------------------------------------------------------

static struct tree_pair range_turned(struct tree_pair pair) {
    COMPILER_APART(pair.first, pair.second);
    return (struct tree_pair){pair.second, pair.first};
}

// A free range in both orders.
struct range_place {
    struct tree_cursor by_offset, by_size;
};

// Takes [at, at + n) out of the free range at this place.
static int range_carve(struct range *range, const struct range_place *place, uint64_t at,
                       uint64_t n) {
    struct tree_pool *pool = &range->pool;
    struct tree_pair whole = tree_pair(&range->by_offset, pool, &place->by_offset);
    struct tree_pair front = {whole.first, at - whole.first};
    struct tree_pair back = {at + n, whole.second - front.second - n};
    struct tree_pair rest = front.second > 0 ? front : back;
    bool has_both = front.second > 0 && back.second > 0;
    if (rest.second == 0) {
        tree_remove_at(&range->by_offset, pool, &place->by_offset);
        tree_remove_at(&range->by_size, pool, &place->by_size);
    } else if (has_both ? range_is_tight(range) : !range_can_move(range, range_turned(rest))) {
        return ENOMEM;
    } else {
        tree_replace(&range->by_offset, pool, &place->by_offset, rest);
        tree_move_at(&range->by_size, pool, &place->by_size, range_turned(rest));
    }
    if (has_both) {
        tree_insert(&range->by_offset, pool, back);
        tree_insert(&range->by_size, pool, range_turned(back));
    }
    range->free_count += has_both;
    range->free_count -= rest.second == 0;
    range->free_total -= n;
    return 0;
}

int range_take(struct range *range, uint64_t *offset, uint64_t n, uint64_t align) {
    const struct tree_pool *pool = &range->pool;
    struct range_place place;
    struct tree_cursor *cursor = &place.by_size;
    if (n == 0) {
        return EINVAL;
    }
    if (range->free_count == 1) {
        struct tree_pair whole = range_only(range);
        if (LIKELY(n < whole.second && (whole.first & (align - 1)) == 0)) {
            range_set_only(range, (struct tree_pair){whole.first + n, whole.second - n});
            *offset = whole.first;
            return 0;
        }
    }
    bool has_before = tree_find_first(&range->by_size, pool, cursor, n - 1);
    if (range->free_count == 0 || (has_before && !tree_step(&range->by_size, pool, cursor))) {
        return ENOSPC;
    }
    struct tree_pair found = tree_pair(&range->by_size, pool, cursor);
    uint64_t front = -found.second & (align - 1);
    while (UNLIKELY(front > found.first - n)) {
        if (!tree_step(&range->by_size, pool, cursor)) {
            return ENOSPC;
        }
        found = tree_pair(&range->by_size, pool, cursor);
        front = -found.second & (align - 1);
    }
    tree_find_first(&range->by_offset, pool, &place.by_offset, found.second);
    int error = range_carve(range, &place, found.second + front, n);
    if (error == 0) {
        *offset = found.second + front;
    }
    return error;
}

int range_take_at(struct range *range, uint64_t offset, uint64_t n) {
    if (n == 0 || offset > range->size || n > range->size - offset) {
        return n == 0 ? EINVAL : ERANGE;
    }
    const struct tree_pool *pool = &range->pool;
    struct range_place place;
    if (!tree_find_first(&range->by_offset, pool, &place.by_offset, offset)) {
        return EEXIST;
    }
    struct tree_pair whole = tree_pair(&range->by_offset, pool, &place.by_offset);
    uint64_t front = offset - whole.first;
    if (front >= whole.second || n > whole.second - front) {
        return EEXIST;
    }
    tree_find(&range->by_size, pool, &place.by_size, range_turned(whole));
    return range_carve(range, &place, offset, n);
}

// ---- Giving --------------------------------------------------------------------

// The free ranges around what is given: `before` begins at or below it, `after`
// behind its begin. Size 0: there is none. The cursor is at `before`, else at `after`.
struct range_sides {
    struct tree_pair before, after;
    struct tree_cursor cursor;
    bool has_before;
};

static void range_find_sides(const struct range *range, struct range_sides *sides,
                             uint64_t offset) {
    const struct tree_pool *pool = &range->pool;
    const struct tree *tree = &range->by_offset;
    sides->before.first = sides->before.second = 0;
    sides->after.first = sides->after.second = 0;
    sides->has_before = tree_find_first(tree, pool, &sides->cursor, offset);
    if (sides->has_before) {
        sides->before = tree_pair(tree, pool, &sides->cursor);
        tree_peek(tree, pool, &sides->cursor, &sides->after);
    } else if (range->free_count > 0) {
        sides->after = tree_pair(tree, pool, &sides->cursor);
    }
}

// The free range at the cursor becomes wider by what is given.
static int range_widen(struct range *range, const struct tree_cursor *cursor, struct tree_pair from,
                       struct tree_pair to) {
    if (UNLIKELY(!range_can_move(range, range_turned(to)))) {
        return ENOMEM;
    }
    struct tree_cursor by_size;
    tree_replace(&range->by_offset, &range->pool, cursor, to);
    tree_find(&range->by_size, &range->pool, &by_size, range_turned(from));
    tree_move_at(&range->by_size, &range->pool, &by_size, range_turned(to));
    return 0;
}

static int range_join(struct range *range, struct range_sides *sides, uint64_t n) {
    struct tree_pair to = {sides->before.first, sides->before.second + n + sides->after.second};
    int error = range_widen(range, &sides->cursor, sides->before, to);
    if (error == 0) {
        struct tree_cursor by_size;
        tree_find(&range->by_size, &range->pool, &by_size, range_turned(sides->after));
        tree_remove_at(&range->by_size, &range->pool, &by_size);
        tree_step(&range->by_offset, &range->pool, &sides->cursor);
        tree_remove_at(&range->by_offset, &range->pool, &sides->cursor);
        range->free_count--;
    }
    return error;
}

static int range_add(struct range *range, struct range_sides *sides, struct tree_pair pair) {
    if (UNLIKELY(!range_can_add(range, pair))) {
        return ENOMEM;
    }
    tree_insert_at(&range->by_offset, &range->pool, &sides->cursor, sides->has_before, pair);
    tree_insert(&range->by_size, &range->pool, range_turned(pair));
    range->free_count++;
    return 0;
}

int range_give(struct range *range, uint64_t offset, uint64_t n) {
    if (UNLIKELY(n == 0 || offset > range->size || n > range->size - offset)) {
        return n == 0 ? EINVAL : ERANGE;
    }
    if (range->free_count == 1) {
        struct tree_pair whole = range_only(range);
        bool is_before = offset + n == whole.first;
        if (is_before || whole.first + whole.second == offset) {
            range_set_only(range,
                           (struct tree_pair){is_before ? offset : whole.first, whole.second + n});
            return 0;
        }
    }
    struct range_sides sides;
    range_find_sides(range, &sides, offset);
    uint64_t before_end = sides.before.first + sides.before.second;
    bool has_after = sides.after.second > 0;
    if (UNLIKELY(before_end > offset || (has_after && sides.after.first < offset + n))) {
        return before_end >= offset + n ? EALREADY : EEXIST;
    }
    bool joins_before = sides.before.second > 0 && before_end == offset;
    bool joins_after = has_after && sides.after.first == offset + n;
    int error = 0;
    if (joins_before && joins_after) {
        error = range_join(range, &sides, n);
    } else if (joins_before) {
        struct tree_pair to = {sides.before.first, sides.before.second + n};
        error = range_widen(range, &sides.cursor, sides.before, to);
    } else if (joins_after) {
        struct tree_pair to = {offset, n + sides.after.second};
        if (sides.has_before) {
            tree_step(&range->by_offset, &range->pool, &sides.cursor);
        }
        error = range_widen(range, &sides.cursor, sides.after, to);
    } else {
        error = range_add(range, &sides, (struct tree_pair){offset, n});
    }
    range->free_total += error == 0 ? n : 0;
    return error;
}

uint64_t range_nodes_to_resize(const struct range *range, uint64_t size) {
    bool stays = size <= TREE_NARROW_MAX || range->by_offset.is_wide;
    return stays ? 0 : 2 * tree_nodes_of_wide(range->free_count);
}

// Wide trees of the pairs in the narrow ones, which go.
static int range_make_wide(struct range *range) {
    struct tree by_offset, by_size;
    uint64_t from = 0, at = 0, n = 0;
    if (range->pool.free_count < 2) {
        return ENOMEM;
    }
    tree_init(&by_offset, &range->pool, true);
    tree_init(&by_size, &range->pool, true);
    int error = 0;
    while (error == 0 && range_next_free(range, from, &at, &n)) {
        error = range->pool.free_count < tree_nodes_most(&by_offset) + tree_nodes_most(&by_size)
                    ? ENOMEM
                    : 0;
        if (error == 0) {
            tree_insert(&by_offset, &range->pool, (struct tree_pair){at, n});
            tree_insert(&by_size, &range->pool, (struct tree_pair){n, at});
        }
        from = at + n;
    }
    struct tree *old_by_offset = error == 0 ? &range->by_offset : &by_offset;
    struct tree *old_by_size = error == 0 ? &range->by_size : &by_size;
    tree_fini(old_by_offset, &range->pool);
    tree_fini(old_by_size, &range->pool);
    if (error == 0) {
        range->by_offset = by_offset;
        range->by_size = by_size;
    }
    return error;
}

int range_resize(struct range *range, uint64_t size) {
    uint64_t old = range->size;
    if (size == UINT64_MAX) {
        return EINVAL;
    }
    if (size == old) {
        return 0;
    }
    if (size < old) {
        int error = range_take_at(range, size, old - size);
        range->size = error == 0 ? size : old;
        return error == EEXIST ? EBUSY : error;
    }
    if (size > TREE_NARROW_MAX && !range->by_offset.is_wide && range_make_wide(range) != 0) {
        return ENOMEM;
    }
    range->size = size;
    int error = range_give(range, old, size - old);
    range->size = error == 0 ? size : old;
    return error;
}

// ---- Looking -------------------------------------------------------------------

uint64_t range_largest(const struct range *range) {
    return range->free_count > 0 ? tree_last(&range->by_size, &range->pool).first : 0;
}

bool range_next_free(const struct range *range, uint64_t from, uint64_t *offset, uint64_t *n) {
    struct tree_cursor cursor;
    bool has_before =
        from > 0 && tree_find_first(&range->by_offset, &range->pool, &cursor, from - 1);
    if (from == 0) {
        tree_find_first(&range->by_offset, &range->pool, &cursor, 0);
    }
    if (range->free_count == 0 ||
        (has_before && !tree_step(&range->by_offset, &range->pool, &cursor))) {
        return false;
    }
    struct tree_pair found = tree_pair(&range->by_offset, &range->pool, &cursor);
    *offset = found.first;
    *n = found.second;
    return true;
}

bool range_is_used(const struct range *range, uint64_t offset, uint64_t n) {
    struct range_sides sides;
    range_find_sides(range, &sides, offset);
    return sides.before.first + sides.before.second <= offset &&
           (sides.after.second == 0 || sides.after.first >= offset + n);
}

// Whether each free range is right, and in by_size. [N1] [N2] [N3]
static bool range_are_pairs_right(const struct range *range) {
    struct tree_cursor cursor;
    uint64_t from = 0, at = 0, n = 0, total = 0, count = 0;
    while (range_next_free(range, from, &at, &n)) {
        struct tree_pair key = {n, at};
        bool is_found = tree_find(&range->by_size, &range->pool, &cursor, key);
        struct tree_pair found = tree_pair(&range->by_size, &range->pool, &cursor);
        if (!is_found || found.first != n || found.second != at || n == 0 || at >= range->size ||
            n > range->size - at || (count > 0 && at == from)) {
            return false;
        }
        total += n;
        count++;
        from = at + n;
    }
    return total == range->free_total && count == range->free_count;
}

bool range_validate(const struct range *range) {
    uint64_t by_offset = 0, by_size = 0;
    uint32_t offset_nodes = tree_validate(&range->by_offset, &range->pool, &by_offset);
    uint32_t size_nodes = tree_validate(&range->by_size, &range->pool, &by_size);
    return offset_nodes > 0 && size_nodes > 0 && by_offset == by_size &&
           by_offset == range->free_count &&
           tree_pool_validate(&range->pool, offset_nodes + size_nodes) &&
           range_are_pairs_right(range);
}
