// ranges_peers.h - other ways to hand out numbers, for comparison with allot_range_*.
//
// First fit: a list of free ranges in the order of addresses, the usual beginning.
// Segregated fit: bins of sizes, 16 to a doubling, and records of used and free
// pieces that know their neighbours. A piece comes back as a whole, through its
// record; it can be the wrong piece, twice, or a part of one, and nobody notices.
#ifndef BENCH_RANGES_PEERS_H
#define BENCH_RANGES_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define PEERS_NONE UINT64_MAX

// ---- First fit -----------------------------------------------------------------

struct first_node {
    uint64_t offset, size;
    struct first_node *next;
};

struct first_fit {
    struct first_node *free, *spare;
    uint64_t count;
};

static inline struct first_node *first_node_take(struct first_fit *fit) {
    struct first_node *node = fit->spare;
    if (node == NULL) {
        return malloc(sizeof(*node));
    }
    fit->spare = node->next;
    return node;
}

static inline void first_node_give(struct first_fit *fit, struct first_node *node) {
    node->next = fit->spare;
    fit->spare = node;
}

static inline uint64_t first_alloc(struct first_fit *fit, uint64_t n) {
    for (struct first_node **link = &fit->free; *link != NULL; link = &(*link)->next) {
        struct first_node *node = *link;
        if (node->size >= n) {
            uint64_t offset = node->offset;
            node->offset += n;
            node->size -= n;
            if (node->size == 0) {
                *link = node->next;
                first_node_give(fit, node);
                fit->count--;
            }
            return offset;
        }
    }
    return PEERS_NONE;
}

static inline void first_free(struct first_fit *fit, uint64_t offset, uint64_t n) {
    struct first_node *before = NULL, *after = fit->free;
    while (after != NULL && after->offset < offset) {
        before = after;
        after = after->next;
    }
    bool joins_after = after != NULL && offset + n == after->offset;
    if (before != NULL && before->offset + before->size == offset) {
        before->size += n;
        if (joins_after) {
            before->size += after->size;
            before->next = after->next;
            first_node_give(fit, after);
            fit->count--;
        }
    } else if (joins_after) {
        after->offset = offset;
        after->size += n;
    } else {
        struct first_node *node = first_node_take(fit);
        *node = (struct first_node){offset, n, after};
        *(before != NULL ? &before->next : &fit->free) = node;
        fit->count++;
    }
}

// ---- Segregated fit --------------------------------------------------------------

enum { BINS_SUB_LOG2 = 4, BINS_SUB = 1 << BINS_SUB_LOG2, BINS_LEVELS = 60 };

struct bins_piece {
    uint64_t offset, size;
    struct bins_piece *left, *right;  // neighbours by address
    struct bins_piece *prev, *next;   // in its bin, while free; next: among spare ones
    bool is_free;
};

struct bins_fit {
    uint64_t levels;
    uint32_t filled[BINS_LEVELS];
    struct bins_piece *bins[BINS_LEVELS][BINS_SUB];
    struct bins_piece *spare;
    uint64_t count, piece_count;
};

static inline unsigned bins_of(uint64_t size, unsigned *sub) {
    if (size < BINS_SUB) {
        *sub = (unsigned)size;
        return 0;
    }
    unsigned log2 = 63u - (unsigned)__builtin_clzll(size);
    *sub = (unsigned)(size >> (log2 - BINS_SUB_LOG2)) & (BINS_SUB - 1);
    return log2 - BINS_SUB_LOG2 + 1;
}

static inline void bins_link(struct bins_fit *fit, struct bins_piece *piece) {
    unsigned sub, level = bins_of(piece->size, &sub);
    piece->is_free = true;
    piece->prev = NULL;
    piece->next = fit->bins[level][sub];
    if (piece->next != NULL) {
        piece->next->prev = piece;
    }
    fit->bins[level][sub] = piece;
    fit->filled[level] |= 1u << sub;
    fit->levels |= (uint64_t)1 << level;
    fit->count++;
}

static inline void bins_unlink(struct bins_fit *fit, struct bins_piece *piece) {
    unsigned sub, level = bins_of(piece->size, &sub);
    if (piece->next != NULL) {
        piece->next->prev = piece->prev;
    }
    if (piece->prev != NULL) {
        piece->prev->next = piece->next;
    } else if ((fit->bins[level][sub] = piece->next) == NULL) {
        fit->filled[level] &= ~(1u << sub);
        fit->levels &= ~((uint64_t)(fit->filled[level] == 0) << level);
    }
    piece->is_free = false;
    fit->count--;
}

static inline struct bins_piece *bins_piece_take(struct bins_fit *fit) {
    struct bins_piece *piece = fit->spare;
    fit->piece_count++;
    if (piece == NULL) {
        return malloc(sizeof(*piece));
    }
    fit->spare = piece->next;
    return piece;
}

static inline void bins_piece_give(struct bins_fit *fit, struct bins_piece *piece) {
    piece->next = fit->spare;
    fit->spare = piece;
    fit->piece_count--;
}

// The first piece of the first bin in which all are large enough.
static inline struct bins_piece *bins_alloc(struct bins_fit *fit, uint64_t n) {
    unsigned log2 = 63u - (unsigned)__builtin_clzll(n | BINS_SUB);
    uint64_t up = n < BINS_SUB ? n : n + ((uint64_t)1 << (log2 - BINS_SUB_LOG2)) - 1;
    unsigned sub, level = bins_of(up, &sub);
    uint32_t subs = fit->filled[level] & (~0u << sub);
    if (subs == 0) {
        uint64_t levels = fit->levels & (~(uint64_t)1 << level);
        if (levels == 0) {
            return NULL;
        }
        level = (unsigned)__builtin_ctzll(levels);
        subs = fit->filled[level];
    }
    struct bins_piece *piece = fit->bins[level][__builtin_ctz(subs)];
    bins_unlink(fit, piece);
    if (piece->size > n) {
        struct bins_piece *rest = bins_piece_take(fit);
        *rest = (struct bins_piece){.offset = piece->offset + n,
                                    .size = piece->size - n,
                                    .left = piece,
                                    .right = piece->right};
        if (rest->right != NULL) {
            rest->right->left = rest;
        }
        piece->right = rest;
        piece->size = n;
        bins_link(fit, rest);
    }
    return piece;
}

static inline void bins_free(struct bins_fit *fit, struct bins_piece *piece) {
    struct bins_piece *left = piece->left, *right = piece->right;
    if (left != NULL && left->is_free) {
        bins_unlink(fit, left);
        left->size += piece->size;
        left->right = right;
        bins_piece_give(fit, piece);
        piece = left;
    }
    if (right != NULL && right->is_free) {
        bins_unlink(fit, right);
        piece->size += right->size;
        piece->right = right->right;
        bins_piece_give(fit, right);
    }
    if (piece->right != NULL) {
        piece->right->left = piece;
    }
    bins_link(fit, piece);
}

#endif
