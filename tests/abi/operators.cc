// operators.cc - operator new and delete in every form, and what happens when memory is short: the
// new_handler is called until it helps, throws or is gone.
#include "../support/api.h"
#include "../support/child.h"

#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t too_large = static_cast<std::size_t>(PTRDIFF_MAX);
constexpr std::size_t limit_bytes = std::size_t(128) << 20;

void every_form_gives_a_block_that_its_delete_takes() {
    for (std::size_t size = 0; size < 200000; size = size < 300 ? size + 1 : size * 3 + 1) {
        void *plain = ::operator new(size);
        CHECK_ALIGNED(plain, size <= 8 ? 8 : 16);
        CHECK_UINT(malloc_usable_size(plain), >=, size);
        ::operator delete(plain);
        ::operator delete(::operator new(size), size);
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](size));
        ::operator delete[](::operator new[](size), size);
        ::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
        // The families mix, as they do in libstdc++.
        std::free(::operator new(size));
        ::operator delete(std::malloc(size));
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete(nullptr, std::size_t(8));
    ::operator delete(nullptr, std::align_val_t(64));
}

void every_aligned_form_is_aligned() {
    for (std::size_t align = 1; align <= 65536; align *= 2) {
        for (std::size_t size = 0; size < 300000; size = size * 3 + 1) {
            std::align_val_t a{align};
            void *block = ::operator new(size, a);
            CHECK_ALIGNED(block, align);
            ::operator delete(block, a);
            block = ::operator new[](size, a);
            CHECK_ALIGNED(block, align);
            ::operator delete[](block, a);
            block = ::operator new(size, a);
            ::operator delete(block, size, a);
            block = ::operator new[](size, a);
            ::operator delete[](block, size, a);
            block = ::operator new(size, a, std::nothrow);
            CHECK_ALIGNED(block, align);
            ::operator delete(block, a, std::nothrow);
            block = ::operator new[](size, a, std::nothrow);
            CHECK_ALIGNED(block, align);
            ::operator delete[](block, a, std::nothrow);
        }
    }
}

template <class Function> void check_throws_bad_alloc(const char *what, Function function) {
    try {
        function();
    } catch (const std::bad_alloc &) {
        return;
    }
    CHECK_FAIL("%s did not throw std::bad_alloc", what);
}

void without_a_handler_bad_alloc_is_thrown() {
    std::size_t size = api_opaque(too_large);
    std::align_val_t align{64};
    check_throws_bad_alloc("new", [&] { ::operator delete(::operator new(size)); });
    check_throws_bad_alloc("new[]", [&] { ::operator delete[](::operator new[](size)); });
    check_throws_bad_alloc("aligned new",
                           [&] { ::operator delete(::operator new(size, align), align); });
    check_throws_bad_alloc("aligned new[]",
                           [&] { ::operator delete[](::operator new[](size, align), align); });
    check_throws_bad_alloc(
        "new char[]", [&] { delete[] static_cast<char *>(api_opaque_pointer(new char[size])); });
    check_throws_bad_alloc("vector", [&] { std::vector<char> bytes(size); });
}

// The stack is unwound through our frames: objects between are destroyed.
void what_lies_between_is_destroyed() {
    struct flag {
        bool *is_set;
        ~flag() {
            *is_set = true;
        }
    };
    bool is_destroyed = false;
    check_throws_bad_alloc("new", [&] {
        flag guard{&is_destroyed};
        ::operator delete(::operator new(api_opaque(too_large)));
    });
    CHECK(is_destroyed);
}

void nothrow_forms_return_null() {
    std::size_t size = api_opaque(too_large);
    std::align_val_t align{64};
    CHECK_PTR(::operator new(size, std::nothrow), ==, nullptr);
    CHECK_PTR(::operator new[](size, std::nothrow), ==, nullptr);
    CHECK_PTR(::operator new(size, align, std::nothrow), ==, nullptr);
    CHECK_PTR(::operator new[](size, align, std::nothrow), ==, nullptr);
    CHECK_PTR(::operator new(api_opaque(SIZE_MAX), std::nothrow), ==, nullptr);
    CHECK_PTR(::operator new(api_opaque(SIZE_MAX), align, std::nothrow), ==, nullptr);
}

int handler_calls;

void handler_that_gives_up() {
    handler_calls++;
    if (handler_calls == 3) {
        std::set_new_handler(nullptr);
    }
}

void the_handler_is_called_until_there_is_none() {
    std::size_t size = api_opaque(too_large);
    std::align_val_t align{64};
    auto arm = [] {
        handler_calls = 0;
        std::set_new_handler(handler_that_gives_up);
    };
    arm();
    check_throws_bad_alloc("new", [&] { ::operator delete(::operator new(size)); });
    CHECK_INT(handler_calls, ==, 3);
    arm();
    check_throws_bad_alloc("new[]", [&] { ::operator delete[](::operator new[](size)); });
    CHECK_INT(handler_calls, ==, 3);
    arm();
    check_throws_bad_alloc("aligned new",
                           [&] { ::operator delete(::operator new(size, align), align); });
    CHECK_INT(handler_calls, ==, 3);
    arm();
    CHECK_PTR(::operator new(size, std::nothrow), ==, nullptr);
    CHECK_INT(handler_calls, ==, 3);
    arm();
    CHECK_PTR(::operator new[](size, align, std::nothrow), ==, nullptr);
    CHECK_INT(handler_calls, ==, 3);
}

