// faults.c - one function per fault. Each ends by SIGABRT after one line:
//
//   allot: error: double free of 0x7f.. (48-byte block)
//   allot: error: free of 0x7f.., which lies 8 bytes inside a 48-byte block at 0x7f..
//   allot: error: free of 0x7f.., which was not allocated here
//   allot: error: free_sized of 0x7f.. with 100 bytes, but the block has 48
//   allot: error: realloc of 0x7f.., ...       and usable_size of 0x7f.., ...
#include "fault.h"

#include <pthread.h>
#include <sys/mman.h>

static void run_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, function, argument), ==, 0);
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

/// A pointer `offset` bytes beyond another, out of the compiler's sight.
static void *beyond(void *pointer, size_t offset) {
    return api_opaque_pointer((char *)pointer + offset);
}

static void expect_double_free(void *block) {
    fault_expect("double free of %p (%zu-byte block)", block, api_usable_size(block));
}

static void expect_inside(const char *verb, void *block, size_t offset) {
    fault_expect("%s of %p, which lies %zu bytes inside a %zu-byte block at %p", verb,
                 beyond(block, offset), offset, api_usable_size(block), block);
}

static void expect_foreign(const char *verb, void *pointer) {
    fault_expect("%s of %p, which was not allocated here", verb, pointer);
}

// ---- double free -------------------------------------------------------------

static void double_free_at_once(void) {
    void *block = fault_block(48);
    expect_double_free(block);
    api_free(block);
    api_free(api_opaque_pointer(block));
}

static void double_free_of_the_smallest_block(void) {
    void *block = api_malloc(0);
    expect_double_free(block);
    api_free(block);
    api_free(api_opaque_pointer(block));
}

static void double_free_of_a_page(void) {
    void *block = fault_block(4096);
    expect_double_free(block);
    api_free(block);
    api_free(api_opaque_pointer(block));
}

static void double_free_of_an_aligned_block(void) {
    void *block = api_aligned(4096, 100);
    expect_double_free(block);
    api_free(block);
    api_free(api_opaque_pointer(block));
}

/// Free a block, then `between` others, then the block again.
static void double_free_after(size_t between, size_t block_size, size_t other_size) {
    static void *others[2000];
    for (size_t i = 0; i < between; i++) {
        others[i] = fault_block(other_size);
    }
    void *block = fault_block(block_size);
    expect_double_free(block);
    api_free(block);
    for (size_t i = 0; i < between; i++) {
        api_free(others[i]);
    }
    api_free(api_opaque_pointer(block));
    fault_settle();
}

static void double_free_after_one_other(void) {
    double_free_after(1, 48, 48);
}

static void double_free_after_ten_others(void) {
    double_free_after(10, 48, 48);
}

static void double_free_after_a_hundred_others(void) {
    double_free_after(100, 48, 48);
}

static void double_free_after_two_thousand_others(void) {
    double_free_after(2000, 48, 48);
}

static void double_free_after_frees_of_other_sizes(void) {
    double_free_after(50, 48, 200);
}

static void double_free_of_a_kilobyte_after_others(void) {
    double_free_after(30, 1024, 1024);
}

static void double_free_of_a_cached_large_block_after_others(void) {
    double_free_after(3, 20000, 20000);
}

// Without any purge: the frees that a program does anyway bring it to light.
static void double_free_found_by_further_frees(void) {
    enum { COUNT = 20000 };
    static void *others[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        others[i] = fault_block(48);
    }
    void *block = fault_block(48);
    expect_double_free(block);
    api_free(block);
    api_free(others[0]);
    api_free(api_opaque_pointer(block));
    for (size_t i = 1; i < COUNT; i++) {
        api_free(others[i]);
    }
}

static void *free_in_a_thread(void *block) {
    api_free(block);
    return NULL;
}

static void double_free_of_what_an_ended_thread_freed(void) {
    void *block = fault_block(48);
    expect_double_free(block);
    run_thread(free_in_a_thread, block);
    api_free(api_opaque_pointer(block));
    fault_settle();
}

