// refused.c - from some moment on the kernel refuses system calls to this process.
//
// A seccomp filter cannot be taken back, so each case is the end of its process;
// recovery is tested with limits in tests/life/limits.c.
#include "case.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { CALLS_MOST = 8 };

// From here on the calls fail with `error`.
static void refuse(int error, const long *calls, size_t calls_count) {
    struct sock_filter filter[CALLS_MOST + 3];
    size_t n = 0;

    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < calls_count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i],
                                                   (uint8_t)(calls_count - i), 0);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error);
    struct sock_fprog program = {(unsigned short)n, filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        case_skip("seccomp filters cannot be used here");
    }
}

#define REFUSE(error, ...)                                                          \
    do {                                                                            \
        static const long refused_calls[] = {__VA_ARGS__};                          \
        refuse(error, refused_calls, sizeof refused_calls / sizeof *refused_calls); \
    } while (0)

enum { LISTED = 20000 };
static void *listed[LISTED];
static size_t listed_bytes[LISTED];

static void take_list(uint64_t seed) {
    for (size_t i = 0; i < LISTED; i++) {
        listed_bytes[i] = 1 + case_random(&seed) % (i % 500 == 0 ? 400000 : 1500);
        listed[i] = case_take(listed_bytes[i]);
    }
}

static void give_list(void) {
    for (size_t i = 0; i < LISTED; i++) {
        case_give(listed[i], listed_bytes[i]);
        listed[i] = NULL;
    }
}

static void *tolerant_thread(void *seed) {
    uint64_t state = (uintptr_t)seed;
    void *blocks[64] = {NULL};

    for (int i = 0; i < 20000; i++) {
        size_t at = case_random(&state) % 64;
        size_t bytes = 1 + case_random(&state) % (i % 100 == 0 ? 500000 : 2000);
        free(blocks[at]);
        errno = 0;
        blocks[at] = malloc(bytes);
        CHECK(blocks[at] != NULL || errno == ENOMEM, "malloc(%zu): errno %d", bytes, errno);
        if (blocks[at] != NULL) {
            memset(blocks[at], 1, bytes);
        }
    }
    for (int i = 0; i < 64; i++) {
        free(blocks[i]);
    }
    return NULL;
}

// Until nothing is left; then old blocks are whole and what is freed can be had again.
static void demand_null_and_old_blocks(void) {
    enum { EXTRA = 4000 };
    static void *extra[EXTRA];
    size_t count = 0;

    errno = 0;
    void *huge = malloc((size_t)1 << 45);
    CHECK(huge == NULL && errno == ENOMEM, "32 TiB gave %p, errno %d", huge, errno);
    for (; count < EXTRA; count++) {
        errno = 0;
        extra[count] = malloc(20 * MIB);
        if (extra[count] == NULL) {
            CHECK(errno == ENOMEM, "errno is %d", errno);
            break;
        }
        memset(extra[count], 1, 4096);
    }
    while (count > 0) {
        free(extra[--count]);
    }
    tolerant_thread((void *)(uintptr_t)5);
    give_list();
    tolerant_thread((void *)(uintptr_t)6);
    malloc_trim(0);
    for (size_t bytes = 1; bytes <= 1000; bytes++) {
        void *block = malloc(bytes);
        CHECK(block == NULL || malloc_usable_size(block) >= bytes, "%zu", bytes);
        free(block);
    }
    exit(0);  // handlers and destructors run under refusal as well
}

CASE(when_every_memory_call_is_refused_malloc_says_null_and_old_blocks_are_whole) {
    take_list(1);
    REFUSE(ENOMEM, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap, SYS_brk);
    demand_null_and_old_blocks();
}

CASE(when_mmap_is_refused_malloc_says_null_and_old_blocks_are_whole) {
    take_list(2);
    REFUSE(ENOMEM, SYS_mmap, SYS_brk);
    demand_null_and_old_blocks();
}

CASE(when_mprotect_is_refused_malloc_says_null_and_old_blocks_are_whole) {
    take_list(3);
    REFUSE(ENOMEM, SYS_mprotect, SYS_mmap, SYS_brk);
    demand_null_and_old_blocks();
}

