// info.c - the functions that report: mallinfo, mallinfo2, malloc_info, malloc_stats, and those
// that tune: malloc_trim, mallopt. They have to be true, not merely present.
#include "../support/check.h"
#include "../support/memory.h"

#include <malloc.h>

#define MANY 300000
#define MANY_SIZE 112  // a class of its own: no rounding
#define MANY_BYTES ((size_t)MANY * MANY_SIZE)

static void *many[MANY];

static void take_many(void) {
    for (size_t i = 0; i < MANY; i++) {
        many[i] = malloc(MANY_SIZE);
        CHECK_PTR(many[i], !=, NULL);
        memset(many[i], 1, MANY_SIZE);
    }
}

static void give_many(void) {
    for (size_t i = 0; i < MANY; i++) {
        free(many[i]);
    }
}

static void mallinfo2_grows_and_falls_with_live_memory(void) {
    struct mallinfo2 before = mallinfo2();
    take_many();
    struct mallinfo2 during = mallinfo2();
    give_many();
    struct mallinfo2 after = mallinfo2();
    CHECK_UINT(during.uordblks, >=, before.uordblks + MANY_BYTES);
    CHECK_UINT(during.uordblks, <=, before.uordblks + MANY_BYTES + MANY_BYTES / 20);
    CHECK_UINT(after.uordblks, <=, before.uordblks + MANY_BYTES / 100);
}

static void mallinfo2_parts_sum(void) {
    take_many();
    void *large = malloc(8 << 20);
    CHECK_PTR(large, !=, NULL);
    for (size_t round = 0; round < 2; round++) {
        struct mallinfo2 info = mallinfo2();
        // In use and free together are what was taken from the system.
        CHECK_UINT(info.arena, ==, info.uordblks + info.fordblks);
        CHECK_UINT(info.fordblks, <, (size_t)1 << 46);
        CHECK_UINT(info.hblkhd, <, (size_t)1 << 46);
        // Large blocks stand in hblkhd or in uordblks, and nowhere twice.
        if (round == 0) {
            CHECK_UINT(info.uordblks + info.hblkhd, >=, MANY_BYTES + (8 << 20));
            give_many();
        }
    }
    free(large);
}

static void mallinfo_agrees_with_mallinfo2(void) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
    struct mallinfo2 wide = mallinfo2();
    CHECK_UINT((unsigned)narrow.uordblks, ==, wide.uordblks);
    CHECK_UINT((unsigned)narrow.fordblks, ==, wide.fordblks);
    CHECK_UINT((unsigned)narrow.arena, ==, wide.arena);
    CHECK_UINT((unsigned)narrow.hblkhd, ==, wide.hblkhd);
}

// ---- malloc_info -------------------------------------------------------------

#define XML_DEPTH_MAX 32

/// A name of XML at `text`; returns its length.
static size_t xml_name_length(const char *text) {
    return strcspn(text, " \t\n/>");
}

/// Attributes are name="value", separated by blanks; returns the address of the closing > or /.
static const char *xml_skip_attributes(const char *text) {
    for (;;) {
        text += strspn(text, " \t\n");
        if (*text == '/' || *text == '>' || *text == '?') {
            return text;
        }
        size_t name = strcspn(text, "=<> \t\n\"");
        if (name == 0 || text[name] != '=' || text[name + 1] != '"') {
            CHECK_FAIL("no attribute at \"%.40s\"", text);
        }
        text += name + 2;
        size_t value = strcspn(text, "\"<");
        if (text[value] != '"') {
            CHECK_FAIL("an attribute without its end at \"%.40s\"", text);
        }
        text += value + 1;
    }
}

