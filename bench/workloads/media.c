// media.c - what does a media server's traffic cost, in time and in memory held?
//
// Streams bring frames of 200 B to 100 KiB, 25 a second each; as many of each order of
// magnitude, and the same ones every two seconds in another order: the bitrate is
// constant, so that what varies is the allocator's. They come through a pipe, in
// portions of 500 B to 16 KiB, and are read into memory that was allocated for 16 KiB;
// what was not read to is given back at once. A portion may hold the end of one frame
// and the beginning of the next. A frame is kept for two seconds of simulated time and
// then freed in pieces.
//
// buffers=0: a portion is shrunk by realloc, and freed with the last of its frames.
// buffers=1: portions are adjacent bytes, and each frame frees its part of them.
// buffers=2: lists; a portion is read into what is free, be it in pieces.
//
// Not measured: other use of the memory than by the pipe. The time is mostly that of
// the pipe.
#include "buffers.h"

#include <math.h>

enum { BUFFERS, STREAMS, SECONDS };
static struct bench_param params[] = {
    [BUFFERS] = {"buffers", 0, "0: malloc and free, 1: slices, 2: lists of slices"},
    [STREAMS] = {"streams", 100, "streams"},
    [SECONDS] = {"seconds", 20, "simulated seconds"},
};

enum {
    READ_BYTES = 16384,
    FRAME_MIN_BYTES = 200,
    FRAME_MAX_BYTES = 102400,
    FRAME_PERIOD_MS = 40,
    KEEP_MS = 2000,
    WARM_MS = 6000,  // until what is held has become steady
    SAMPLE_MS = 20,
    PIECES_COUNT = 1 << 20,  // a ring: more than are alive
    FRAMES_COUNT = 1 << 16,
    SIZES_COUNT = KEEP_MS / FRAME_PERIOD_MS,
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
    allot_slices *list;                 // instead of pieces
    uint64_t free_at_ms;
};

struct stream {
    struct allot_slice rest;  // of the last portion: the beginning of the next frame
    struct portion *portion;
    allot_slices *list;  // instead of a rest
    uint32_t sizes[SIZES_COUNT];
    uint32_t size_idx;
};

static struct {
    allot_buffer *buffer;
    struct piece *pieces;
    struct portion *portions;
    struct frame *frames;
    struct stream *streams;
    uint64_t piece_end, portion_end, frame_first, frame_end;
    uint64_t live_bytes, read_count, state;
    int pipe[2];
} media;

static char sent[READ_BYTES];

static void check(bool is_right) {
    if (!is_right) {
        bench_die("a call of the buffer failed");
    }
}

static struct piece *piece_at(uint64_t number) {
    return &media.pieces[number % PIECES_COUNT];
}

static size_t draw_log(size_t from, size_t to) {
    double fraction = (double)bench_random_below(&media.state, 1 << 20) / (1 << 20);
    return (size_t)((double)from * pow((double)to / (double)from, fraction));
}

// All sizes once, then all of them again in another order.
static size_t draw_frame(struct stream *stream) {
    uint32_t at = stream->size_idx;
    size_t other = at + bench_random_below(&media.state, SIZES_COUNT - at);
    uint32_t size_bytes = stream->sizes[other];
    stream->sizes[other] = stream->sizes[at];
    stream->sizes[at] = size_bytes;
    stream->size_idx = (at + 1) % SIZES_COUNT;
    return size_bytes;
}

// ---- Reading -------------------------------------------------------------------

static struct allot_slice read_slice(void) {
    struct allot_slice slice;
    if (media.buffer != NULL) {
        check(buffers.read(media.buffer, &slice, media.pipe[0], READ_BYTES) > 0);
    } else {
        void *block = bench_check(malloc(READ_BYTES));
        ssize_t got = read(media.pipe[0], block, READ_BYTES);
        check(got > 0);
        slice = (struct allot_slice){bench_check(realloc(block, (size_t)got)), (size_t)got};
    }
    return slice;
}

static void read_portion(struct stream *stream) {
    size_t size_bytes = draw_log(500, READ_BYTES + 1);
    check(write(media.pipe[1], sent, size_bytes) == (ssize_t)size_bytes);
    media.live_bytes += size_bytes;
    media.read_count++;
    if (params[BUFFERS].value == 2) {
        check(buffers.list_read(stream->list, media.pipe[0], READ_BYTES) == (ptrdiff_t)size_bytes);
        return;
    }
    struct portion *portion = &media.portions[media.portion_end++ % PIECES_COUNT];
    stream->rest = read_slice();
    *portion = (struct portion){stream->rest.data, 0};
    stream->portion = portion;
}

