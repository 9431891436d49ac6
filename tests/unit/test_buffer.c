// test_buffer.c - slices of arrays: placement, frees of any part, references, growth and return.
#include "buffer.h"

#include <pthread.h>

enum { PIECES_MAX = 4000 };

static bool system_is_untouched(uint64_t calls) {
    return os_fake.call_count == calls;
}

// ---- Slices --------------------------------------------------------------------

static void a_slice_of_no_bytes_is_not_null_and_freed_by_nothing(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice none = allot_buffer_malloc(buffer, 0);
    assert_non_null(none.data);
    UNIT_CHECK(none.size_bytes, ==, 0);
    buffer_free(buffer, none);
    buffer_free(buffer, none);
    buffer_free(buffer, (struct allot_slice){NULL, 0});
    assert_int_equal(allot_buffer_retain(buffer, none), 0);
    assert_non_null(allot_buffer_borrow(buffer, 0).data);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 0);
    struct allot_slice slice = buffer_slice(buffer, 10);
    buffer_free(buffer, buffer_part(slice, 5, 0));
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 10);
    allot_buffer_destroy(buffer);
}

static void slices_lie_one_behind_the_other_without_gaps(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice first = buffer_slice(buffer, 7);
    struct allot_slice second = buffer_slice(buffer, 1);
    struct allot_slice third = buffer_slice(buffer, 1016);
    assert_ptr_equal(second.data, (char *)first.data + 7);
    assert_ptr_equal(third.data, (char *)second.data + 1);
    struct allot_buffer_stats stats = buffer_stats(buffer);
    UNIT_CHECK(stats.reserved_bytes, ==, 1024);
    UNIT_CHECK(stats.live_bytes, ==, 1024);
    UNIT_CHECK(stats.largest_bytes, ==, 0);
    allot_buffer_destroy(buffer);
}

static void the_best_fit_of_all_arrays_is_taken(void) {
    allot_buffer *buffer = buffer_make(1000, 4096);
    struct allot_slice whole = buffer_slice(buffer, 1000);
    buffer_slice(buffer, 1500);  // leaves 500 of the second array
    buffer_free(buffer, buffer_part(whole, 100, 60));
    buffer_free(buffer, buffer_part(whole, 300, 50));
    assert_ptr_equal(buffer_slice(buffer, 50).data, (char *)whole.data + 300);
    assert_ptr_equal(buffer_slice(buffer, 40).data, (char *)whole.data + 100);
    assert_ptr_equal(buffer_slice(buffer, 20).data, (char *)whole.data + 140);
    UNIT_CHECK(buffer_stats(buffer).largest_bytes, ==, 500);
    allot_buffer_destroy(buffer);
}

static void what_is_free_between_two_sizes_is_taken(void) {
    allot_buffer *buffer = buffer_make(1000, 4096);
    struct allot_slice whole = buffer_slice(buffer, 1000);
    buffer_free(buffer, buffer_part(whole, 100, 60));
    buffer_free(buffer, buffer_part(whole, 300, 500));
    struct allot_slice some = allot_buffer_malloc_some(buffer, 40, 200);
    assert_ptr_equal(some.data, (char *)whole.data + 100);
    UNIT_CHECK(some.size_bytes, ==, 60);
    some = allot_buffer_malloc_some(buffer, 61, 200);
    assert_ptr_equal(some.data, (char *)whole.data + 300);
    UNIT_CHECK(some.size_bytes, ==, 200);
    some = allot_buffer_malloc_some(buffer, 301, 800);  // in a further array
    UNIT_CHECK(some.size_bytes, ==, 800);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 2);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 440 + 60 + 200 + 800);
    assert_null(allot_buffer_malloc_some(buffer, 0, 10).data);
    assert_int_equal(errno, EINVAL);
    assert_null(allot_buffer_malloc_some(buffer, 11, 10).data);
    assert_null(allot_buffer_malloc_some(buffer, SIZE_MAX, SIZE_MAX).data);
    assert_int_equal(errno, ENOMEM);
    assert_true(allot_buffer_validate(buffer));
    allot_buffer_destroy(buffer);
}

