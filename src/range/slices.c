// slices.c - lists of slices, as writev takes them.                        layer 7
//
//   items   |        | consumed, not free | debt: slice | slice | ...    |
//           0        '- first             '- head              count    capacity
//
// What lies before `head`, and `debt_bytes` before what is left of the slice
// there, is consumed. It becomes free at once, unless there is no memory to note
// that: then it is kept, and tried again at the next call.
#include "allot.h"
#include "range/buffers.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>

enum { SLICES_ITEMS_FIRST = 16, SLICES_READ_PARTS = 16, SLICES_PART_MIN_BYTES = 4096 };

// More than fits into the result of a system call is refused by it.
enum { SLICES_WRITE_ITEMS = IOV_MAX };

struct allot_slices {
    allot_buffer *buffer;
    struct iovec *items;
    size_t first, head, count, capacity;  // indices of items
    size_t debt_bytes;
    size_t left_bytes;  // from head on
};

static struct allot_slice slices_slice(const struct iovec *item) {
    return (struct allot_slice){item->iov_base, item->iov_len};
}

// Frees bytes. False: there is no memory for that. What is not in use (EINVAL)
// was freed by somebody else and is passed over.
static bool slices_free(allot_slices *list, char *data, size_t n, int *error) {
    if (allot_buffer_free(list->buffer, (struct allot_slice){data, n}) == 0) {
        return true;
    }
    *error = errno;
    return errno != ENOMEM;
}

// Frees what is consumed. Returns 0, or EINVAL if some of it was not in use.
static int slices_settle(allot_slices *list) {
    int error = 0;
    int last = 0;
    while (list->first < list->head) {
        const struct iovec *item = &list->items[list->first];
        if (!slices_free(list, item->iov_base, item->iov_len, &last)) {
            return error;
        }
        error = last != 0 ? last : error;
        list->first++;
    }
    if (list->debt_bytes > 0) {
        char *data = list->items[list->head].iov_base;
        if (slices_free(list, data - list->debt_bytes, list->debt_bytes, &last)) {
            list->debt_bytes = 0;
            error = last != 0 ? last : error;
        }
    }
    return error;
}

static bool slices_is_settled(const allot_slices *list) {
    return list->first == list->head && list->debt_bytes == 0;
}

// Moves bytes from the front of the list to what is consumed.
static void slices_advance(allot_slices *list, size_t n) {
    list->left_bytes -= n;
    while (n > 0) {
        struct iovec *item = &list->items[list->head];
        size_t part = n < item->iov_len ? n : item->iov_len;
        item->iov_base = (char *)item->iov_base + part;
        item->iov_len -= part;
        list->debt_bytes += part;
        n -= part;
        if (item->iov_len == 0) {
            item->iov_base = (char *)item->iov_base - list->debt_bytes;
            item->iov_len = list->debt_bytes;
            list->debt_bytes = 0;
            list->head++;
        }
    }
}

// Room for more items. False: there is no memory.
static bool slices_reserve(allot_slices *list, size_t more) {
    size_t wanted = list->count - list->first + more;
    if (list->count + more <= list->capacity) {
        return true;
    }
    if (wanted > list->capacity / 2) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : SLICES_ITEMS_FIRST;
        capacity = capacity < wanted ? wanted : capacity;
        struct iovec *items = allot_realloc(list->items, capacity * sizeof(*items));
        if (items == NULL) {
            return false;
        }
        list->items = items;
        list->capacity = capacity;
    }
    memmove(list->items, list->items + list->first,
            (list->count - list->first) * sizeof(*list->items));
    list->count -= list->first;
    list->head -= list->first;
    list->first = 0;
    return true;
}

// Appends what there is room for.
static void slices_push(allot_slices *list, struct allot_slice slice) {
    list->left_bytes += slice.size_bytes;
    if (list->count > list->head) {
        struct iovec *last = &list->items[list->count - 1];
        struct allot_slice both = {last->iov_base, last->iov_len + slice.size_bytes};
        if ((char *)last->iov_base + last->iov_len == (char *)slice.data &&
            buffers_is_slice(list->buffer, both)) {
            last->iov_len = both.size_bytes;
            return;
        }
    }
    list->items[list->count++] = (struct iovec){slice.data, slice.size_bytes};
}

// ---- Reading -------------------------------------------------------------------

// Allocates up to max_bytes in parts, the smallest free ranges first that are worth
// it: what lies between slices is used before what could hold large ones. Returns
// how many parts; 0: there is no memory.
static int slices_take_parts(allot_slices *list, struct iovec *parts, size_t max_bytes) {
    int count = 0;
    while (max_bytes > 0 && count < SLICES_READ_PARTS) {
        bool is_last = count + 1 == SLICES_READ_PARTS;
        size_t least =
            is_last || max_bytes < SLICES_PART_MIN_BYTES ? max_bytes : SLICES_PART_MIN_BYTES;
        struct allot_slice part = allot_buffer_malloc_some(list->buffer, least, max_bytes);
        if (part.data == NULL) {
            break;
        }
        parts[count++] = (struct iovec){part.data, part.size_bytes};
        max_bytes -= part.size_bytes;
    }
    return count;
}