static void double_free_by_another_thread(void) {
    void *block = fault_block(48);
    expect_double_free(block);
    api_free(block);
    fault_settle();
    run_thread(free_in_a_thread, api_opaque_pointer(block));
}

static void double_free_by_two_threads_found_when_the_second_flushes(void) {
    void *block = fault_block(100);
    expect_double_free(block);
    api_free(block);  // stays in this thread's cache
    run_thread(free_in_a_thread, api_opaque_pointer(block));
    fault_settle();
}

static void *free_twice_and_end(void *block) {
    void *other = api_malloc(48);
    api_free(block);
    api_free(other);
    api_free(api_opaque_pointer(block));
    return NULL;
}

static void double_free_found_when_the_thread_ends(void) {
    void *block = fault_block(48);
    expect_double_free(block);
    run_thread(free_twice_and_end, block);
}

static void double_free_of_a_block_that_realloc_moved(void) {
    void *block = fault_block(48);
    expect_double_free(block);
    void *moved = api_realloc(block, 5000);
    CHECK_PTR(moved, !=, block);
    api_free(api_opaque_pointer(block));
    fault_settle();
}

// ---- large blocks --------------------------------------------------------------

static void free_large_twice(size_t size) {
    void *block = fault_block(size);
    void *neighbour = fault_block(size);
    expect_double_free(block);
    api_free(block);
    api_free(api_opaque_pointer(block));
    api_free(neighbour);
}

static void double_free_of_64_kib(void) {
    free_large_twice(65536);
}

static void double_free_of_200_kib(void) {
    free_large_twice(200 << 10);
}

static void double_free_of_a_megabyte(void) {
    free_large_twice(1 << 20);
}

static void double_free_of_32_megabytes(void) {
    free_large_twice(32 << 20);
}

// ---- pointers into blocks --------------------------------------------------------

static void free_inside(size_t size, size_t offset) {
    void *block = fault_block(size);
    expect_inside("free", block, offset);
    api_free(beyond(block, offset));
    fault_settle();
    api_free(block);
}

static void free_of_the_second_word(void) {
    free_inside(48, 8);
}

static void free_of_an_odd_address(void) {
    free_inside(48, 1);
}

static void free_of_an_aligned_address_inside(void) {
    free_inside(1000, 512);
}

static void free_of_the_last_byte(void) {
    free_inside(48, 47);
}

static void free_inside_a_page(void) {
    free_inside(4096, 16);
}

static void free_inside_16_kib(void) {
    free_inside(16384, 4096);
}

static void free_of_the_second_page_of_a_large_block(void) {
    free_inside(65536, 4096);
}

static void free_of_an_odd_address_in_a_large_block(void) {
    free_inside(1 << 20, 1);
}

static void free_near_the_start_of_a_large_block(void) {
    free_inside(1 << 20, 16);
}

static void free_in_the_middle_of_a_large_block(void) {
    free_inside(5 << 20, 3 << 20);
}

// ---- pointers from elsewhere -----------------------------------------------------