static void any_part_and_several_adjacent_slices_can_be_freed(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice first = buffer_slice(buffer, 300);
    buffer_slice(buffer, 300);
    buffer_slice(buffer, 300);
    buffer_free(buffer, buffer_part(first, 10, 20));
    UNIT_CHECK(buffer_stats(buffer).range_count, ==, 2);
    buffer_free(buffer, buffer_part(first, 200, 500));  // of all three
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 380);
    buffer_free(buffer, buffer_part(first, 30, 170));
    buffer_free(buffer, buffer_part(first, 700, 200));
    buffer_free(buffer, buffer_part(first, 0, 10));
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void check_refused(allot_buffer *buffer, void *data, size_t size_bytes) {
    struct allot_slice slice = {data, size_bytes};
    struct allot_buffer_stats before = buffer_stats(buffer);
    errno = 0;
    assert_int_equal(allot_buffer_free(buffer, slice), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(allot_buffer_retain(buffer, slice), -1);
    assert_int_equal(errno, EINVAL);
    struct allot_buffer_stats after = buffer_stats(buffer);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_true(allot_buffer_validate(buffer));
}

static void foreign_slices_are_refused_and_nothing_changes(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    allot_buffer *other = buffer_make(1024, 4096);
    char local[16];
    check_refused(buffer, local, sizeof(local));
    struct allot_slice slice = buffer_slice(buffer, 1024);
    check_refused(buffer, local, sizeof(local));
    check_refused(buffer, NULL, 1);
    check_refused(buffer, (char *)slice.data - 1, 2);
    check_refused(buffer, (char *)slice.data + 1023, 2);
    check_refused(buffer, (char *)slice.data + 1024, 1);
    check_refused(buffer, slice.data, SIZE_MAX);
    check_refused(buffer, (char *)slice.data + 1, SIZE_MAX - 1);
    check_refused(buffer, (void *)UINTPTR_MAX, 1);
    check_refused(buffer, buffer_slice(other, 100).data, 100);
    allot_buffer_destroy(buffer);
    allot_buffer_destroy(other);
}

static void double_and_overlapping_frees_are_refused(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 500);
    buffer_free(buffer, buffer_part(slice, 100, 100));
    for (size_t at = 0; at < 200; at += 50) {
        check_refused(buffer, buffer_part(slice, at, 101).data, 101);
    }
    check_refused(buffer, buffer_part(slice, 100, 1).data, 1);
    check_refused(buffer, buffer_part(slice, 199, 1).data, 1);
    check_refused(buffer, slice.data, 500);
    check_refused(buffer, buffer_part(slice, 499, 2).data, 2);
    buffer_free(buffer, buffer_part(slice, 0, 100));
    buffer_free(buffer, buffer_part(slice, 200, 300));
    check_refused(buffer, slice.data, 500);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void free_rest_keeps_the_first_bytes(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 500);
    struct allot_slice before = slice;
    assert_int_equal(allot_buffer_free_rest(buffer, &slice, 501), -1);
    assert_int_equal(errno, EINVAL);
    UNIT_CHECK(slice.size_bytes, ==, 500);
    assert_int_equal(allot_buffer_free_rest(buffer, &slice, 500), 0);
    assert_int_equal(allot_buffer_free_rest(buffer, &slice, 3), 0);
    assert_ptr_equal(slice.data, before.data);
    UNIT_CHECK(slice.size_bytes, ==, 3);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 3);
    assert_int_equal(allot_buffer_free_rest(buffer, &before, 100), -1);  // is free already
    assert_int_equal(allot_buffer_free_rest(buffer, &slice, 0), 0);
    assert_null(slice.data);
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static void all_bytes_are_recovered_whatever_the_order(void) {
    struct check_random random = {check_seed()};
    static struct allot_slice pieces[PIECES_MAX];
    allot_buffer *buffer = buffer_make(64 * KIB, 1 * MIB);
    for (size_t i = 0; i < PIECES_MAX; i++) {
        pieces[i] = buffer_slice(buffer, 1 + check_random_below(&random, 1000));
    }
    for (size_t i = PIECES_MAX; i > 0; i--) {
        size_t at = check_random_below(&random, i);
        size_t half = pieces[at].size_bytes / 2;
        buffer_free(buffer, buffer_part(pieces[at], half, pieces[at].size_bytes - half));
        buffer_free(buffer, buffer_part(pieces[at], 0, half));
        pieces[at] = pieces[i - 1];
    }
    buffer_check_empty(buffer);
    UNIT_CHECK(buffer_stats(buffer).peak_bytes, ==, buffer_stats(buffer).malloc_bytes);
    allot_buffer_destroy(buffer);
}

