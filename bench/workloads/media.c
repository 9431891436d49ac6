// media.c - what does a media server's traffic cost, in time and in memory held?
//
// Streams bring frames of 200 B to 100 KiB (as many of each order of magnitude), 25 a
// second each. Bytes are read in portions of up to 16 KiB, for which 16 KiB are
// allocated; the part that was not read to is given back at once. A portion may
// hold the end of one frame and the beginning of the next. A frame is kept for two
// seconds of simulated time and then freed portion by portion, in random order.
//
// With malloc a portion is shrunk by realloc, and freed with the last of its frames;
// with a buffer each frame frees its own part of it.
//
// Not measured: reading itself, copying, and other use of the memory.
#include "buffers.h"

#include <math.h>

enum { BUFFERS, STREAMS, SECONDS };
static struct bench_param params[] = {
    [BUFFERS] = {"buffers", 0, "1: a buffer, 0: malloc and free"},
    [STREAMS] = {"streams", 100, "streams"},
    [SECONDS] = {"seconds", 20, "simulated seconds, of which the first four warm up"},
};

enum {
    READ_BYTES = 16384,
    FRAME_MIN_BYTES = 200,
    FRAME_MAX_BYTES = 102400,
    FRAME_PERIOD_MS = 40,
    KEEP_MS = 2000,
    WARM_MS = 4000,
    SAMPLE_MS = 20,
    PIECES_COUNT = 1 << 20,  // a ring: more than are alive
    FRAMES_COUNT = 1 << 16,
};

struct portion {
    void *data;
    uint32_t frame_count;  // frames that still need it; malloc only
};

struct piece {
    struct allot_slice slice;
    struct portion *portion;
};

struct frame {
    uint64_t first_piece, piece_count;  // numbers in the ring
    uint64_t free_at_ms;
};

struct stream {
    struct allot_slice rest;  // of the last portion: the beginning of the next frame
    struct portion *portion;
};

static struct {
    allot_buffer *buffer;
    struct piece *pieces;
    struct portion *portions;
    struct frame *frames;
    struct stream *streams;
    uint64_t piece_end, portion_end, frame_first, frame_end;
    uint64_t live_bytes, read_count, state;
} media;

static struct piece *piece_at(uint64_t number) {
    return &media.pieces[number % PIECES_COUNT];
}

static size_t draw_log(size_t from, size_t to) {
    double fraction = (double)bench_random_below(&media.state, 1 << 20) / (1 << 20);
    return (size_t)((double)from * pow((double)to / (double)from, fraction));
}

static void read_portion(struct stream *stream) {
    size_t got = draw_log(500, READ_BYTES + 1);
    struct portion *portion = &media.portions[media.portion_end++ % PIECES_COUNT];
    struct allot_slice slice;
    if (media.buffer != NULL) {
        slice = buffers.malloc(media.buffer, READ_BYTES);
        if (slice.data == NULL || buffers.free_rest(media.buffer, &slice, got) != 0) {
            bench_die("the buffer refused");
        }
    } else {
        void *block = bench_check(malloc(READ_BYTES));
        slice = (struct allot_slice){bench_check(realloc(block, got)), got};
    }
    bench_touch(slice.data, got);
    *portion = (struct portion){slice.data, 0};
    stream->rest = slice;
    stream->portion = portion;
    media.live_bytes += got;
    media.read_count++;
}

static void receive_frame(struct stream *stream, uint64_t now_ms) {
    size_t left = draw_log(FRAME_MIN_BYTES, FRAME_MAX_BYTES + 1);
    struct frame *frame = &media.frames[media.frame_end++ % FRAMES_COUNT];
    *frame = (struct frame){media.piece_end, 0, now_ms + KEEP_MS};
    while (left > 0) {
        if (stream->rest.size_bytes == 0) {
            read_portion(stream);
        }
        size_t part = left < stream->rest.size_bytes ? left : stream->rest.size_bytes;
        *piece_at(media.piece_end++) = (struct piece){{stream->rest.data, part}, stream->portion};
        stream->portion->frame_count++;
        stream->rest.data = (char *)stream->rest.data + part;
        stream->rest.size_bytes -= part;
        left -= part;
        frame->piece_count++;
    }
}

