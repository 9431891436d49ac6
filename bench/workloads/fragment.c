// fragment.c - how much memory do changing sizes strand?
//
// Eight phases with different mixes of sizes. In each, blocks of earlier phases,
// chosen at random, are replaced one by one by blocks of the phase's sizes
// until a tenth of the bytes is left of the old; that rest survives from phase
// to phase and holds its pages. The live bytes stay the same. After each phase
// resident over live is printed. Not measured: time (the question is memory);
// what an idle process gives back (giveback.c).
#include "bench.h"

enum { LIVE, PHASES };
static struct bench_param params[] = {
    [LIVE] = {"live", 100 << 20, "live bytes"},
    [PHASES] = {"phases", 8, "phases"},
};

static const struct {
    uint32_t from_bytes, to_bytes;
} mixes[] = {{16, 96},   {200, 600},    {32, 64},  {1000, 4000},
             {24, 4000}, {6000, 20000}, {64, 300}, {400, 1500}};

enum { MIX_COUNT = sizeof mixes / sizeof mixes[0], PIECES_MAX = 16 << 20 };

struct piece {
    char *block;
    size_t size_bytes;
};

// Pieces of earlier phases come first, then those of this one.
static struct piece *pieces;
static size_t old_count, piece_count, peak_count;
static uint64_t live_bytes;

static void fragment_fill(uint64_t phase, uint64_t *state) {
    size_t mix = phase % MIX_COUNT;
    uint64_t span_bytes = mixes[mix].to_bytes - mixes[mix].from_bytes + 1;
    while (live_bytes < params[LIVE].value) {
        size_t size_bytes = mixes[mix].from_bytes + bench_random_below(state, span_bytes);
        if (piece_count == PIECES_MAX) {
            bench_die("too many blocks");
        }
        pieces[piece_count++] = (struct piece){bench_malloc(size_bytes), size_bytes};
        live_bytes += size_bytes;
    }
    peak_count = piece_count > peak_count ? piece_count : peak_count;
}

static size_t fragment_remove_old(uint64_t *state) {
    size_t victim = bench_random_below(state, old_count);
    size_t size_bytes = pieces[victim].size_bytes;
    free(pieces[victim].block);
    pieces[victim] = pieces[--old_count];
    pieces[old_count] = pieces[--piece_count];
    live_bytes -= size_bytes;
    return size_bytes;
}

static void fragment_phase(uint64_t phase, uint64_t *state) {
    uint64_t old_bytes = live_bytes;
    old_count = piece_count;
    while (old_bytes > params[LIVE].value / 10) {
        old_bytes -= fragment_remove_old(state);
        fragment_fill(phase, state);
    }
    fragment_fill(phase, state);
}

// Resident less the table of pieces, which is not the allocator's.
static double fragment_ratio(void) {
    double resident = (double)bench_status_kib("VmRSS:") * 1024;
    return (resident - (double)(peak_count * sizeof *pieces)) / (double)live_bytes;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t state = bench_seed(9);
    double worst = 0, sum = 0, ratio = 0;
    pieces = bench_map((size_t)PIECES_MAX * sizeof *pieces);
    for (uint64_t phase = 0; phase < params[PHASES].value; phase++) {
        char key[32];
        fragment_phase(phase, &state);
        ratio = fragment_ratio();
        snprintf(key, sizeof key, "phase_%" PRIu64, phase + 1);
        bench_print(key, ratio);
        worst = ratio > worst ? ratio : worst;
        sum += ratio;
    }
    bench_print("worst_ratio", worst);
    bench_print("mean_ratio", sum / (double)params[PHASES].value);
    bench_print("last_ratio", ratio);
    return 0;
}