// ---- Looking ahead ---------------------------------------------------------------

static void borrow_shows_the_next_slice_and_changes_no_figure(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 100);
    struct allot_buffer_stats before = buffer_stats(buffer);
    for (int i = 0; i < 1000; i++) {
        struct allot_slice ahead = allot_buffer_borrow(buffer, 200);
        assert_ptr_equal(ahead.data, (char *)slice.data + 100);
        memset(ahead.data, i, 200);
    }
    struct allot_buffer_stats after = buffer_stats(buffer);
    assert_memory_equal(&before, &after, sizeof(before));
    check_refused(buffer, (char *)slice.data + 100, 200);
    struct allot_slice kept = buffer_slice(buffer, 200);
    assert_ptr_equal(kept.data, (char *)slice.data + 100);
    UNIT_CHECK(*(unsigned char *)kept.data, ==, 999 % 256);
    assert_true(allot_buffer_validate(buffer));
    assert_non_null(allot_buffer_borrow(buffer, 4000).data);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 300);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 2);
    allot_buffer_destroy(buffer);
}

static void a_shared_buffer_lends_nothing(void) {
    allot_buffer *buffer = allot_buffer_create(&(struct allot_buffer_options){
        .struct_size = sizeof(struct allot_buffer_options), .shared = true});
    assert_null(allot_buffer_borrow(buffer, 10).data);
    assert_int_equal(errno, EINVAL);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 0);
    allot_buffer_destroy(buffer);
}

// ---- References --------------------------------------------------------------------

static void the_last_of_many_references_frees(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 100);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(allot_buffer_retain(buffer, slice), 0);
    }
    UNIT_CHECK(buffer_stats(buffer).shared_count, ==, 1);
    for (int i = 0; i < 1000; i++) {
        UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 100);
        buffer_free(buffer, slice);
        assert_true(allot_buffer_validate(buffer));
    }
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 100);
    UNIT_CHECK(buffer_stats(buffer).shared_count, ==, 0);
    buffer_free(buffer, slice);
    buffer_check_empty(buffer);
    check_refused(buffer, slice.data, 100);
    allot_buffer_destroy(buffer);
}

static void parts_are_retained_and_released_independently(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 300);
    assert_int_equal(allot_buffer_retain(buffer, buffer_part(slice, 100, 100)), 0);
    assert_int_equal(allot_buffer_retain(buffer, buffer_part(slice, 50, 100)), 0);
    UNIT_CHECK(buffer_stats(buffer).shared_count, ==, 3);
    buffer_free(buffer, slice);  // references left: 50 to 100: 1, to 150: 2, to 200: 1
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 150);
    assert_true(allot_buffer_validate(buffer));
    check_refused(buffer, slice.data, 300);
    check_refused(buffer, slice.data, 60);
    buffer_free(buffer, buffer_part(slice, 100, 100));
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 100);
    check_refused(buffer, buffer_part(slice, 100, 100).data, 100);
    buffer_free(buffer, buffer_part(slice, 50, 100));
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

// ---- Arrays ---------------------------------------------------------------------------

static void arrays_double_and_large_slices_get_their_own(void) {
    allot_buffer *buffer = buffer_make(1024, 8192);
    static const size_t reserved[] = {1, 3, 7, 15, 23, 31};  // KiB
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
        buffer_slice(buffer, buffer_stats(buffer).largest_bytes + 1);
        UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, reserved[i] * KIB);
        size_t left = buffer_stats(buffer).largest_bytes;
        buffer_slice(buffer, left);
    }
    buffer_slice(buffer, 100000);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 31 * KIB + 100000);
    buffer_slice(buffer, 1);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 39 * KIB + 100000);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 8);
    allot_buffer_destroy(buffer);
}

