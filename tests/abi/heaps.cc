// heaps.cc - containers of the standard library on heaps.
#include "../support/check.h"

#include <allot.hpp>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

static struct allot_heap_stats stats_of(const allot::heap &heap) {
    struct allot_heap_stats stats = {};
    stats.size_bytes = sizeof stats;
    CHECK(allot_heap_stats(heap.get(), &stats));
    return stats;
}

static bool is_of(const void *block, const allot::heap &heap) {
    return allot_heap_of(block) == heap.get();
}

static void pmr_containers_take_from_the_heap_and_give_back() {
    allot::heap heap;
    allot::memory_resource resource(heap);
    {
        std::pmr::map<int, std::pmr::string> names(&resource);
        std::pmr::unordered_map<int, std::pmr::vector<int>> lists(&resource);
        std::pmr::list<std::pmr::string> words(&resource);
        for (int i = 0; i < 2000; i++) {
            names[i] = std::pmr::string(static_cast<size_t>(i % 300), 'x');
            lists[i % 100].push_back(i);
            words.emplace_back("a word that is too long to be kept in the string itself");
        }
        CHECK(is_of(&names.begin()->second, heap) || stats_of(heap).live_blocks > 2000);
        CHECK(is_of(words.front().data(), heap));
        CHECK(is_of(lists[7].data(), heap));
        CHECK_UINT(names[299].size(), ==, 299);
    }
    CHECK_UINT(stats_of(heap).live_bytes, ==, 0);
}

static void containers_with_the_allocator_keep_their_heap_when_moved_or_swapped() {
    using numbers = std::vector<int, allot::allocator<int>>;
    allot::heap first;
    allot::heap second;
    numbers a(1000, 1, first);
    numbers b(10, 2, second);
    std::swap(a, b);
    CHECK(is_of(a.data(), second) && is_of(b.data(), first));
    a = b;
    CHECK(is_of(a.data(), first) && a.get_allocator() == b.get_allocator());
    numbers c(std::move(b));
    CHECK(is_of(c.data(), first));
    CHECK(c.get_allocator() != allot::allocator<char>(second));
}

struct alignas(256) wide {
    char bytes[300];
};

static void types_that_are_aligned_beyond_16_stay_aligned() {
    allot::heap heap;
    std::vector<wide, allot::allocator<wide>> values(33, wide(), heap);
    CHECK_ALIGNED(values.data(), 256);
    allot::memory_resource resource(heap);
    std::pmr::vector<wide> others(7, wide(), &resource);
    CHECK_ALIGNED(others.data(), 256);
}

static void a_limit_throws_and_loses_nothing() {
    allot_heap_options options = allot::heap_options();
    options.limit_bytes = 64 << 10;
    allot::heap heap(options);
    std::vector<std::string> seen;
    std::list<int, allot::allocator<int>> values{allot::allocator<int>(heap)};
    bool is_thrown = false;
    try {
        for (int i = 0; i < 100000; i++) {
            values.push_back(i);
        }
    } catch (const std::bad_alloc &) {
        is_thrown = true;
    }
    CHECK(is_thrown);
    int expected = 0;
    for (int value : values) {
        CHECK_INT(value, ==, expected++);
    }
    CHECK(stats_of(heap).live_bytes <= options.limit_bytes);
    bool is_too_long = false;
    try {
        allot::allocator<wide>(heap).allocate(SIZE_MAX / 2);
    } catch (const std::bad_array_new_length &) {
        is_too_long = true;
    }
    CHECK(is_too_long);
}

static void senseless_options_throw_what_errno_says() {
    allot_heap_options options = allot::heap_options();
    options.limit_bytes = 1;
    options.reserve_bytes = 1 << 20;
    int code = 0;
    try {
        allot::heap heap(options);
    } catch (const std::system_error &error) {
        code = error.code().value();
    }
    CHECK_INT(code, ==, ERANGE);
}

static void heaps_move_and_pass_on() {
    allot::heap heap;
    void *block = allot_heap_malloc(heap.get(), 100);
    allot::heap other(std::move(heap));
    CHECK(is_of(block, other) && heap.get() == nullptr);
    heap = std::move(other);
    CHECK(is_of(block, heap));
    CHECK(heap.disown() && !heap.disown() && heap.adopt());
}

static const check_case cases[] = {
    CHECK_CASE(pmr_containers_take_from_the_heap_and_give_back),
    CHECK_CASE(containers_with_the_allocator_keep_their_heap_when_moved_or_swapped),
    CHECK_CASE(types_that_are_aligned_beyond_16_stay_aligned),
    CHECK_CASE(a_limit_throws_and_loses_nothing),
    CHECK_CASE(senseless_options_throw_what_errno_says),
    CHECK_CASE(heaps_move_and_pass_on),
};
CHECK_MAIN(cases)
