// test_slices.c - descriptors: reads into buffers, lists of slices, readv and writev.
#include "buffer.h"
#include "requests.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>

static unsigned char text[200000];

static void fill_text(void) {
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (unsigned char)(i * 31 + i / 256);
    }
}

static void make_pipe(int *ends) {
    fill_text();
    assert_int_equal(pipe(ends), 0);
}

static allot_slices *make_list(allot_buffer *buffer) {
    allot_slices *list = allot_slices_create(buffer);
    assert_non_null(list);
    return list;
}

// The list has these bytes of the text, from `at` on.
static void check_list(allot_slices *list, size_t at, size_t size_bytes) {
    size_t count;
    const struct iovec *items = allot_slices_iovec(list, &count);
    UNIT_CHECK(allot_slices_bytes(list), ==, size_bytes);
    for (size_t i = 0; i < count; i++) {
        UNIT_CHECK(items[i].iov_len, >, 0);
        assert_memory_equal(items[i].iov_base, text + at, items[i].iov_len);
        at += items[i].iov_len;
        size_bytes -= items[i].iov_len;
    }
    UNIT_CHECK(size_bytes, ==, 0);
}

static size_t item_count(const allot_slices *list) {
    size_t count;
    allot_slices_iovec(list, &count);
    return count;
}

// ---- Reading -------------------------------------------------------------------

static void a_read_keeps_what_came_and_frees_the_rest(void) {
    int ends[2];
    struct allot_slice slice;
    make_pipe(ends);
    allot_buffer *buffer = buffer_make(64 * KIB, 1 * MIB);
    UNIT_CHECK(write(ends[1], text, 300), ==, 300);
    UNIT_CHECK(allot_buffer_read(buffer, &slice, ends[0], 16 * KIB), ==, 300);
    UNIT_CHECK(slice.size_bytes, ==, 300);
    assert_memory_equal(slice.data, text, 300);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 300);
    UNIT_CHECK(buffer_stats(buffer).range_count, ==, 1);
    UNIT_CHECK(write(ends[1], text, 5000), ==, 5000);
    struct allot_slice second;
    UNIT_CHECK(allot_buffer_read(buffer, &second, ends[0], 4000), ==, 4000);
    assert_ptr_equal(second.data, (char *)slice.data + 300);
    buffer_free(buffer, slice);
    buffer_free(buffer, second);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void what_was_read_goes_to_the_smallest_hole_that_holds_it(void) {
    int ends[2];
    struct allot_slice slice;
    make_pipe(ends);
    allot_buffer *buffer = buffer_make(64 * KIB, 1 * MIB);
    struct allot_slice all = buffer_slice(buffer, 40 * KIB);
    buffer_free(buffer, buffer_part(all, 1 * KIB, 10 * KIB));
    buffer_free(buffer, buffer_part(all, 20 * KIB, 2 * KIB));
    buffer_free(buffer, buffer_part(all, 30 * KIB, 4 * KIB));
    UNIT_CHECK(write(ends[1], text, 3000), ==, 3000);
    UNIT_CHECK(allot_buffer_read(buffer, &slice, ends[0], 16 * KIB), ==, 3000);
    assert_ptr_equal(slice.data, (char *)all.data + 30 * KIB);
    assert_memory_equal(slice.data, text, 3000);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 24 * KIB + 3000);
    UNIT_CHECK(buffer_stats(buffer).largest_bytes, ==, 24 * KIB);
    buffer_free(buffer, slice);
    UNIT_CHECK(write(ends[1], text, 3000), ==, 3000);
    UNIT_CHECK(allot_buffer_read(buffer, &slice, ends[0], 3500), ==, 3000);
    assert_ptr_equal(slice.data, (char *)all.data + 30 * KIB);  // where it was read to
    assert_true(allot_buffer_validate(buffer));
    allot_buffer_destroy(buffer);
}