static void growing_and_freeing_in_turn_adds_no_array_and_calls_no_system(void) {
    allot_buffer *buffer = buffer_make(1024, 4 * MIB);
    buffer_free(buffer, buffer_slice(buffer, 1000));
    buffer_free(buffer, buffer_slice(buffer, 8192));
    struct allot_buffer_stats before = buffer_stats(buffer);
    uint64_t calls = os_fake.call_count;
    for (int i = 0; i < 100000; i++) {
        os_fake.now_ms += 1;
        buffer_free(buffer, buffer_slice(buffer, 8192));
    }
    struct allot_buffer_stats after = buffer_stats(buffer);
    UNIT_CHECK(after.grow_calls, ==, before.grow_calls);
    UNIT_CHECK(after.drop_calls, <=, 1);  // the first array, which nobody uses
    assert_true(system_is_untouched(calls));
    buffer_check_empty(buffer);
    allot_buffer_destroy(buffer);
}

static allot_buffer *make_limited(size_t limit_bytes) {
    allot_buffer *buffer = allot_buffer_create(
        &(struct allot_buffer_options){.struct_size = sizeof(struct allot_buffer_options),
                                       .first_bytes = 1024,
                                       .array_max_bytes = 4096,
                                       .limit_bytes = limit_bytes});
    assert_non_null(buffer);
    return buffer;
}

static void the_limit_holds_and_smaller_arrays_are_tried(void) {
    allot_buffer *buffer = make_limited(5000);
    buffer_slice(buffer, 1024);
    buffer_slice(buffer, 2048);
    buffer_slice(buffer, 1900);  // 4 KiB would exceed the limit
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 4972);
    errno = 0;
    assert_null(allot_buffer_malloc(buffer, 29).data);
    assert_int_equal(errno, ENOMEM);
    UNIT_CHECK(buffer_stats(buffer).live_bytes, ==, 4972);
    buffer_slice(buffer, 28);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 5000);
    assert_null(allot_buffer_malloc(buffer, SIZE_MAX).data);
    assert_true(allot_buffer_validate(buffer));
    allot_buffer_destroy(buffer);
}

static void empty_arrays_make_room_below_the_limit(void) {
    allot_buffer *buffer = make_limited(8192);
    buffer_slice(buffer, 1000);
    buffer_free(buffer, buffer_slice(buffer, 2000));
    buffer_free(buffer, buffer_slice(buffer, 4000));
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 3);
    errno = 0;
    buffer_slice(buffer, 7000);
    assert_int_equal(errno, 0);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 2);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 8024);
    allot_buffer_destroy(buffer);
}

// Frees and allocates in an array of its own, so that the clock is looked at.
static void let_time_pass(allot_buffer *buffer, uint64_t ms, struct allot_slice *busy) {
    for (uint64_t i = 0; i < ms; i += 10) {
        os_fake.now_ms += 10;
        for (int call = 0; call < 16; call++) {
            buffer_free(buffer, *busy);
            *busy = buffer_slice(buffer, busy->size_bytes);
        }
    }
}

static void an_idle_array_goes_back_after_its_time(void) {
    allot_buffer *buffer = allot_buffer_create(
        &(struct allot_buffer_options){.struct_size = sizeof(struct allot_buffer_options),
                                       .first_bytes = 1024,
                                       .idle_ns = 100 * UINT64_C(1000000)});
    struct allot_slice busy = buffer_slice(buffer, 1024);
    struct allot_slice idle = buffer_slice(buffer, 100000);
    let_time_pass(buffer, 1000, &busy);
    UNIT_CHECK(buffer_stats(buffer).drop_calls, ==, 0);
    buffer_free(buffer, idle);
    let_time_pass(buffer, 90, &busy);
    UNIT_CHECK(buffer_stats(buffer).drop_calls, ==, 0);
    let_time_pass(buffer, 100, &busy);
    UNIT_CHECK(buffer_stats(buffer).drop_calls, ==, 1);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 1024);
    assert_true(allot_buffer_validate(buffer));
    allot_buffer_destroy(buffer);
}