static void free_of_a_variable_on_the_stack(void) {
    char bytes[64] = "on the stack";
    void *pointer = api_opaque_pointer(bytes);
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void free_of_a_static_variable(void) {
    static char bytes[64] __attribute__((aligned(16)));
    void *pointer = api_opaque_pointer(bytes);
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void free_of_a_text(void) {
    void *pointer = api_opaque_pointer("a text");
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void free_of_a_function(void) {
    void *pointer = api_opaque_pointer((const void *)(uintptr_t)free_of_a_text);
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void free_of_a_mapping(void) {
    void *mapping = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapping != MAP_FAILED);
    expect_foreign("free", mapping);
    api_free(mapping);
    fault_settle();
    memset(mapping, 1, 1 << 20);  // still there
}

static void free_of_number(uintptr_t number) {
    void *pointer = api_opaque_pointer((void *)number);
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void free_of_one(void) {
    free_of_number(1);
}

static void free_of_sixteen(void) {
    free_of_number(16);
}

static void free_of_a_page_number(void) {
    free_of_number(4096);
}

static void free_of_0xdeadbeefdeadbeef(void) {
    free_of_number(UINT64_C(0xdeadbeefdeadbeef));
}

static void free_of_0xdeadbeef(void) {
    free_of_number(0xdeadbeef);
}

static void free_of_the_last_address(void) {
    free_of_number(UINTPTR_MAX);
}

static void free_of_the_end_of_user_space(void) {
    free_of_number(UINT64_C(0x7fffffffffff));
}

static void free_of_an_address_of_the_kernel(void) {
    free_of_number(UINT64_C(0xffff800000000000));
}

/// A tagged pointer: right in the low bits, wrong in the high ones.
static void free_of_a_block_with_a_bit_set(void) {
    void *block = fault_block(48);
    uintptr_t number = (uintptr_t)block | (uintptr_t)1 << 56;
    free_of_number(number);
    api_free(block);
}

/// From /proc/self/maps: the address behind the last of the adjoining mappings around `inside`.
static uintptr_t end_of_region(uintptr_t inside) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    uintptr_t end = 0;
    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2 &&
            ((from <= inside && inside < to) || from == end)) {
            end = to;
        }
    }
    fclose(maps);
    CHECK(end > inside);
    return end;
}

static void free_of_the_byte_behind_the_region(void) {
    void *block = fault_block(48);
    free_of_number(end_of_region((uintptr_t)block));
    api_free(block);
}

static void free_of_the_last_granule_of_the_region(void) {
    void *block = fault_block(48);
    uintptr_t end = end_of_region((uintptr_t)block);
    free_of_number(end - 4096);
    api_free(block);
}

/// Address space that was never handed out, or handed out and taken back.
static void free_of_a_block_whose_slab_is_gone(void) {
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fault_block(1792);
    }
    for (size_t i = 0; i < COUNT; i++) {
        api_free(blocks[i]);
    }
    fault_settle();
    void *pointer = blocks[COUNT / 2];
    expect_foreign("free", pointer);
    api_free(api_opaque_pointer(pointer));
    fault_settle();
}

static int compare_pointers(const void *left, const void *right) {
    uintptr_t a = *(const uintptr_t *)left;
    uintptr_t b = *(const uintptr_t *)right;
    return a < b ? -1 : a > b;
}

/// Memory between the last block of one row of equal blocks and the first of the next, where a
/// further block would start if it had room.
static void *between_blocks(void) {
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    for (size_t size = 600; size < 8000; size += 500) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = fault_block(size);
        }
        size_t usable = api_usable_size(blocks[0]);
        qsort(blocks, COUNT, sizeof(blocks[0]), compare_pointers);
        for (size_t i = 1; i < COUNT; i++) {
            size_t distance = (uintptr_t)blocks[i] - (uintptr_t)blocks[i - 1];
            if (distance > usable && distance < 2 * usable) {
                return beyond(blocks[i - 1], usable);
            }
        }
    }
    CHECK_FAIL("no blocks with a gap between were found");
}

static void free_between_blocks(void) {
    void *pointer = between_blocks();
    expect_foreign("free", pointer);
    api_free(pointer);
    fault_settle();
}

static void realloc_between_blocks(void) {
    void *pointer = between_blocks();
    expect_foreign("realloc", pointer);
    CHECK_PTR(api_realloc(pointer, 10), ==, NULL);
}

static void usable_size_between_blocks(void) {
    void *pointer = between_blocks();
    expect_foreign("usable_size", pointer);
    CHECK_UINT(api_usable_size(pointer), ==, 0);
}

// ---- wrong sizes -----------------------------------------------------------------

static void free_with_size(size_t size, size_t wrong) {
    void *block = fault_block(size);
    fault_expect("free_sized of %p with %zu bytes, but the block has %zu", block, wrong,
                 api_usable_size(block));
    api_free_sized(block, wrong);
    fault_settle();
}

