// test_buffer_model.c - random calls against a count of references for each byte, also while one
// request for memory after the other is refused.
#include "range/buffer.h"

#include "buffer.h"
#include "requests.h"

enum { PAGE = 4096, PAGES_MAX = 4096, KNOWN = 256, LIMIT = 48 * 1024 };

// ---- The model -------------------------------------------------------------------

static struct {
    struct buffer buffer;
    struct check_random random;
    struct {
        uintptr_t number;
        uint8_t references[PAGE];
    } pages[PAGES_MAX];
    size_t page_count, last_page;
    struct allot_slice known[KNOWN];
    uint64_t live_bytes;
} model;

static uint8_t *references(uintptr_t address) {
    uintptr_t number = address / PAGE;
    if (model.page_count == 0 || model.pages[model.last_page].number != number) {
        size_t at = 0;
        while (at < model.page_count && model.pages[at].number != number) {
            at++;
        }
        assert_true(at < PAGES_MAX);
        model.page_count += at == model.page_count;
        model.pages[at].number = number;
        model.last_page = at;
    }
    return &model.pages[model.last_page].references[address % PAGE];
}

static unsigned char content(uintptr_t address) {
    return (unsigned char)(check_mix(address / 8) | 1);
}

// Whether the bytes are in use and lie in one array.
static bool is_in_use(struct allot_slice slice) {
    uintptr_t first = (uintptr_t)slice.data;
    bool is = slice.size_bytes == 0;
    for (uint32_t slot = 0; slot < model.buffer.slot_count && !is; slot++) {
        uintptr_t data = (uintptr_t)model.buffer.arrays[slot].data;
        uintptr_t end = data + model.buffer.arrays[slot].size_bytes;
        is = data != 0 && first >= data && first < end && slice.size_bytes <= end - first;
    }
    for (size_t i = 0; is && i < slice.size_bytes; i++) {
        is = *references(first + i) > 0;
    }
    return is;
}

// A part of some slice, at times beyond its ends; or all of it.
static struct allot_slice draw_part(void) {
    struct allot_slice slice = model.known[check_random_below(&model.random, KNOWN)];
    if (slice.size_bytes == 0 || check_random_below(&model.random, 3) == 0) {
        return slice;
    }
    size_t at = check_random_below(&model.random, slice.size_bytes);
    size_t left = slice.size_bytes - at;
    size_t most = check_random_below(&model.random, 8) == 0 ? 3 * left : left;
    return buffer_part(slice, at, 1 + check_random_below(&model.random, most));
}

static size_t draw_size(void) {
    uint64_t log2 = check_random_below(&model.random, 13);
    return 1 + check_random_below(&model.random, (uint64_t)1 << log2);
}

// A refusal is true: no free range is large enough, and no further array allowed.
static void check_refusal(size_t size_bytes, uint64_t refused_before) {
    if (requests.refused_count == refused_before) {
        UNIT_CHECK(range_largest(&model.buffer.space.range), <, size_bytes);
        UNIT_CHECK(model.buffer.reserved_bytes + size_bytes, >, LIMIT);
    }
}

static void step_take(void) {
    size_t size_bytes = draw_size();
    uint64_t refused = requests.refused_count;
    size_t least = check_random_below(&model.random, 4) == 0 ? size_bytes / 2 + 1 : size_bytes;
    size_t wanted = size_bytes;
    unsigned char *data = least == wanted
                              ? buffer_take(&model.buffer, wanted)
                              : buffer_take_some(&model.buffer, &size_bytes, least, wanted);
    if (data == NULL) {
        check_refusal(least, refused);
        return;
    }
    assert_true(size_bytes >= least && size_bytes <= wanted);
    for (size_t i = 0; i < size_bytes; i++) {
        assert_true(*references((uintptr_t)data + i) == 0);
        *references((uintptr_t)data + i) = 1;
        data[i] = content((uintptr_t)data + i);
    }
    model.live_bytes += size_bytes;
    model.known[check_random_below(&model.random, KNOWN)] = (struct allot_slice){data, size_bytes};
}

static void step_peek(void) {
    size_t size_bytes = draw_size();
    uint64_t live = model.buffer.live_bytes;
    unsigned char *data = buffer_peek(&model.buffer, size_bytes);
    for (size_t i = 0; data != NULL && i < size_bytes; i++) {
        assert_true(*references((uintptr_t)data + i) == 0);
        data[i] = 0;
    }
    UNIT_CHECK(model.buffer.live_bytes, ==, live);
}

static void step_give(void) {
    struct allot_slice slice = draw_part();
    bool is = is_in_use(slice);
    uint64_t refused = requests.refused_count;
    for (size_t i = 0; is && i < slice.size_bytes; i++) {
        assert_true(((unsigned char *)slice.data)[i] == content((uintptr_t)slice.data + i));
    }
    int got = buffer_give(&model.buffer, slice.data, slice.size_bytes);
    if (got == ENOMEM && is && requests.refused_count != refused) {
        return;
    }
    assert_int_equal(got, is ? 0 : EINVAL);
    for (size_t i = 0; is && i < slice.size_bytes; i++) {
        model.live_bytes -= --*references((uintptr_t)slice.data + i) == 0;
    }
}

