// range_picture.c - a picture of a range over time, as SVG on standard output.
//
// From left to right: time. From top to bottom: the numbers of the range; dark is in use,
// light is free. It is filled, used for a while, then emptied piece by piece.
#include <allot.h>
#include <inttypes.h>
#include <stdio.h>

enum { SIZE = 1200, PIECES = 90, COLUMNS = 140, STEPS = 12, WIDTH = 5, HEIGHT = 300 };

struct piece {
    uint64_t offset, n;
};

static uint32_t random_state = 12345;

static uint32_t draw(uint32_t bound) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % bound;
}

static bool print_used(void *column, uint64_t offset, uint64_t n, bool is_free) {
    if (!is_free) {
        printf("M%d %" PRIu64 "v%" PRIu64, *(int *)column * WIDTH + 2, offset * HEIGHT / SIZE,
               n * HEIGHT / SIZE + 1);
    }
    return true;
}

// Full first, then half of them come and go, then none comes.
static void step(allot_range *range, struct piece *pieces, int column) {
    struct piece *piece = &pieces[draw(PIECES)];
    if (piece->n > 0 && (column > COLUMNS / 4 || draw(4) == 0)) {
        uint64_t half = piece->n > 8 && draw(2) == 0 ? piece->n / 2 : 0;
        allot_range_free(range, piece->offset + half, piece->n - half);
        piece->n = half;
    } else if (piece->n == 0 && column < COLUMNS * 3 / 4) {
        uint64_t n = 1 + draw(24);
        uint64_t offset = allot_range_alloc(range, n, 1);
        *piece = offset == ALLOT_RANGE_NONE ? (struct piece){0, 0} : (struct piece){offset, n};
    }
}

int main(void) {
    static struct piece pieces[PIECES];
    allot_range *range = allot_range_create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options), .size = SIZE});
    if (range == NULL) {
        return 1;
    }
    printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\">\n"
           "<title>A range over time: dark is in use, light is free</title>\n"
           "<rect width=\"100%%\" height=\"100%%\" fill=\"#e8eef4\"/>\n"
           "<path stroke=\"#28507a\" stroke-width=\"%d\" d=\"",
           COLUMNS * WIDTH, HEIGHT, COLUMNS * WIDTH, WIDTH);
    for (int column = 0; column < COLUMNS; column++) {
        for (int i = 0; i < STEPS; i++) {
            step(range, pieces, column);
        }
        allot_range_walk(range, print_used, &column);
        printf("\n");
    }
    printf("\"/>\n</svg>\n");
    allot_range_destroy(range);
    return 0;
}