static void free_piece(const struct piece *piece) {
    media.live_bytes -= piece->slice.size_bytes;
    if (media.buffer != NULL) {
        if (buffers.free(media.buffer, piece->slice) != 0) {
            bench_die("a slice was refused");
        }
        return;
    }
    // The last frame of a portion ends where the stream has read on.
    if (--piece->portion->frame_count == 0) {
        free(piece->portion->data);
    }
}

static void free_frame(const struct frame *frame) {
    for (uint64_t i = frame->piece_count; i > 0; i--) {
        uint64_t other = frame->first_piece + bench_random_below(&media.state, i);
        struct piece piece = *piece_at(other);
        *piece_at(other) = *piece_at(frame->first_piece + i - 1);
        free_piece(&piece);
    }
}

static void pass_ms(uint64_t now_ms) {
    while (media.frame_first < media.frame_end &&
           media.frames[media.frame_first % FRAMES_COUNT].free_at_ms <= now_ms) {
        free_frame(&media.frames[media.frame_first++ % FRAMES_COUNT]);
    }
    for (uint64_t i = now_ms % FRAME_PERIOD_MS; i < params[STREAMS].value; i += FRAME_PERIOD_MS) {
        receive_frame(&media.streams[i], now_ms);
    }
}

struct extremes {
    double low, high;
};

static void extremes_add(struct extremes *extremes, double value) {
    extremes->low = extremes->low == 0 || value < extremes->low ? value : extremes->low;
    extremes->high = value > extremes->high ? value : extremes->high;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    if (params[BUFFERS].value != 0) {
        buffers_load();
        media.buffer = bench_check(buffers.create(NULL));
    }
    media.pieces = bench_map(PIECES_COUNT * sizeof *media.pieces);
    media.portions = bench_map(PIECES_COUNT * sizeof *media.portions);
    media.frames = bench_map(FRAMES_COUNT * sizeof *media.frames);
    media.streams = bench_map(params[STREAMS].value * sizeof *media.streams);
    memset(media.pieces, 1, PIECES_COUNT * sizeof *media.pieces);  // resident from the start
    memset(media.portions, 1, PIECES_COUNT * sizeof *media.portions);
    media.state = bench_seed(1);
    struct extremes held = {0}, resident = {0}, live = {0};
    uint64_t own_kib = bench_status_kib("VmRSS:");
    uint64_t start_ns = bench_now_ns();
    for (uint64_t now_ms = 0; now_ms < params[SECONDS].value * 1000; now_ms++) {
        pass_ms(now_ms);
        if (now_ms >= WARM_MS && now_ms % SAMPLE_MS == 0) {
            double resident_kib = (double)(bench_status_kib("VmRSS:") - own_kib);
            double live_kib = (double)media.live_bytes / 1024;
            double held_kib = media.buffer != NULL
                                  ? (double)buffers_stats(media.buffer).reserved_bytes / 1024
                                  : resident_kib;
            extremes_add(&live, live_kib);
            extremes_add(&resident, resident_kib);
            extremes_add(&held, held_kib / live_kib);
        }
    }
    double duration_ns = (double)(bench_now_ns() - start_ns);
    bench_print("ops", (double)media.read_count);
    bench_print("ns_per_read", duration_ns / (double)media.read_count);
    bench_print("live_mib", live.high / 1024);
    bench_print("live_swing_percent", 100 * (live.high / live.low - 1));
    bench_print("held_to_live_most", held.high);
    bench_print("held_to_live_least", held.low);
    bench_print("resident_mib", resident.high / 1024);
    bench_print("resident_swing_percent", 100 * (resident.high / resident.low - 1));
    return 0;
}