/// Well-formed: one root, every element closed in order, no stray & or >. Returns the elements.
static size_t check_xml(const char *text) {
    const char *open[XML_DEPTH_MAX];
    size_t depth = 0, elements = 0, roots = 0;
    while (*text) {
        if (*text != '<') {
            CHECK(*text != '&' && *text != '>');
            CHECK(depth > 0 || strchr(" \t\n", *text));
            text++;
            continue;
        }
        text++;
        if (*text == '?') {
            text = strstr(text, "?>");
            CHECK(text);
            text += 2;
        } else if (*text == '/') {
            text++;
            CHECK_UINT(depth, >, 0);
            size_t length = xml_name_length(text);
            depth--;
            if (length != xml_name_length(open[depth]) || strncmp(open[depth], text, length)) {
                CHECK_FAIL("\"%.20s\" is closed by \"%.20s\"", open[depth], text);
            }
            text += length;
            CHECK_INT(*text, ==, '>');
            text++;
        } else {
            roots += depth == 0;
            elements++;
            CHECK_UINT(xml_name_length(text), >, 0);
            CHECK_UINT(depth, <, XML_DEPTH_MAX);
            open[depth++] = text;
            text = xml_skip_attributes(text + xml_name_length(text));
            if (*text == '/') {
                depth--;
                text++;
            }
            CHECK_INT(*text, ==, '>');
            text++;
        }
    }
    CHECK_UINT(depth, ==, 0);
    CHECK_UINT(roots, ==, 1);
    return elements;
}

static void malloc_info_writes_well_formed_xml(void) {
    void *blocks[100];
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = malloc(i * i * 30);
    }
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL);
    CHECK_INT(malloc_info(0, stream), ==, 0);
    CHECK_INT(fclose(stream), ==, 0);
    CHECK_UINT(length, >, 20);
    CHECK_UINT(check_xml(text), >=, 2);
    CHECK(strstr(text, "<malloc version=") != NULL);
    free(text);
    for (size_t i = 0; i < 100; i++) {
        free(blocks[i]);
    }
}

static void malloc_info_knows_no_options(void) {
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL);
    CHECK_INT(malloc_info(1, stream), !=, 0);
    fclose(stream);
    CHECK_UINT(length, ==, 0);
    free(text);
}

static void malloc_stats_prints_to_stderr(void) {
    char path[] = "/tmp/allot-test-XXXXXX";
    int file = mkstemp(path);
    CHECK_INT(file, >=, 0);
    unlink(path);
    int kept = dup(STDERR_FILENO);
    CHECK_INT(dup2(file, STDERR_FILENO), ==, STDERR_FILENO);
    malloc_stats();
    CHECK_INT(dup2(kept, STDERR_FILENO), ==, STDERR_FILENO);
    close(kept);
    char text[4096];
    ssize_t length = pread(file, text, sizeof(text) - 1, 0);
    CHECK_INT(length, >, 40);
    text[length] = '\0';
    CHECK(strpbrk(text, "123456789") != NULL);
    CHECK_INT(text[length - 1], ==, '\n');
    close(file);
}

// ---- malloc_trim and mallopt -------------------------------------------------

static void malloc_trim_says_whether_it_released_memory(void) {
    take_many();
    uint64_t full = memory_resident_bytes();
    give_many();
    CHECK_INT(malloc_trim(0), ==, 1);
    uint64_t empty = memory_resident_bytes();
    CHECK_UINT(empty + MANY_BYTES * 95 / 100, <=, full);
    CHECK_INT(malloc_trim(0), ==, 0);
}

static void mallopt_takes_the_known_parameters(void) {
    static const int parameters[] = {M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_TOP_PAD,
                                     M_MMAP_MAX,       M_ARENA_MAX,      M_MXFAST};
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        int result = mallopt(parameters[i], 64 << 10);
        CHECK(result == 0 || result == 1);
        void *block = malloc(100000);
        CHECK_PTR(block, !=, NULL);
        free(block);
    }
    CHECK_INT(mallopt(M_TRIM_THRESHOLD, 1 << 20), ==, 1);
}

static const struct check_case cases[] = {
    CHECK_CASE(mallinfo2_grows_and_falls_with_live_memory),
    CHECK_CASE(mallinfo2_parts_sum),
    CHECK_CASE(mallinfo_agrees_with_mallinfo2),
    CHECK_CASE(malloc_info_writes_well_formed_xml),
    CHECK_CASE(malloc_info_knows_no_options),
    CHECK_CASE(malloc_stats_prints_to_stderr),
    CHECK_CASE(malloc_trim_says_whether_it_released_memory),
    CHECK_CASE(mallopt_takes_the_known_parameters),
};

CHECK_MAIN(cases)