// Appends the first `got` bytes of the parts and frees the rest: the last part
// first, so that each free undoes an allocation and needs no memory.
static void slices_keep_parts(allot_slices *list, struct iovec *parts, int count, size_t got) {
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        at += parts[i].iov_len;
    }
    for (int i = count; i-- > 0;) {
        at -= parts[i].iov_len;
        size_t kept = got < at ? 0 : got - at;
        if (kept < parts[i].iov_len) {
            struct allot_slice part = slices_slice(&parts[i]);
            allot_buffer_free_rest(list->buffer, &part, kept);
            parts[i].iov_len = kept;
        }
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            slices_push(list, slices_slice(&parts[i]));
        }
    }
}

ptrdiff_t allot_slices_read(allot_slices *list, int fd, size_t max_bytes) {
    struct iovec parts[SLICES_READ_PARTS];
    if (max_bytes == 0) {
        errno = EINVAL;
        return -1;
    }
    if (!slices_reserve(list, SLICES_READ_PARTS)) {
        return -1;
    }
    int count = slices_take_parts(list, parts, max_bytes);
    if (count == 0) {
        return -1;
    }
    ssize_t got;
    do {
        got = readv(fd, parts, count);
    } while (got < 0 && errno == EINTR);
    int saved = errno;
    slices_keep_parts(list, parts, count, got > 0 ? (size_t)got : 0);
    errno = saved;
    return got;
}

// ---- The list ------------------------------------------------------------------

ptrdiff_t allot_slices_write(allot_slices *list, int fd) {
    size_t count;
    const struct iovec *items = allot_slices_iovec(list, &count);
    if (count == 0) {
        return 0;
    }
    ssize_t written;
    do {
        written = writev(fd, items, count < SLICES_WRITE_ITEMS ? (int)count : SLICES_WRITE_ITEMS);
    } while (written < 0 && errno == EINTR);
    if (written > 0) {
        int saved = errno;
        allot_slices_consume(list, (size_t)written);
        errno = saved;
    }
    return written;
}

allot_slices *allot_slices_create(allot_buffer *buffer) {
    allot_slices *list = allot_calloc(1, sizeof(*list));
    if (list != NULL) {
        list->buffer = buffer;
    }
    return list;
}

int allot_slices_destroy(allot_slices *list) {
    if (list == NULL) {
        return 0;
    }
    int saved = errno;
    slices_advance(list, list->left_bytes);
    slices_settle(list);
    if (!slices_is_settled(list)) {
        errno = ENOMEM;
        return -1;
    }
    allot_free(list->items);
    allot_free(list);
    errno = saved;
    return 0;
}

int allot_slices_append(allot_slices *list, struct allot_slice slice) {
    if (slice.size_bytes == 0) {
        return 0;
    }
    if (!slices_reserve(list, 1)) {
        return -1;
    }
    slices_push(list, slice);
    return 0;
}

size_t allot_slices_bytes(const allot_slices *list) {
    return list->left_bytes;
}

const struct iovec *allot_slices_iovec(const allot_slices *list, size_t *count) {
    *count = list->count - list->head;
    return list->items + list->head;
}

int allot_slices_consume(allot_slices *list, size_t size_bytes) {
    if (size_bytes > list->left_bytes) {
        errno = EINVAL;
        return -1;
    }
    slices_advance(list, size_bytes);
    int saved = errno;
    int error = slices_settle(list);
    errno = error != 0 ? error : saved;
    return error != 0 ? -1 : 0;
}

// How many items the first bytes of the list are in.
static size_t slices_count_items(const allot_slices *list, size_t size_bytes) {
    size_t count = 0;
    for (size_t sum = 0; sum < size_bytes; count++) {
        sum += list->items[list->head + count].iov_len;
    }
    return count;
}

int allot_slices_move(allot_slices *to, allot_slices *from, size_t size_bytes) {
    if (size_bytes > from->left_bytes || to->buffer != from->buffer || to == from) {
        errno = EINVAL;
        return -1;
    }
    slices_settle(from);
    if (!slices_is_settled(from) || !slices_reserve(to, slices_count_items(from, size_bytes))) {
        errno = ENOMEM;
        return -1;
    }
    from->left_bytes -= size_bytes;
    while (size_bytes > 0) {
        struct iovec *item = &from->items[from->head];
        size_t part = size_bytes < item->iov_len ? size_bytes : item->iov_len;
        slices_push(to, (struct allot_slice){item->iov_base, part});
        item->iov_base = (char *)item->iov_base + part;
        item->iov_len -= part;
        size_bytes -= part;
        from->head += item->iov_len == 0;
        from->first = from->head;
    }
    return 0;
}