static void the_end_of_a_file_and_errors_leave_nothing_allocated(void) {
    int ends[2];
    struct allot_slice slice = {text, 1};
    make_pipe(ends);
    allot_buffer *buffer = buffer_make(64 * KIB, 1 * MIB);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(allot_buffer_read(buffer, &slice, ends[0], 100), -1);
    assert_int_equal(errno, EAGAIN);
    assert_null(slice.data);
    UNIT_CHECK(slice.size_bytes, ==, 0);
    close(ends[1]);
    errno = 0;
    assert_int_equal(allot_buffer_read(buffer, &slice, ends[0], 100), 0);
    assert_int_equal(errno, 0);
    assert_null(slice.data);
    close(ends[0]);
    assert_int_equal(allot_buffer_read(buffer, &slice, ends[0], 100), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(allot_buffer_read(buffer, &slice, ends[0], 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(allot_buffer_read(buffer, &slice, ends[0], SIZE_MAX), -1);
    assert_int_equal(errno, ENOMEM);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static volatile sig_atomic_t signal_count;
static int signal_fd;

static void on_alarm(int number) {
    (void)number;
    if (++signal_count == 3) {
        UNIT_CHECK(write(signal_fd, text, 10), ==, 10);
    } else {
        ualarm(2000, 0);
    }
}

// Two signals only interrupt, the third also writes.
static void a_read_that_signals_interrupt_is_repeated(void) {
    int ends[2];
    struct allot_slice slice;
    make_pipe(ends);
    signal_fd = ends[1];
    allot_buffer *buffer = buffer_make(64 * KIB, 1 * MIB);
    allot_slices *list = make_list(buffer);
    struct sigaction action = {.sa_handler = on_alarm};  // without SA_RESTART
    sigaction(SIGALRM, &action, NULL);
    ualarm(2000, 0);
    UNIT_CHECK(allot_buffer_read(buffer, &slice, ends[0], 100), ==, 10);
    UNIT_CHECK(signal_count, ==, 3);
    signal_count = 0;
    ualarm(2000, 0);
    UNIT_CHECK(allot_slices_read(list, ends[0], 100), ==, 10);
    UNIT_CHECK(signal_count, ==, 3);
    check_list(list, 0, 10);
    assert_int_equal(allot_slices_destroy(list), 0);
    buffer_free(buffer, slice);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

// ---- Lists ------------------------------------------------------------------------

static void a_list_frees_what_is_consumed(void) {
    fill_text();
    allot_buffer *buffer = buffer_make(1024, 4096);
    allot_slices *list = make_list(buffer);
    for (size_t i = 0; i < 30; i++) {
        struct allot_slice gap = buffer_slice(buffer, 1);
        struct allot_slice slice = buffer_slice(buffer, 100);
        memcpy(slice.data, text + i * 100, 100);
        assert_int_equal(allot_slices_append(list, slice), 0);
        buffer_free(buffer, gap);
    }
    check_list(list, 0, 3000);
    size_t at = 0;
    for (size_t n = 0; at + n <= 3000; n += 7) {
        assert_int_equal(allot_slices_consume(list, n), 0);
        at += n;
        check_list(list, at, 3000 - at);
        UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 3000 - at);
    }
    assert_int_equal(allot_slices_consume(list, 3001 - at), -1);
    assert_int_equal(errno, EINVAL);
    check_list(list, at, 3000 - at);
    assert_int_equal(allot_slices_destroy(list), 0);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void adjacent_slices_become_one_item_within_an_array(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    allot_slices *list = make_list(buffer);
    assert_int_equal(allot_slices_append(list, allot_buffer_malloc(buffer, 0)), 0);
    UNIT_CHECK(item_count(list), ==, 0);
    struct allot_slice all = buffer_slice(buffer, 1024);
    for (size_t at = 0; at < 1024; at += 64) {
        assert_int_equal(allot_slices_append(list, buffer_part(all, at, 64)), 0);
    }
    UNIT_CHECK(item_count(list), ==, 1);
    assert_int_equal(allot_slices_consume(list, 1000), 0);
    UNIT_CHECK(item_count(list), ==, 1);
    UNIT_CHECK(allot_slices_bytes(list), ==, 24);
    for (int i = 0; i < 200; i++) {  // arrays may touch, their slices remain apart
        assert_int_equal(allot_slices_append(list, buffer_slice(buffer, 1000)), 0);
    }
    assert_int_equal(allot_slices_destroy(list), 0);
    assert_int_equal(allot_slices_destroy(NULL), 0);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void a_list_passes_over_what_somebody_else_has_freed(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    allot_slices *list = make_list(buffer);
    struct allot_slice slice = buffer_slice(buffer, 100);
    struct allot_slice gap = buffer_slice(buffer, 1);
    struct allot_slice other = buffer_slice(buffer, 100);
    assert_int_equal(allot_slices_append(list, slice), 0);
    assert_int_equal(allot_slices_append(list, other), 0);
    buffer_free(buffer, buffer_part(slice, 50, 10));
    assert_int_equal(allot_slices_consume(list, 200), -1);
    assert_int_equal(errno, EINVAL);
    UNIT_CHECK(allot_slices_bytes(list), ==, 0);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 91);
    assert_int_equal(allot_slices_destroy(list), 0);
    buffer_free(buffer, gap);
    allot_buffer_destroy(buffer);
}

static void bytes_move_from_the_front_of_a_list_to_the_end_of_another(void) {
    fill_text();
    allot_buffer *buffer = buffer_make(1024, 4096);
    allot_buffer *other = buffer_make(1024, 4096);
    allot_slices *from = make_list(buffer);
    allot_slices *to = make_list(buffer);
    allot_slices *foreign = make_list(other);
    for (size_t at = 0; at < 1000; at += 50) {
        struct allot_slice slice = buffer_slice(buffer, 50);
        memcpy(slice.data, text + at, 50);
        assert_int_equal(allot_slices_append(from, slice), 0);
        buffer_slice(buffer, 1);
    }
    assert_int_equal(allot_slices_consume(from, 20), 0);
    assert_int_equal(allot_slices_move(to, from, 0), 0);
    assert_int_equal(allot_slices_move(to, from, 10), 0);
    check_list(to, 20, 10);
    check_list(from, 30, 970);
    assert_int_equal(allot_slices_move(to, from, 500), 0);
    UNIT_CHECK(item_count(to), ==, 11);
    check_list(to, 20, 510);
    check_list(from, 530, 470);
    assert_int_equal(allot_slices_move(to, from, 471), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(allot_slices_move(from, from, 1), -1);
    assert_int_equal(allot_slices_move(foreign, from, 1), -1);
    assert_int_equal(allot_slices_move(to, from, 470), 0);
    check_list(to, 20, 980);
    UNIT_CHECK(item_count(from), ==, 0);
    assert_int_equal(allot_slices_destroy(to), 0);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 20);
    allot_slices_destroy(from);
    allot_slices_destroy(foreign);
    allot_buffer_destroy(buffer);
    allot_buffer_destroy(other);
}

static void readv_uses_free_ranges_before_it_adds_an_array(void) {
    int ends[2];
    make_pipe(ends);
    allot_buffer *buffer = buffer_make(64 * KIB, 64 * KIB);
    struct allot_slice all = buffer_slice(buffer, 64 * KIB);
    for (size_t at = 0; at < 64 * KIB; at += 16 * KIB) {  // four free ranges of 5,000 bytes
        buffer_free(buffer, buffer_part(all, at, 5000));
    }
    allot_slices *list = make_list(buffer);
    UNIT_CHECK(write(ends[1], text, 18000), ==, 18000);
    UNIT_CHECK(allot_slices_read(list, ends[0], 20000), ==, 18000);
    UNIT_CHECK(item_count(list), ==, 4);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 1);
    check_list(list, 0, 18000);
    UNIT_CHECK(buffer_stats(buffer).free_bytes, ==, 2000);
    UNIT_CHECK(write(ends[1], text + 18000, 40000), ==, 40000);
    UNIT_CHECK(allot_slices_read(list, ends[0], 40000), ==, 40000);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 2);
    check_list(list, 0, 58000);
    close(ends[1]);
    UNIT_CHECK(allot_slices_read(list, ends[0], 40000), ==, 0);
    check_list(list, 0, 58000);
    assert_int_equal(allot_slices_read(list, ends[0], 0), -1);
    assert_int_equal(allot_slices_read(list, -1, 10), -1);
    assert_int_equal(errno, EBADF);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 64 * KIB - 20000 + 58000);
    assert_int_equal(allot_slices_destroy(list), 0);
    assert_true(allot_buffer_validate(buffer));
    allot_buffer_destroy(buffer);
}

static void *write_text(void *argument) {
    for (size_t at = 0; at < sizeof(text);) {
        ssize_t n = write(*(int *)argument, text + at, sizeof(text) - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
    close(*(int *)argument);
    return NULL;
}

// What comes in on one socket goes out on a pipe, through one list, in portions that
// neither side chooses.
static void a_list_carries_a_stream_from_a_socket_to_a_pipe(void) {
    int sockets[2], ends[2];
    make_pipe(ends);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    allot_buffer *buffer = buffer_make(4096, 64 * KIB);
    allot_slices *list = make_list(buffer);
    static unsigned char out[sizeof(text)];
    size_t out_bytes = 0;
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_text, &sockets[0]), 0);
    for (bool is_open = true; is_open || allot_slices_bytes(list) > 0;) {
        is_open = is_open && allot_slices_read(list, sockets[1], 3000) > 0;
        ptrdiff_t n = allot_slices_write(list, ends[1]);
        assert_true(n >= 0 || errno == EAGAIN);
        if (n < 0 || !is_open) {
            ssize_t got = read(ends[0], out + out_bytes, 50000);
            assert_true(got > 0);
            out_bytes += (size_t)got;
        }
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], out + out_bytes, sizeof(out) - out_bytes)) > 0;) {
        out_bytes += (size_t)n;
    }
    pthread_join(writer, NULL);
    UNIT_CHECK(out_bytes, ==, sizeof(text));
    assert_memory_equal(out, text, sizeof(text));
    assert_int_equal(allot_slices_write(list, ends[1]), 0);  // nothing to write
    assert_int_equal(allot_slices_destroy(list), 0);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void a_list_longer_than_iov_max_is_written_in_parts(void) {
    int sockets[2];
    fill_text();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    allot_buffer *buffer = buffer_make(64 * KIB, 64 * KIB);
    allot_slices *list = make_list(buffer);
    for (size_t i = 0; i < 3000; i++) {
        struct allot_slice slice = buffer_slice(buffer, 2);
        memcpy(slice.data, text + i, 1);
        assert_int_equal(allot_buffer_free_rest(buffer, &slice, 1), 0);
        assert_int_equal(allot_slices_append(list, slice), 0);
        buffer_slice(buffer, 1);
    }
    UNIT_CHECK(item_count(list), ==, 3000);
    UNIT_CHECK(allot_slices_write(list, sockets[0]), ==, 1024);
    UNIT_CHECK(allot_slices_write(list, sockets[0]), ==, 1024);
    UNIT_CHECK(allot_slices_write(list, sockets[0]), ==, 952);
    static unsigned char out[3000];
    UNIT_CHECK(recv(sockets[1], out, sizeof(out), MSG_WAITALL), ==, 3000);
    assert_memory_equal(out, text, 3000);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 3000);
    assert_int_equal(allot_slices_destroy(list), 0);
    allot_buffer_destroy(buffer);
}

