// symbols.c - every name through which a program can reach its malloc is this library's.
//
// A single missing name is a crash: its caller gets a block from libc that our free then refuses.
#include "../support/check.h"

#include <allot.h>
#include <dlfcn.h>

static const char *const c_names[] = {
    "malloc",        "calloc",         "realloc",    "free",
    "aligned_alloc", "posix_memalign", "memalign",   "valloc",
    "pvalloc",       "reallocarray",   "reallocarr", "malloc_usable_size",
    "malloc_trim",   "mallinfo",       "mallinfo2",  "mallopt",
    "malloc_stats",  "malloc_info",    "free_sized", "free_aligned_sized",
    "cfree",
};

// m = size_t on a 64-bit system.
static const char *const cxx_names[] = {
    "_Znwm",  // operator new
    "_Znam",  // operator new[]
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv",  // operator delete
    "_ZdaPv",  // operator delete[]
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
};

// As programs that were built for jemalloc know them.
static const char *const jemalloc_names[] = {
    "mallocx",
    "rallocx",
    "xallocx",
    "sallocx",
    "nallocx",
    "dallocx",
    "sdallocx",
    "mallctl",
    "mallctlnametomib",
    "mallctlbymib",
    "malloc_stats_print",
    "malloc_conf",
    "malloc_message",
    "get_defrag_hint",
    "je_malloc",
    "je_calloc",
    "je_realloc",
    "je_free",
    "je_aligned_alloc",
    "je_memalign",
    "je_posix_memalign",
    "je_valloc",
    "je_malloc_usable_size",
    "je_mallocx",
    "je_rallocx",
    "je_xallocx",
    "je_sallocx",
    "je_nallocx",
    "je_dallocx",
    "je_sdallocx",
    "je_mallctl",
    "je_mallctlnametomib",
    "je_mallctlbymib",
    "je_malloc_stats_print",
    "je_malloc_conf",
    "je_malloc_message",
    "je_get_defrag_hint",
};

static const char *const allot_names[] = {
    "allot_malloc",
    "allot_calloc",
    "allot_realloc",
    "allot_realloc_zeroed",
    "allot_free",
    "allot_free_sized",
    "allot_free_aligned_sized",
    "allot_aligned",
    "allot_aligned_zeroed",
    "allot_expand",
    "allot_usable_size",
    "allot_good_size",
    "allot_purge",
    "allot_stats",
    "allot_tag_create",
    "allot_tag_create_limited",
    "allot_tag_set_limit",
    "allot_tag_set_grace",
    "allot_tag_malloc",
    "allot_tag_calloc",
    "allot_tag_aligned",
    "allot_tag_realloc",
    "allot_tag_free",
    "allot_tag_enter",
    "allot_tag_leave",
    "allot_tag_of",
    "allot_tag_stats",
    "allot_tag_snapshot",
    "allot_tag_print",
    "allot_site_malloc",
    "allot_site_calloc",
    "allot_site_realloc",
    "allot_site_snapshot",
    "allot_mark",
    "allot_leaks",
    "allot_heap_create",
    "allot_heap_destroy",
    "allot_heap_adopt",
    "allot_heap_disown",
    "allot_heap_malloc",
    "allot_heap_calloc",
    "allot_heap_aligned",
    "allot_heap_realloc",
    "allot_heap_realloc_sized",
    "allot_heap_free",
    "allot_heap_free_sized",
    "allot_heap_trim",
    "allot_heap_set_limit",
    "allot_heap_set_grace",
    "allot_heap_stats",
    "allot_heap_walk",
    "allot_heap_of",
    "allot_pool_create",
    "allot_pool_destroy",
    "allot_pool_take",
    "allot_pool_give",
    "allot_pool_take_many",
    "allot_pool_give_many",
    "allot_pool_trim",
    "allot_pool_stats",
    "allot_set",
    "allot_get",
    "allot_is_active",
    "allot_version",
    "allot_range_create",
    "allot_range_destroy",
    "allot_range_alloc",
    "allot_range_alloc_at",
    "allot_range_free",
    "allot_range_grow",
    "allot_range_size",
    "allot_range_largest",
    "allot_range_free_bytes",
    "allot_range_count",
    "allot_range_metadata_bytes",
    "allot_range_walk",
    "allot_range_validate",
    "allot_region_pool_create",
    "allot_region_pool_open",
    "allot_region_pool_destroy",
    "allot_region_pool_malloc",
    "allot_region_pool_calloc",
    "allot_region_pool_free",
    "allot_region_pool_free_sized",
    "allot_region_pool_usable_size",
    "allot_region_pool_offset",
    "allot_region_pool_at",
    "allot_region_pool_set_root",
    "allot_region_pool_root",
    "allot_region_pool_stats",
    "allot_region_pool_walk",
    "allot_region_pool_validate",
    "allot_check",
    "allot_guard_report",
    "allot_defrag_hint",
    "allot_pressure",
    "allot_buffer_create",
    "allot_buffer_destroy",
    "allot_buffer_malloc",
    "allot_buffer_malloc_some",
    "allot_buffer_free",
    "allot_buffer_free_rest",
    "allot_buffer_retain",
    "allot_buffer_borrow",
    "allot_buffer_read",
    "allot_buffer_recycle",
    "allot_buffer_trim",
    "allot_buffer_walk",
    "allot_buffer_validate",
    "allot_buffer_get_stats",
    "allot_slices_create",
    "allot_slices_destroy",
    "allot_slices_append",
    "allot_slices_bytes",
    "allot_slices_iovec",
    "allot_slices_consume",
    "allot_slices_move",
    "allot_slices_read",
    "allot_slices_write",
};

static const char *file_of(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    if (!address) {
        CHECK_FAIL("%s is not defined by anything in this process", name);
    }
    Dl_info info;
    CHECK(dladdr(address, &info) != 0);
    return info.dli_fname;
}

static void check_all(const char *const *names, size_t count) {
    const char *library = file_of("allot_version");
    for (size_t i = 0; i < count; i++) {
        const char *file = file_of(names[i]);
        if (strcmp(file, library) != 0) {
            CHECK_FAIL("%s is the one of %s, not of %s", names[i], file, library);
        }
    }
}

static void every_c_name_is_this_librarys(void) {
    check_all(c_names, sizeof(c_names) / sizeof(c_names[0]));
}

static void every_cxx_operator_is_this_librarys(void) {
    check_all(cxx_names, sizeof(cxx_names) / sizeof(cxx_names[0]));
}

static void every_name_of_jemalloc_is_this_librarys(void) {
    check_all(jemalloc_names, sizeof(jemalloc_names) / sizeof(jemalloc_names[0]));
}

static void every_allot_name_is_exported(void) {
    check_all(allot_names, sizeof(allot_names) / sizeof(allot_names[0]));
}

static void the_library_knows_that_it_is_in_force(void) {
    CHECK(allot_is_active());
}

static const struct check_case cases[] = {
    CHECK_CASE(every_c_name_is_this_librarys),
    CHECK_CASE(every_cxx_operator_is_this_librarys),
    CHECK_CASE(every_name_of_jemalloc_is_this_librarys),
    CHECK_CASE(every_allot_name_is_exported),
    CHECK_CASE(the_library_knows_that_it_is_in_force),
};

CHECK_MAIN(cases)