static void receive_list(struct stream *stream, struct frame *frame, size_t size_bytes) {
    while (buffers.list_bytes(stream->list) < size_bytes) {
        read_portion(stream);
    }
    frame->list = bench_check(buffers.list_create(media.buffer));
    check(buffers.list_move(frame->list, stream->list, size_bytes) == 0);
}

static void receive_pieces(struct stream *stream, struct frame *frame, size_t left) {
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

static void receive_frame(struct stream *stream, uint64_t now_ms) {
    size_t size_bytes = draw_frame(stream);
    struct frame *frame = &media.frames[media.frame_end++ % FRAMES_COUNT];
    *frame = (struct frame){.first_piece = media.piece_end, .free_at_ms = now_ms + KEEP_MS};
    if (params[BUFFERS].value == 2) {
        receive_list(stream, frame, size_bytes);
    } else {
        receive_pieces(stream, frame, size_bytes);
    }
}

// ---- Freeing -------------------------------------------------------------------

static void free_piece(const struct piece *piece) {
    media.live_bytes -= piece->slice.size_bytes;
    if (media.buffer != NULL) {
        check(buffers.free(media.buffer, piece->slice) == 0);
    } else if (--piece->portion->frame_count == 0) {
        free(piece->portion->data);
    }
}

static void free_list(allot_slices *list) {
    size_t left = buffers.list_bytes(list);
    media.live_bytes -= left;
    while (left > 0) {
        size_t part = left < READ_BYTES ? left : 1 + bench_random_below(&media.state, READ_BYTES);
        check(buffers.list_consume(list, part) == 0);
        left -= part;
    }
    check(buffers.list_destroy(list) == 0);
}

static void free_frame(const struct frame *frame) {
    if (frame->list != NULL) {
        free_list(frame->list);
    }
    for (uint64_t i = frame->piece_count; i > 0; i--) {
        struct piece *other = piece_at(frame->first_piece + bench_random_below(&media.state, i));
        struct piece piece = *other;
        *other = *piece_at(frame->first_piece + i - 1);
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

// ---- Figures -------------------------------------------------------------------

struct extremes {
    double low, high;
};

static void extremes_add(struct extremes *extremes, double value) {
    extremes->low = extremes->low == 0 || value < extremes->low ? value : extremes->low;
    extremes->high = value > extremes->high ? value : extremes->high;
}

static struct extremes live, resident, held;

static void sample(uint64_t own_kib) {
    double live_kib = (double)media.live_bytes / 1024;
    double resident_kib = (double)(bench_status_kib("VmRSS:") - own_kib);
    double held_kib = media.buffer != NULL
                          ? (double)buffers_stats(media.buffer).reserved_bytes / 1024
                          : resident_kib;
    extremes_add(&live, live_kib);
    extremes_add(&resident, resident_kib);
    extremes_add(&held, held_kib / live_kib);
}

static void set_up(void) {
    if (params[BUFFERS].value != 0) {
        buffers_load();
        media.buffer = bench_check(buffers.create(NULL));
    }
    media.pieces = bench_map(PIECES_COUNT * sizeof *media.pieces);
    media.portions = bench_map(PIECES_COUNT * sizeof *media.portions);
    media.frames = bench_map(FRAMES_COUNT * sizeof *media.frames);
    media.streams = bench_map(params[STREAMS].value * sizeof *media.streams);
    memset(media.pieces, 0, PIECES_COUNT * sizeof *media.pieces);  // resident from the start
    memset(media.portions, 0, PIECES_COUNT * sizeof *media.portions);
    memset(media.frames, 0, FRAMES_COUNT * sizeof *media.frames);
    media.state = bench_seed(1);
    check(pipe(media.pipe) == 0);
    for (uint64_t i = 0; i < params[STREAMS].value; i++) {
        struct stream *stream = &media.streams[i];
        for (uint32_t at = 0; at < SIZES_COUNT; at++) {
            double step = (double)at / (SIZES_COUNT - 1);
            stream->sizes[at] =
                (uint32_t)(FRAME_MIN_BYTES * pow((double)FRAME_MAX_BYTES / FRAME_MIN_BYTES, step));
        }
        if (params[BUFFERS].value == 2) {
            stream->list = bench_check(buffers.list_create(media.buffer));
        }
    }
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    set_up();
    uint64_t own_kib = bench_status_kib("VmRSS:");
    uint64_t start_ns = bench_now_ns();
    for (uint64_t now_ms = 0; now_ms < params[SECONDS].value * 1000; now_ms++) {
        pass_ms(now_ms);
        if (now_ms >= WARM_MS && now_ms % SAMPLE_MS == 0) {
            sample(own_kib);
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