// Half of the memory is full of holes, so that reads come in parts and frees need records.
static void make_holes(allot_buffer *buffer) {
    struct allot_slice all = allot_buffer_malloc(buffer, 64 * KIB);
    for (size_t at = 0; all.data != NULL && at + 6000 < 64 * KIB; at += 6000) {
        allot_buffer_free(buffer, buffer_part(all, at, 5000));
    }
}

static void use_lists(allot_buffer *buffer, allot_slices *from, allot_slices *to, int *ends) {
    struct allot_slice slice = {NULL, 0};
    size_t sum = 0;
    for (int i = 0; i < 40; i++) {
        UNIT_CHECK(write(ends[1], text, 3000), ==, 3000);
        ptrdiff_t got = i % 2 == 0 ? allot_slices_read(from, ends[0], 16000)
                                   : allot_buffer_read(buffer, &slice, ends[0], 8000);
        UNIT_CHECK(got == -1 || got == 3000, ==, true);
        assert_true(got > 0 || errno == ENOMEM);
        if (got < 0) {
            UNIT_CHECK(read(ends[0], text, 3000), ==, 3000);  // it is still there
        } else if (i % 2 != 0 && allot_slices_append(from, slice) != 0) {
            buffer_free(buffer, slice);
            got = 0;
        }
        sum += got > 0 ? 3000 : 0;
        UNIT_CHECK(allot_slices_bytes(from) + allot_slices_bytes(to), ==, sum);
        allot_slices_move(to, from, allot_slices_bytes(from) / 2);
        size_t consumed = allot_slices_bytes(to) / 3;
        assert_int_equal(allot_slices_consume(to, consumed), 0);
        sum -= consumed;
    }
}