static void of_what_is_kept_only_the_pages_go_back(void) {
    allot_buffer *buffer = allot_buffer_create(
        &(struct allot_buffer_options){.struct_size = sizeof(struct allot_buffer_options),
                                       .first_bytes = 1024,
                                       .keep_bytes = 2048,
                                       .idle_ns = 100 * UINT64_C(1000000)});
    struct allot_slice busy = buffer_slice(buffer, 1024);
    buffer_free(buffer, buffer_slice(buffer, 1 * MIB));
    for (int i = 1; i <= 3; i++) {
        let_time_pass(buffer, 1000, &busy);
        UNIT_CHECK(buffer_stats(buffer).drop_calls, ==, 0);
        UNIT_CHECK(buffer_stats(buffer).purged_bytes, ==, (uint64_t)i * MIB);
        struct allot_slice slice = buffer_slice(buffer, 1 * MIB);
        memset(slice.data, 1, slice.size_bytes);
        buffer_free(buffer, slice);
    }
    allot_buffer_destroy(buffer);
}

static void trim_returns_empty_arrays_and_the_pages_of_others(void) {
    allot_buffer *buffer = buffer_make(256 * KIB, 1 * MIB);
    struct allot_slice slice = buffer_slice(buffer, 200 * KIB);
    memset(slice.data, 7, slice.size_bytes);
    buffer_free(buffer, buffer_slice(buffer, 300 * KIB));
    buffer_free(buffer, buffer_part(slice, 20, 100 * KIB));
    UNIT_CHECK(allot_buffer_trim(buffer), >=, 512 * KIB + 100 * KIB + 56 * KIB - 16 * KIB);
    struct allot_buffer_stats stats = buffer_stats(buffer);
    UNIT_CHECK(stats.reserved_bytes, ==, 256 * KIB);
    UNIT_CHECK(stats.drop_calls, ==, 1);
    UNIT_CHECK(stats.live_bytes, ==, 100 * KIB);
    UNIT_CHECK(((char *)slice.data)[19], ==, 7);
    UNIT_CHECK(((char *)slice.data)[100 * KIB + 20], ==, 7);
    UNIT_CHECK(((char *)slice.data)[200 * KIB - 1], ==, 7);
    UNIT_CHECK(((char *)slice.data)[32 * KIB], ==, 0);
    buffer_free(buffer, buffer_part(slice, 0, 20));
    buffer_free(buffer, buffer_part(slice, 20 + 100 * KIB, 100 * KIB - 20));
    UNIT_CHECK(allot_buffer_trim(buffer), ==, 256 * KIB);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, 0);
    allot_buffer_destroy(buffer);
}

static void recycle_frees_everything_that_was_handed_out(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    assert_int_equal(allot_buffer_recycle(buffer), 0);
    for (size_t i = 0; i < 100; i++) {
        struct allot_slice slice = buffer_slice(buffer, 10 + i);
        assert_int_equal(allot_buffer_retain(buffer, buffer_part(slice, i / 20, 5)), 0);
    }
    struct allot_buffer_stats before = buffer_stats(buffer);
    assert_int_equal(allot_buffer_recycle(buffer), 0);
    buffer_check_empty(buffer);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, before.reserved_bytes);
    UNIT_CHECK(buffer_stats(buffer).largest_bytes, ==, 4096);
    buffer_slice(buffer, 4096);
    UNIT_CHECK(buffer_stats(buffer).array_count, ==, before.array_count);
    allot_buffer_destroy(buffer);
}

static bool add_range(void *context, struct allot_slice range) {
    struct allot_slice *sum = context;
    sum->data = range.data;
    sum->size_bytes += range.size_bytes;
    return range.size_bytes != 13;
}

static void a_walk_shows_the_free_ranges_until_it_is_told_to_end(void) {
    allot_buffer *buffer = buffer_make(1024, 4096);
    struct allot_slice slice = buffer_slice(buffer, 1024);
    struct allot_slice sum = {NULL, 0};
    allot_buffer_walk(buffer, add_range, &sum);
    assert_null(sum.data);
    buffer_free(buffer, buffer_part(slice, 10, 20));
    buffer_free(buffer, buffer_part(slice, 100, 13));
    buffer_free(buffer, buffer_part(slice, 900, 124));
    allot_buffer_walk(buffer, add_range, &sum);
    UNIT_CHECK(sum.size_bytes, ==, 33);
    assert_ptr_equal(sum.data, (char *)slice.data + 100);
    allot_buffer_destroy(buffer);
}