// Nothing may be missed but the memory that cannot go back.
CASE(when_madvise_is_refused_the_allocator_works) {
    take_list(4);
    REFUSE(EAGAIN, SYS_madvise);
    case_churn(1, 20000);
    give_list();
    for (size_t bytes = MIB; bytes <= 100 * MIB; bytes *= 2) {
        unsigned char *block = calloc(1, bytes);
        CHECK(block != NULL, "calloc(%zu): %s", bytes, strerror(errno));
        for (size_t at = 0; at < bytes; at += 512) {
            CHECK(block[at] == 0, "calloc(%zu): byte %zu is %d", bytes, at, block[at]);
        }
        memset(block, 0xcc, bytes);
        free(block);
    }
    malloc_trim(0);
    // Dirty memory that the kernel would not take is not zero, whatever we asked.
    for (int i = 0; i < 50; i++) {
        unsigned char *block = calloc(1, 3 * MIB);
        CHECK(block != NULL, "calloc: %s", strerror(errno));
        for (size_t at = 0; at < 3 * MIB; at += 512) {
            CHECK(block[at] == 0, "byte %zu is %d", at, block[at]);
        }
        memset(block, 0xdd, 3 * MIB);
        free(block);
        malloc_trim(0);
    }
    case_churn(2, 20000);
}

CASE(when_madvise_is_forbidden_the_allocator_works) {
    REFUSE(EPERM, SYS_madvise);
    case_churn(1, 20000);
    take_list(5);
    give_list();
    case_churn(2, 20000);
}

CASE(when_munmap_is_refused_the_allocator_works) {
    take_list(6);
    REFUSE(ENOMEM, SYS_munmap);
    give_list();
    for (int i = 0; i < 50; i++) {
        case_give(case_take(5 * MIB), 5 * MIB);
    }
    case_churn(3, 20000);
}

CASE(when_mremap_is_refused_realloc_copies) {
    REFUSE(ENOMEM, SYS_mremap);
    unsigned char *block = malloc(8 * MIB);
    CHECK(block != NULL, "malloc");
    memset(block, 0x42, 8 * MIB);
    for (size_t bytes = 16 * MIB; bytes <= 256 * MIB; bytes *= 2) {
        void *blocker = malloc(bytes / 2);
        block = realloc(block, bytes);
        CHECK(block != NULL, "realloc(%zu): %s", bytes, strerror(errno));
        for (size_t at = 0; at < 8 * MIB; at += 512) {
            CHECK(block[at] == 0x42, "byte %zu is %d", at, block[at]);
        }
        free(blocker);
    }
    free(block);
}

CASE(when_everything_but_memory_is_refused_the_allocator_works) {
    REFUSE(EPERM, SYS_openat, SYS_open, SYS_getrandom, SYS_sched_getaffinity, SYS_sysinfo,
           SYS_prctl, SYS_clock_gettime, SYS_membarrier, SYS_mincore);
    case_churn(4, 20000);
    case_give(case_take(50 * MIB), 50 * MIB);
    malloc_trim(0);
    mallinfo2();
}

CASE(threads_under_refusal_get_null_and_go_on) {
    pthread_t threads[4];
    take_list(7);
    // Stacks are kept by libc, so that threads can be made without mmap.
    for (uintptr_t i = 0; i < 4; i++) {
        threads[i] = case_thread(tolerant_thread, (void *)(i + 1));
    }
    for (int i = 0; i < 4; i++) {
        case_join(threads[i]);
    }
    REFUSE(ENOMEM, SYS_mmap, SYS_munmap, SYS_madvise, SYS_mremap, SYS_brk);
    int count = 0;
    while (count < 4 && pthread_create(&threads[count], NULL, tolerant_thread,
                                       (void *)(uintptr_t)(count + 9)) == 0) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        case_join(threads[i]);
    }
    give_list();
}

CASE(strict_seccomp_leaves_what_the_process_has) {
    // read, write, _exit and sigreturn are all that is allowed; the rest kills.
    for (int round = 0; round < 3; round++) {
        void *blocks[200];
        for (size_t i = 0; i < 200; i++) {
            blocks[i] = case_take(1 + i * 5);
        }
        for (size_t i = 0; i < 200; i++) {
            case_give(blocks[i], 1 + i * 5);
        }
    }
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0) {
        case_skip("strict seccomp cannot be used here");
    }
    for (int round = 0; round < 100; round++) {
        void *blocks[100];
        for (size_t i = 0; i < 100; i++) {
            blocks[i] = malloc(1 + i * 5);
            if (blocks[i] == NULL) {
                syscall(SYS_exit, 1);
            }
        }
        for (size_t i = 0; i < 100; i++) {
            free(blocks[i]);
        }
    }
    syscall(SYS_exit, 0);
}