static void free_sized_with_too_many_bytes(void) {
    free_with_size(48, 100);
}

static void free_sized_with_one_byte_too_many(void) {
    free_with_size(48, 49);
}

static void free_sized_with_too_few_bytes(void) {
    free_with_size(48, 10);
}

static void free_sized_with_far_too_many_bytes(void) {
    free_with_size(48, 1 << 20);
}

static void free_sized_with_an_absurd_size(void) {
    free_with_size(48, SIZE_MAX);
}

static void free_sized_of_a_large_block_with_twice_its_size(void) {
    free_with_size(1 << 20, 2 << 20);
}

static void free_sized_of_a_large_block_with_a_small_size(void) {
    free_with_size(1 << 20, 100);
}

static void free_sized_of_a_large_block_with_half_its_size(void) {
    free_with_size(4 << 20, 2 << 20);
}

static void free_aligned_sized_with_too_many_bytes(void) {
    void *block = api_aligned(64, 64);
    CHECK_UINT(api_usable_size(block), <, 5000);
    fault_expect("free_sized of %p with 5000 bytes, but the block has %zu", block,
                 api_usable_size(block));
    api_free_aligned_sized(block, 64, 5000);
    fault_settle();
}

#ifndef USE_ALLOT_API
void sized_delete(void *ptr, size_t size_bytes) __asm__("_ZdlPvm");
void sized_array_delete(void *ptr, size_t size_bytes) __asm__("_ZdaPvm");

static void sized_delete_with_the_size_of_another_class(void) {
    void *block = fault_block(200);
    fault_expect("free_sized of %p with 40 bytes, but the block has %zu", block,
                 api_usable_size(block));
    sized_delete(block, 40);
    fault_settle();
}

static void sized_array_delete_with_too_many_bytes(void) {
    void *block = fault_block(200);
    fault_expect("free_sized of %p with 4000 bytes, but the block has %zu", block,
                 api_usable_size(block));
    sized_array_delete(block, 4000);
    fault_settle();
}
#endif

// ---- realloc and usable_size -------------------------------------------------------

static void realloc_of_an_interior_pointer(void) {
    void *block = fault_block(100);
    expect_inside("realloc", block, 16);
    void *result = api_realloc(beyond(block, 16), 200);
    CHECK_PTR(result, ==, NULL);
    api_free(block);
}

static void realloc_inside_a_large_block(void) {
    void *block = fault_block(1 << 20);
    expect_inside("realloc", block, 8192);
    void *result = api_realloc(beyond(block, 8192), 200);
    CHECK_PTR(result, ==, NULL);
    api_free(block);
}

static void realloc_of_a_variable_on_the_stack(void) {
    char bytes[64] = "on the stack";
    void *pointer = api_opaque_pointer(bytes);
    expect_foreign("realloc", pointer);
    CHECK_PTR(api_realloc(pointer, 200), ==, NULL);
}

static void realloc_of_garbage(void) {
    void *pointer = api_opaque_pointer((void *)UINT64_C(0xdeadbeefdeadbeef));
    expect_foreign("realloc", pointer);
    CHECK_PTR(api_realloc(pointer, 200), ==, NULL);
}

static void usable_size_of_an_interior_pointer(void) {
    void *block = fault_block(100);
    expect_inside("usable_size", block, 16);
    CHECK_UINT(api_usable_size(beyond(block, 16)), ==, 0);
    api_free(block);
}

static void usable_size_inside_a_large_block(void) {
    void *block = fault_block(1 << 20);
    expect_inside("usable_size", block, 65536);
    CHECK_UINT(api_usable_size(beyond(block, 65536)), ==, 0);
    api_free(block);
}

static void usable_size_of_a_static_variable(void) {
    static char bytes[64];
    void *pointer = api_opaque_pointer(bytes);
    expect_foreign("usable_size", pointer);
    CHECK_UINT(api_usable_size(pointer), ==, 0);
}