static bool run_refused(uint64_t k, bool from) {
    int ends[2];
    make_pipe(ends);
    requests_refuse(k, from);
    allot_buffer *buffer = allot_buffer_create(NULL);
    allot_slices *list = buffer != NULL ? allot_slices_create(buffer) : NULL;
    allot_slices *other = buffer != NULL ? allot_slices_create(buffer) : NULL;
    if (list != NULL && other != NULL) {
        make_holes(buffer);
        size_t live = buffer_stats(buffer).live_bytes;
        use_lists(buffer, list, other, ends);
        assert_true(allot_buffer_validate(buffer));
        requests.refuse_at = 0;
        size_t left = allot_slices_bytes(list) + allot_slices_bytes(other);
        allot_slices_consume(other, 0);  // what could not be noted before is free after
        UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, live + left);
    }
    requests.refuse_at = 0;
    assert_int_equal(allot_slices_destroy(list), 0);
    assert_int_equal(allot_slices_destroy(other), 0);
    allot_buffer_destroy(buffer);
    assert_int_equal(requests.blocks, 0);
    close(ends[0]);
    close(ends[1]);
    return requests.refused_count > 0;
}

static void refused_requests_lose_no_byte_of_a_stream(void) {
    requests_refuse_each(run_refused, false);
    requests_refuse_each(run_refused, true);
}

static const struct unit_case cases[] = {
    UNIT(a_read_keeps_what_came_and_frees_the_rest),
    UNIT(what_was_read_goes_to_the_smallest_hole_that_holds_it),
    UNIT(the_end_of_a_file_and_errors_leave_nothing_allocated),
    UNIT(a_read_that_signals_interrupt_is_repeated),
    UNIT(a_list_frees_what_is_consumed),
    UNIT(adjacent_slices_become_one_item_within_an_array),
    UNIT(a_list_passes_over_what_somebody_else_has_freed),
    UNIT(bytes_move_from_the_front_of_a_list_to_the_end_of_another),
    UNIT(readv_uses_free_ranges_before_it_adds_an_array),
    UNIT(a_list_carries_a_stream_from_a_socket_to_a_pipe),
    UNIT(refused_requests_lose_no_byte_of_a_stream),
    UNIT(a_list_longer_than_iov_max_is_written_in_parts),
};

UNIT_MAIN(cases)