static void options_that_make_no_sense_are_refused(void) {
    struct allot_buffer_options options = {.struct_size = 3};
    assert_null(allot_buffer_create(&options));
    assert_int_equal(errno, EINVAL);
    options = (struct allot_buffer_options){
        .struct_size = sizeof(options), .first_bytes = 4097, .array_max_bytes = 4096};
    errno = 0;
    assert_null(allot_buffer_create(&options));
    assert_int_equal(errno, EINVAL);
    options.array_max_bytes = (size_t)1 << 40;
    assert_null(allot_buffer_create(&options));
    allot_buffer *buffer = allot_buffer_create(NULL);
    struct allot_buffer_stats stats = {.size_bytes = 1};
    assert_false(allot_buffer_get_stats(buffer, &stats));
    buffer_slice(buffer, 1);
    UNIT_CHECK(buffer_stats(buffer).reserved_bytes, ==, 64 * KIB);
    errno = 7;
    allot_buffer_destroy(buffer);
    allot_buffer_destroy(NULL);
    assert_int_equal(errno, 7);
}

// ---- Threads ---------------------------------------------------------------------------

static allot_buffer *common;

static void *use_common(void *argument) {
    struct check_random random = {(uintptr_t)argument};
    struct allot_slice held[16] = {{NULL, 0}};
    for (int i = 0; i < (check_is_long() ? 1000000 : 30000); i++) {
        struct allot_slice *slice = &held[check_random_below(&random, 16)];
        if (slice->size_bytes > 0) {
            CHECK(((unsigned char *)slice->data)[0] == (unsigned char)slice->size_bytes);
            CHECK(allot_buffer_retain(common, *slice) == 0);
            CHECK(allot_buffer_free(common, *slice) == 0);
            CHECK(allot_buffer_free(common, *slice) == 0);
            *slice = (struct allot_slice){NULL, 0};
        } else {
            *slice = allot_buffer_malloc(common, 1 + check_random_below(&random, 3000));
            CHECK(slice->data != NULL);
            memset(slice->data, (int)slice->size_bytes, slice->size_bytes);
        }
    }
    for (size_t i = 0; i < 16; i++) {
        CHECK(allot_buffer_free(common, held[i]) == 0);
    }
    return NULL;
}

static void two_threads_may_use_a_shared_buffer(void) {
    os_fake.has_threads = true;
    common = allot_buffer_create(&(struct allot_buffer_options){
        .struct_size = sizeof(struct allot_buffer_options), .first_bytes = 4096, .shared = true});
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use_common, (void *)(i + check_seed())),
                         0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    buffer_check_empty(common);
    allot_buffer_destroy(common);
}

static const struct unit_case cases[] = {
    UNIT(a_slice_of_no_bytes_is_not_null_and_freed_by_nothing),
    UNIT(slices_lie_one_behind_the_other_without_gaps),
    UNIT(the_best_fit_of_all_arrays_is_taken),
    UNIT(what_is_free_between_two_sizes_is_taken),
    UNIT(any_part_and_several_adjacent_slices_can_be_freed),
    UNIT(foreign_slices_are_refused_and_nothing_changes),
    UNIT(double_and_overlapping_frees_are_refused),
    UNIT(free_rest_keeps_the_first_bytes),
    UNIT(all_bytes_are_recovered_whatever_the_order),
    UNIT(borrow_shows_the_next_slice_and_changes_no_figure),
    UNIT(a_shared_buffer_lends_nothing),
    UNIT(the_last_of_many_references_frees),
    UNIT(parts_are_retained_and_released_independently),
    UNIT(arrays_double_and_large_slices_get_their_own),
    UNIT(growing_and_freeing_in_turn_adds_no_array_and_calls_no_system),
    UNIT(the_limit_holds_and_smaller_arrays_are_tried),
    UNIT(empty_arrays_make_room_below_the_limit),
    UNIT(an_idle_array_goes_back_after_its_time),
    UNIT(of_what_is_kept_only_the_pages_go_back),
    UNIT(trim_returns_empty_arrays_and_the_pages_of_others),
    UNIT(recycle_frees_everything_that_was_handed_out),
    UNIT(a_walk_shows_the_free_ranges_until_it_is_told_to_end),
    UNIT(options_that_make_no_sense_are_refused),
    UNIT(two_threads_may_use_a_shared_buffer),
};

UNIT_MAIN(cases)
