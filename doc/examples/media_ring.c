// media_ring.c - one source, many subscribers, each byte in memory once.
//
// Frames come from a pipe into a buffer. A ring keeps the latest of them for those who join
// later. Each subscriber has a list of what it is still to be sent: it retains a frame and
// appends it, its socket takes as much as it can at a time, and what was sent is consumed.
// A frame's bytes are free once the ring and all subscribers have given it up, part by part
// and in whatever order that is. One subscriber reads nothing until the end.
#include <allot.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SUBSCRIBERS = 20, SLOW = 7, RING = 16, FRAMES = 300, FRAME_MAX = 4000, LATE = 5 };

static void expect(int is_right, const char *what) {
    if (!is_right) {
        fprintf(stderr, "media_ring: %s\n", what);
        exit(1);
    }
}

struct subscriber {
    allot_slices *list;
    int socket, far_end;
    uint64_t sum;  // of the bytes that arrived
};

static struct {
    allot_buffer *buffer;
    struct allot_slice ring[RING];
    unsigned frame_count;
    struct subscriber subscribers[SUBSCRIBERS];
    unsigned subscriber_count;
} hub;

static void enqueue(struct subscriber *subscriber, struct allot_slice frame) {
    expect(allot_buffer_retain(hub.buffer, frame) == 0, "a frame cannot be retained");
    expect(allot_slices_append(subscriber->list, frame) == 0, "a frame cannot be queued");
}

// Whoever joins gets what the ring has, the oldest first.
static void join(void) {
    struct subscriber *subscriber = &hub.subscribers[hub.subscriber_count++];
    int ends[2];
    expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "no sockets");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    subscriber->socket = ends[0];
    subscriber->far_end = ends[1];
    subscriber->list = allot_slices_create(hub.buffer);
    expect(subscriber->list != NULL, "no list");
    for (unsigned i = 0; i < RING; i++) {
        enqueue(subscriber, hub.ring[(hub.frame_count + i) % RING]);
    }
}

static void send_what_fits(struct subscriber *subscriber) {
    while (allot_slices_write(subscriber->list, subscriber->socket) > 0) {
    }
}

static void receive(struct subscriber *subscriber) {
    unsigned char bytes[4096];
    for (ssize_t n; (n = read(subscriber->far_end, bytes, sizeof bytes)) > 0;) {
        for (ssize_t i = 0; i < n; i++) {
            subscriber->sum += bytes[i];
        }
    }
}

// The newest frame replaces the oldest, whose reference the ring gives up.
static void publish(struct allot_slice frame) {
    struct allot_slice *place = &hub.ring[hub.frame_count++ % RING];
    expect(allot_buffer_free(hub.buffer, *place) == 0, "the ring lost a frame");
    *place = frame;
    for (unsigned i = 0; i < hub.subscriber_count; i++) {
        struct subscriber *subscriber = &hub.subscribers[i];
        enqueue(subscriber, frame);
        send_what_fits(subscriber);
        if (i != SLOW) {
            receive(subscriber);
        }
    }
}

// Returns the sum of the frame's bytes.
static uint64_t bring_frame(const int *pipe_ends) {
    static unsigned char bytes[FRAME_MAX];
    size_t size_bytes = 100 + (size_t)rand() % (FRAME_MAX - 100);
    uint64_t sum = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        sum += bytes[i] = (unsigned char)rand();
    }
    struct allot_slice frame;
    expect(write(pipe_ends[1], bytes, size_bytes) == (ssize_t)size_bytes, "the pipe is full");
    expect(allot_buffer_read(hub.buffer, &frame, pipe_ends[0], FRAME_MAX) == (ptrdiff_t)size_bytes,
           "a frame was cut");
    publish(frame);
    return sum;
}

// The slow one catches up; then all have had the same bytes.
static void finish(uint64_t sum) {
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        struct subscriber *subscriber = &hub.subscribers[i];
        while (allot_slices_bytes(subscriber->list) > 0) {
            receive(subscriber);
            send_what_fits(subscriber);
        }
        receive(subscriber);
        expect(subscriber->sum == sum, "a subscriber missed something");
        expect(allot_slices_destroy(subscriber->list) == 0, "a list is still there");
    }
    for (unsigned i = 0; i < RING; i++) {
        expect(allot_buffer_free(hub.buffer, hub.ring[i]) == 0, "the ring lost a frame");
    }
}

int main(void) {
    int pipe_ends[2];
    uint64_t sum = 0;
    hub.buffer = allot_buffer_create(NULL);
    expect(hub.buffer != NULL && pipe(pipe_ends) == 0, "cannot begin");
    while (hub.frame_count < FRAMES) {
        while (hub.frame_count >= LATE && hub.subscriber_count < SUBSCRIBERS) {
            join();  // all of them while the ring still has every frame
        }
        sum += bring_frame(pipe_ends);
    }
    struct allot_buffer_stats stats = {.size_bytes = sizeof stats};
    allot_buffer_get_stats(hub.buffer, &stats);
    printf("%llu bytes live for %d subscribers, %llu of them for the slow one\n",
           (unsigned long long)stats.live_bytes, SUBSCRIBERS,
           (unsigned long long)allot_slices_bytes(hub.subscribers[SLOW].list));
    finish(sum);
    allot_buffer_get_stats(hub.buffer, &stats);
    expect(stats.live_bytes == 0 && stats.range_count == stats.array_count, "bytes were lost");
    allot_buffer_destroy(hub.buffer);
    return 0;
}