static void step_retain(void) {
    struct allot_slice slice = draw_part();
    bool is = is_in_use(slice);
    for (size_t i = 0; is && i < slice.size_bytes; i++) {
        if (*references((uintptr_t)slice.data + i) == UINT8_MAX) {
            return;
        }
    }
    uint64_t refused = requests.refused_count;
    int got = buffer_retain(&model.buffer, slice.data, slice.size_bytes);
    if (got == ENOMEM && is && requests.refused_count != refused) {
        return;
    }
    assert_int_equal(got, is ? 0 : EINVAL);
    for (size_t i = 0; is && i < slice.size_bytes; i++) {
        ++*references((uintptr_t)slice.data + i);
    }
}

static void step_recycle(void) {
    if (buffer_recycle(&model.buffer) == 0) {
        for (size_t i = 0; i < model.page_count; i++) {
            memset(model.pages[i].references, 0, PAGE);
        }
        model.live_bytes = 0;
    }
}

static void step(void) {
    uint64_t kind = check_random_below(&model.random, 1000);
    os_fake.now_ms += 1;
    if (kind < 400) {
        step_take();
    } else if (kind < 900) {
        step_give();
    } else if (kind < 960) {
        step_retain();
    } else if (kind < 990) {
        step_peek();
    } else if (kind < 998) {
        buffer_trim(&model.buffer);
    } else {
        step_recycle();
    }
    UNIT_CHECK(model.buffer.live_bytes, ==, model.live_bytes);
}

static bool begin(uint64_t seed) {
    memset(&model, 0, sizeof(model));
    model.random.state = seed;
    return buffer_init(&model.buffer, &(struct allot_buffer_options){.first_bytes = 512,
                                                                     .array_max_bytes = 8 * KIB,
                                                                     .limit_bytes = LIMIT,
                                                                     .keep_bytes = 1000,
                                                                     .idle_ns = 20000000}) == 0;
}

// Everything comes back, byte by byte where need be, and each array is one range.
static void end(void) {
    for (size_t i = 0; i < model.page_count; i++) {
        for (size_t at = 0; at < PAGE; at++) {
            char *data = (char *)(model.pages[i].number * PAGE + at);
            for (; model.pages[i].references[at] > 0; model.pages[i].references[at]--) {
                assert_int_equal(buffer_give(&model.buffer, data, 1), 0);
            }
        }
    }
    struct allot_buffer_stats stats;
    buffer_read_stats(&model.buffer, &stats);
    UNIT_CHECK(stats.live_bytes, ==, 0);
    UNIT_CHECK(stats.shared_count, ==, 0);
    UNIT_CHECK(stats.range_count, ==, stats.array_count);
    UNIT_CHECK(stats.malloc_bytes, ==, stats.freed_bytes);
    assert_true(buffer_validate(&model.buffer));
    buffer_fini(&model.buffer);
}

static void random_calls_agree_with_a_count_for_each_byte(void) {
    assert_true(begin(check_seed()));
    for (int i = 0; i < (check_is_long() ? 3000000 : 60000); i++) {
        step();
        assert_true(i % 64 != 0 || buffer_validate(&model.buffer));
    }
    end();
    assert_true(requests.blocks == 0);
}

static uint64_t refused_seed;

// Some steps in which request k is refused; false once there are fewer requests.
static bool run_refused(uint64_t k, bool from) {
    requests_refuse(k, from);
    if (begin(refused_seed)) {
        for (int i = 0; i < 1000; i++) {
            step();
            assert_true(buffer_validate(&model.buffer));
        }
        requests.refuse_at = 0;
        end();
    }
    assert_int_equal(requests.blocks, 0);
    return requests.refused_count > 0;
}

static void every_refused_request_leaves_the_buffer_whole(void) {
    refused_seed = check_seed();
    requests_refuse_each(run_refused, false);
}

static void refusals_without_end_leave_the_buffer_whole(void) {
    refused_seed = check_seed();
    requests_refuse_each(run_refused, true);
}

// Between the pieces that were free stood one that was shared, and no record was left.
static void pieces_are_freed_together_or_not_at_all(void) {
    refused_seed = 4123852247431121132;
    requests_refuse_each(run_refused, true);
}

static void the_validator_sees_broken_invariants(void) {
    assert_true(begin(1));
    struct buffer *buffer = &model.buffer;
    char *data = buffer_take(buffer, 100);
    buffer_take(buffer, 1000);
    assert_int_equal(buffer_retain(buffer, data, 100), 0);
    assert_true(buffer_validate(buffer));
    buffer->places[0].slot ^= 1;  // [U4]
    assert_false(buffer_validate(buffer));
    buffer->places[0].slot ^= 1;
    buffer->array_count--;  // [U4]
    assert_false(buffer_validate(buffer));
    buffer->array_count++;
    buffer->live_bytes++;  // [U5]
    assert_false(buffer_validate(buffer));
    buffer->live_bytes--;
    buffer->arrays[0].size_bytes--;  // [U4], [U5]
    assert_false(buffer_validate(buffer));
    buffer->arrays[0].size_bytes++;
    assert_int_equal(range_give(&buffer->space.range, 50, 10), 0);  // [U6]
    buffer->live_bytes -= 10;
    assert_false(buffer_validate(buffer));
    assert_int_equal(range_take_at(&buffer->space.range, 50, 10), 0);
    buffer->live_bytes += 10;
    assert_true(buffer_validate(buffer));
    buffer_fini(buffer);
}

static const struct unit_case cases[] = {
    UNIT(random_calls_agree_with_a_count_for_each_byte),
    UNIT(every_refused_request_leaves_the_buffer_whole),
    UNIT(the_validator_sees_broken_invariants),
    UNIT(refusals_without_end_leave_the_buffer_whole),
    UNIT(pieces_are_freed_together_or_not_at_all),
};

UNIT_MAIN(cases)
