// fault.c - runs faults in children and compares what they say (see fault.h).
#include "fault.h"

#include <sys/mman.h>

static const char *const modes[] = {"abort", "warn", "ignore"};
#define MODE_COUNT (sizeof(modes) / sizeof(modes[0]))

// Shared with the child, which alone knows the addresses.
static struct shared {
    char line[512];
    bool is_survived;
} * shared;

static const char *mode;

void fault_expect(const char *format, ...) {
    va_list arguments;
    char text[256];
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(shared->line, sizeof(shared->line), "allot: error: %s\n", text);
}

void fault_settle(void) {
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
}

void *fault_block(size_t size_bytes) {
    void *block = api_malloc(size_bytes);
    CHECK_PTR(block, !=, NULL);
    memset(block, 0x11, size_bytes);
    return block;
}

/// After a fault that was survived, no two blocks may be the same.
static void check_heap_works(void) {
    static const size_t sizes[] = {16, 40, 48, 100, 1000, 5000, 65536, 1 << 20};
    enum { COUNT = 300 };
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t count = sizes[s] > 10000 ? 8 : COUNT;
        unsigned *blocks[COUNT];
        for (size_t i = 0; i < count; i++) {
            blocks[i] = (unsigned *)fault_block(sizes[s]);
            blocks[i][0] = (unsigned)i;
        }
        for (size_t i = 0; i < count; i++) {
            CHECK_UINT(blocks[i][0], ==, i);
            api_free(blocks[i]);
        }
    }
}

static void run_in_child(void *argument) {
    const struct fault *fault = (const struct fault *)argument;
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_set("misuse", mode));
    fault->commit();
    fault_settle();
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.misuse_count, ==, 1);
    check_heap_works();
    fault_settle();
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.misuse_count, ==, 1);
    shared->is_survived = true;
    _exit(0);
}

static void judge(const struct fault *fault) {
    static struct child_result result;
    bool is_fatal = strcmp(mode, "abort") == 0;
    bool is_silent = strcmp(mode, "ignore") == 0;
    memset(shared, 0, sizeof(*shared));
    child_call(&result, run_in_child, (void *)fault);
    const char *line = is_silent ? "" : shared->line;
    if (strcmp(result.text, line) != 0) {
        CHECK_FAIL("misuse=%s: stderr of %s is wrong:\n  have \"%s\"\n  want \"%s\"\n"
                   "  wait status 0x%x",
                   mode, fault->name, result.text, line, (unsigned)result.status);
    }
    if (is_fatal && !(WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGABRT)) {
        CHECK_FAIL("misuse=abort: %s ended with wait status 0x%x, not by SIGABRT", fault->name,
                   (unsigned)result.status);
    }
    if (!is_fatal && (result.status != 0 || !shared->is_survived)) {
        CHECK_FAIL("misuse=%s: %s ended with wait status 0x%x, not by exit(0)", mode, fault->name,
                   (unsigned)result.status);
    }
}

int fault_main(const struct fault *faults, size_t fault_count, int argc, char **argv) {
    check_state.program = argv[0];
    size_t run_count = 0;
    shared = (struct shared *)mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    for (size_t i = 0; i < fault_count; i++) {
        if (argc > 1 && strcmp(argv[1], faults[i].name) != 0) {
            continue;
        }
        check_state.case_name = faults[i].name;
        for (size_t m = 0; m < MODE_COUNT; m++) {
            mode = modes[m];
            judge(&faults[i]);
        }
        printf("ok  %s: %s", faults[i].name, shared->line);
        fflush(stdout);
        run_count++;
    }
    if (run_count == 0) {
        check_say("%s: no fault is named %s\n", argv[0], argc > 1 ? argv[1] : "");
        return 1;
    }
    return 0;
}
