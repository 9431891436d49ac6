// buffers.c - buffers from outside: arguments, the lock, errno, descriptors.  layer 7
#include "range/buffers.h"

#include "base/config.h"
#include "os/lock.h"
#include "range/buffer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BUFFERS_FIRST_BYTES (64 * KIB)
#define BUFFERS_ARRAY_MAX_BYTES (4 * MIB)
#define BUFFERS_IDLE_NS UINT64_C(1000000000)

// More is not copied after it was read: that would cost more than the system call.
#define BUFFERS_SETTLE_MAX_BYTES (16 * KIB)

// While a buffer's lock is held, memory may be allocated: no lock of the
// allocator's own is ever held here (doc/design.md, "Locks").
struct allot_buffer {
    struct buffer buffer;
    struct lock lock;
    bool is_shared;
};

// What data of a slice of no bytes points to.
static char buffers_nothing;

static void buffers_lock(allot_buffer *buffer) {
    if (buffer->is_shared) {
        lock_take(&buffer->lock);
    }
}

static void buffers_unlock(allot_buffer *buffer) {
    if (buffer->is_shared) {
        lock_give(&buffer->lock);
    }
}

static int buffers_result(int error) {
    if (LIKELY(error == 0)) {
        return 0;
    }
    errno = error;
    return -1;
}

bool buffers_is_slice(allot_buffer *buffer, struct allot_slice slice) {
    uint64_t offset;
    buffers_lock(buffer);
    bool is_slice = buffer_locate(&buffer->buffer, &offset, slice.data, slice.size_bytes);
    buffers_unlock(buffer);
    return is_slice;
}

// ---- Creation --------------------------------------------------------------------

static struct allot_buffer_options buffers_complete(const struct allot_buffer_options *given) {
    struct allot_buffer_options options = {0};
    if (given != NULL) {
        options = *given;
    }
    if (options.first_bytes == 0) {
        options.first_bytes = BUFFERS_FIRST_BYTES;
    }
    if (options.array_max_bytes == 0) {
        options.array_max_bytes = options.first_bytes > BUFFERS_ARRAY_MAX_BYTES
                                      ? options.first_bytes
                                      : BUFFERS_ARRAY_MAX_BYTES;
    }
    options.limit_bytes = options.limit_bytes == 0 ? SIZE_MAX : options.limit_bytes;
    options.idle_ns = options.idle_ns == 0 ? BUFFERS_IDLE_NS : options.idle_ns;
    return options;
}

allot_buffer *allot_buffer_create(const struct allot_buffer_options *options) {
    if (options != NULL && options->struct_size != sizeof(*options)) {
        errno = EINVAL;
        return NULL;
    }
    struct allot_buffer_options complete = buffers_complete(options);
    if (complete.first_bytes > complete.array_max_bytes ||
        complete.array_max_bytes > BUFFER_ARRAY_MAX_BYTES) {
        errno = EINVAL;
        return NULL;
    }
    allot_buffer *buffer = allot_calloc(1, sizeof(*buffer));
    if (buffer == NULL) {
        return NULL;
    }
    buffer->is_shared = complete.shared;
    int error = buffer_init(&buffer->buffer, &complete);
    if (error != 0) {
        allot_free(buffer);
        errno = error;
        return NULL;
    }
    return buffer;
}

void allot_buffer_destroy(allot_buffer *buffer) {
    if (buffer != NULL) {
        int saved = errno;
        buffer_fini(&buffer->buffer);
        allot_free(buffer);
        errno = saved;
    }
}

// ---- Slices -----------------------------------------------------------------------

struct allot_slice allot_buffer_malloc(allot_buffer *buffer, size_t size_bytes) {
    if (UNLIKELY(size_bytes == 0)) {
        return (struct allot_slice){&buffers_nothing, 0};
    }
    buffers_lock(buffer);
    void *data = buffer_take(&buffer->buffer, size_bytes);
    buffers_unlock(buffer);
    if (UNLIKELY(data == NULL)) {
        errno = ENOMEM;
        return (struct allot_slice){NULL, 0};
    }
    return (struct allot_slice){data, size_bytes};
}