struct own_error : std::bad_alloc {};

void handler_that_throws() {
    handler_calls++;
    throw own_error();
}

void what_the_handler_throws_arrives() {
    std::set_new_handler(handler_that_throws);
    handler_calls = 0;
    bool is_caught = false;
    try {
        ::operator delete(::operator new(api_opaque(too_large)));
    } catch (const own_error &) {
        is_caught = true;
    }
    std::set_new_handler(nullptr);
    CHECK(is_caught);
    CHECK_INT(handler_calls, ==, 1);
}

// [new.delete.single]: the nothrow form returns null when the ordinary one would throw.
void nothrow_returns_null_when_the_handler_throws() {
    std::set_new_handler(handler_that_throws);
    handler_calls = 0;
    void *block = ::operator new(api_opaque(too_large), std::nothrow);
    void *array = ::operator new[](api_opaque(too_large), std::align_val_t(64), std::nothrow);
    std::set_new_handler(nullptr);
    CHECK_PTR(block, ==, nullptr);
    CHECK_PTR(array, ==, nullptr);
    CHECK_INT(handler_calls, ==, 2);
}

// ---- under a limit of address space --------------------------------------------

struct node {
    node *next;
};
node *reserve;

void handler_that_frees() {
    handler_calls++;
    if (!reserve) {
        std::set_new_handler(nullptr);
        return;
    }
    for (int i = 0; i < 16 && reserve; i++) {
        node *next = reserve->next;
        std::free(reserve);
        reserve = next;
    }
}

void a_handler_that_frees_memory_lets_new_succeed() {
    for (;;) {
        auto *block = static_cast<node *>(std::malloc(1 << 20));
        if (!block) {
            break;
        }
        block->next = reserve;
        reserve = block;
    }
    CHECK(reserve != nullptr);
    handler_calls = 0;
    std::set_new_handler(handler_that_frees);
    std::size_t size = std::size_t(8) << 20;
    char *first = new char[size];
    first[0] = first[size - 1] = 1;
    CHECK_INT(handler_calls, >=, 1);
    void *second = ::operator new(size, std::align_val_t(4096), std::nothrow);
    CHECK_ALIGNED(second, 4096);
    std::set_new_handler(nullptr);
    delete[] first;
    ::operator delete(second, std::align_val_t(4096));
    while (reserve) {
        node *next = reserve->next;
        std::free(reserve);
        reserve = next;
    }
}

void containers_survive_the_end_of_memory() {
    std::vector<std::unique_ptr<std::string>> strings;
    bool is_thrown = false;
    try {
        for (;;) {
            strings.push_back(std::make_unique<std::string>(5000, 'x'));
        }
    } catch (const std::bad_alloc &) {
        is_thrown = true;
    }
    CHECK(is_thrown);
    CHECK_UINT(strings.size(), >, 1000);
    for (const auto &text : strings) {
        CHECK_INT((*text)[4999], ==, 'x');
    }
    strings.clear();
    std::vector<char> again(std::size_t(16) << 20);
    CHECK_INT(again.back(), ==, 0);
}

const check_case cases[] = {
    CHECK_CASE(every_form_gives_a_block_that_its_delete_takes),
    CHECK_CASE(every_aligned_form_is_aligned),
    CHECK_CASE(without_a_handler_bad_alloc_is_thrown),
    CHECK_CASE(what_lies_between_is_destroyed),
    CHECK_CASE(nothrow_forms_return_null),
    CHECK_CASE(the_handler_is_called_until_there_is_none),
    CHECK_CASE(what_the_handler_throws_arrives),
    CHECK_CASE(nothrow_returns_null_when_the_handler_throws),
};

const check_case limited_cases[] = {
    CHECK_CASE(a_handler_that_frees_memory_lets_new_succeed),
    CHECK_CASE(containers_survive_the_end_of_memory),
};

}  // namespace

int main(int argc, char **argv) {
    if (argc == 3 && std::strcmp(argv[1], "--limited") == 0) {
        return child_main_limited(limited_cases, 2, argv);
    }
    int result = check_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
    for (std::size_t i = 0; i < 2 && argc == 1; i++) {
        static child_result child;
        char flag[] = "--limited";
        char *arguments[] = {argv[0], flag, const_cast<char *>(limited_cases[i].name), nullptr};
        child_run(&child, arguments, limit_bytes);
        CHILD_CHECK_SILENT(&child);
        std::printf("ok  %s\n", limited_cases[i].name);
    }
    return result;
}