static void usable_size_of_garbage(void) {
    void *pointer = api_opaque_pointer((void *)1);
    expect_foreign("usable_size", pointer);
    CHECK_UINT(api_usable_size(pointer), ==, 0);
}

static const struct fault faults[] = {
    FAULT(double_free_at_once),
    FAULT(double_free_of_the_smallest_block),
    FAULT(double_free_of_a_page),
    FAULT(double_free_of_an_aligned_block),
    FAULT(double_free_after_one_other),
    FAULT(double_free_after_ten_others),
    FAULT(double_free_after_a_hundred_others),
    FAULT(double_free_after_two_thousand_others),
    FAULT(double_free_after_frees_of_other_sizes),
    FAULT(double_free_of_a_kilobyte_after_others),
    FAULT(double_free_of_a_cached_large_block_after_others),
    FAULT(double_free_found_by_further_frees),
    FAULT(double_free_of_what_an_ended_thread_freed),
    FAULT(double_free_by_another_thread),
    FAULT(double_free_by_two_threads_found_when_the_second_flushes),
    FAULT(double_free_found_when_the_thread_ends),
    FAULT(double_free_of_a_block_that_realloc_moved),
    FAULT(double_free_of_64_kib),
    FAULT(double_free_of_200_kib),
    FAULT(double_free_of_a_megabyte),
    FAULT(double_free_of_32_megabytes),
    FAULT(free_of_the_second_word),
    FAULT(free_of_an_odd_address),
    FAULT(free_of_an_aligned_address_inside),
    FAULT(free_of_the_last_byte),
    FAULT(free_inside_a_page),
    FAULT(free_inside_16_kib),
    FAULT(free_of_the_second_page_of_a_large_block),
    FAULT(free_of_an_odd_address_in_a_large_block),
    FAULT(free_near_the_start_of_a_large_block),
    FAULT(free_in_the_middle_of_a_large_block),
    FAULT(free_of_a_variable_on_the_stack),
    FAULT(free_of_a_static_variable),
    FAULT(free_of_a_text),
    FAULT(free_of_a_function),
    FAULT(free_of_a_mapping),
    FAULT(free_of_one),
    FAULT(free_of_sixteen),
    FAULT(free_of_a_page_number),
    FAULT(free_of_0xdeadbeefdeadbeef),
    FAULT(free_of_0xdeadbeef),
    FAULT(free_of_the_last_address),
    FAULT(free_of_the_end_of_user_space),
    FAULT(free_of_an_address_of_the_kernel),
    FAULT(free_of_a_block_with_a_bit_set),
    FAULT(free_of_the_byte_behind_the_region),
    FAULT(free_of_the_last_granule_of_the_region),
    FAULT(free_of_a_block_whose_slab_is_gone),
    FAULT(free_between_blocks),
    FAULT(realloc_between_blocks),
    FAULT(usable_size_between_blocks),
    FAULT(free_sized_with_too_many_bytes),
    FAULT(free_sized_with_one_byte_too_many),
    FAULT(free_sized_with_too_few_bytes),
    FAULT(free_sized_with_far_too_many_bytes),
    FAULT(free_sized_with_an_absurd_size),
    FAULT(free_sized_of_a_large_block_with_twice_its_size),
    FAULT(free_sized_of_a_large_block_with_a_small_size),
    FAULT(free_sized_of_a_large_block_with_half_its_size),
    FAULT(free_aligned_sized_with_too_many_bytes),
#ifndef USE_ALLOT_API
    FAULT(sized_delete_with_the_size_of_another_class),
    FAULT(sized_array_delete_with_too_many_bytes),
#endif
    FAULT(realloc_of_an_interior_pointer),
    FAULT(realloc_inside_a_large_block),
    FAULT(realloc_of_a_variable_on_the_stack),
    FAULT(realloc_of_garbage),
    FAULT(usable_size_of_an_interior_pointer),
    FAULT(usable_size_inside_a_large_block),
    FAULT(usable_size_of_a_static_variable),
    FAULT(usable_size_of_garbage),
};

FAULT_MAIN(faults)