struct allot_slice allot_buffer_malloc_some(allot_buffer *buffer, size_t min_bytes,
                                            size_t max_bytes) {
    struct allot_slice slice = {NULL, 0};
    if (min_bytes == 0 || min_bytes > max_bytes) {
        errno = EINVAL;
        return slice;
    }
    buffers_lock(buffer);
    slice.data = buffer_take_some(&buffer->buffer, &slice.size_bytes, min_bytes, max_bytes);
    buffers_unlock(buffer);
    if (slice.data == NULL) {
        slice.size_bytes = 0;
        errno = ENOMEM;
    }
    return slice;
}

int allot_buffer_free(allot_buffer *buffer, struct allot_slice slice) {
    buffers_lock(buffer);
    int error = buffer_give(&buffer->buffer, slice.data, slice.size_bytes);
    buffers_unlock(buffer);
    return buffers_result(error);
}

int allot_buffer_free_rest(allot_buffer *buffer, struct allot_slice *slice, size_t keep_bytes) {
    if (keep_bytes > slice->size_bytes) {
        errno = EINVAL;
        return -1;
    }
    struct allot_slice rest = {(char *)slice->data + keep_bytes, slice->size_bytes - keep_bytes};
    if (allot_buffer_free(buffer, rest) != 0) {
        return -1;
    }
    *slice = (struct allot_slice){keep_bytes > 0 ? slice->data : NULL, keep_bytes};
    return 0;
}

int allot_buffer_retain(allot_buffer *buffer, struct allot_slice slice) {
    buffers_lock(buffer);
    int error = buffer_retain(&buffer->buffer, slice.data, slice.size_bytes);
    buffers_unlock(buffer);
    return buffers_result(error);
}

struct allot_slice allot_buffer_borrow(allot_buffer *buffer, size_t size_bytes) {
    if (buffer->is_shared) {
        errno = EINVAL;
        return (struct allot_slice){NULL, 0};
    }
    if (size_bytes == 0) {
        return (struct allot_slice){&buffers_nothing, 0};
    }
    void *data = buffer_peek(&buffer->buffer, size_bytes);
    if (data == NULL) {
        errno = ENOMEM;
        return (struct allot_slice){NULL, 0};
    }
    return (struct allot_slice){data, size_bytes};
}

// How much comes is known afterwards, so room for all is needed for a moment. Were it left
// there, holes a little smaller than such room would be of no use, and become many.
ptrdiff_t allot_buffer_read(allot_buffer *buffer, struct allot_slice *slice, int fd,
                            size_t max_bytes) {
    *slice = (struct allot_slice){NULL, 0};
    if (max_bytes == 0) {
        errno = EINVAL;
        return -1;
    }
    struct allot_slice whole = allot_buffer_malloc(buffer, max_bytes);
    if (whole.data == NULL) {
        return -1;
    }
    ssize_t got;
    do {
        got = read(fd, whole.data, max_bytes);
    } while (got < 0 && errno == EINTR);
    int saved = errno;
    allot_buffer_free_rest(buffer, &whole, got > 0 ? (size_t)got : 0);
    if (got > 0 && (size_t)got <= BUFFERS_SETTLE_MAX_BYTES) {
        buffers_lock(buffer);
        whole.data = buffer_settle(&buffer->buffer, whole.data, (size_t)got, max_bytes);
        buffers_unlock(buffer);
    }
    errno = saved;
    *slice = whole;
    return got;
}

// ---- All of a buffer ----------------------------------------------------------------

int allot_buffer_recycle(allot_buffer *buffer) {
    buffers_lock(buffer);
    int error = buffer_recycle(&buffer->buffer);
    buffers_unlock(buffer);
    return buffers_result(error);
}

size_t allot_buffer_trim(allot_buffer *buffer) {
    buffers_lock(buffer);
    size_t returned = buffer_trim(&buffer->buffer);
    buffers_unlock(buffer);
    return returned;
}

void allot_buffer_walk(allot_buffer *buffer, allot_buffer_visit visit, void *context) {
    buffers_lock(buffer);
    buffer_walk(&buffer->buffer, visit, context);
    buffers_unlock(buffer);
}

bool allot_buffer_validate(allot_buffer *buffer) {
    buffers_lock(buffer);
    bool is_valid = buffer_validate(&buffer->buffer);
    buffers_unlock(buffer);
    return is_valid;
}

bool allot_buffer_get_stats(allot_buffer *buffer, struct allot_buffer_stats *stats) {
    if (stats->size_bytes != sizeof(*stats)) {
        errno = EINVAL;
        return false;
    }
    buffers_lock(buffer);
    buffer_read_stats(&buffer->buffer, stats);
    buffers_unlock(buffer);
    return true;
}
