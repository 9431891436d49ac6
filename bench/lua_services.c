// lua_services.c - starts Lua services: lua_services FROM STATES THREADS ROUNDS
//
// How long does {new state, open the libraries, load scripts, full collection, close} take, and
// what does it cost when several threads do it at once? FROM says where a state takes memory from:
//   heap     a heap of allot for each state; liballot must be preloaded
//   malloc   realloc and free, of whatever is preloaded
//   bump     fresh memory for all, and nothing is ever freed
//   rewind   as bump, but each state uses the same memory: what no allocator can beat
//   create   no state at all: create and destroy a heap of allot with a reserve of 1 MiB
// With one thread each state is closed before the next; with more, and with ROUNDS, each thread has
// its share of the states open at once. It does not measure what services do once they run.
#include <allot_lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#pragma weak allot_heap_create
#pragma weak allot_heap_destroy
#pragma weak allot_heap_adopt
#pragma weak allot_heap_of
#pragma weak allot_heap_malloc
#pragma weak allot_heap_calloc
#pragma weak allot_heap_free_sized
#pragma weak allot_heap_realloc_sized
#pragma weak allot_heap_stats

enum { REPEATS = 60, REWIND_BYTES = 8 << 20 };
#define BUMP_BYTES ((size_t)16 << 30)

static struct {
    const char *from;
    long states, threads, rounds;
    char script[65536];
} bench;

static void die(const char *what) {
    fprintf(stderr, "lua_services: %s\n", what);
    exit(1);
}

// ---- Where memory comes from

static void *from_malloc(void *ud, void *ptr, size_t osize, size_t nsize) {
    (void)ud;
    (void)osize;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, nsize);
}

struct bump {
    char *at, *end;
};

static void *from_bump(void *ud, void *ptr, size_t osize, size_t nsize) {
    struct bump *bump = ud;
    if (nsize == 0 || (ptr != NULL && nsize <= osize)) {
        return nsize == 0 ? NULL : ptr;
    }
    size_t bytes = (nsize + 15) & ~(size_t)15;
    if (bytes > (size_t)(bump->end - bump->at)) {
        return NULL;
    }
    void *block = bump->at;
    bump->at += bytes;
    return ptr != NULL ? memcpy(block, ptr, osize) : block;
}

static struct bump bump_create(size_t bytes) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        die("no memory to bump");
    }
    return (struct bump){memory, memory + bytes};
}

// ---- Services

static void make_script(void) {
    char *at = bench.script;
    for (int i = 0; i < REPEATS; i++) {
        at += snprintf(
            at, (size_t)(bench.script + sizeof bench.script - at),
            "local M%d = {name = 'module-%d', list = {}} "
            "function M%d.open(self, key, value) local old = self.list[key] "
            "self.list[key] = {value = value, key = key, text = key .. value} return old end "
            "function M%d.close(self, key) self.list[key] = nil return key .. '.' end "
            "for i = 1, 20 do M%d:open('k' .. i, i) end M%d:close('k3') "
            "package.loaded['m%d'] = M%d\n",
            i, i, i, i, i, i, i, i);
    }
}

static lua_State *start(struct bump *bump) {
    lua_State *L = NULL;
    if (strcmp(bench.from, "heap") == 0) {
        struct allot_lua_options options = {.size_bytes = sizeof options};
        options.reserve_bytes = (size_t)1 << 20;
        L = allot_lua_newstate(&options);
    } else {
        L = lua_newstate(bump != NULL ? from_bump : from_malloc, bump);
    }
    if (L == NULL) {
        die("no state");
    }
    luaL_openlibs(L);
    if (luaL_loadstring(L, bench.script) != 0 || lua_pcall(L, 0, 0, 0) != 0) {
        die(lua_tostring(L, -1));
    }
    lua_gc(L, LUA_GCCOLLECT, 0);
    return L;
}

static void stop(lua_State *L) {
    if (strcmp(bench.from, "heap") == 0) {
        if (allot_lua_close(L) != 0) {
            die("not closed");
        }
    } else {
        lua_close(L);
    }
}

static void one_by_one(void) {
    bool is_bump = strcmp(bench.from, "bump") == 0, is_rewind = strcmp(bench.from, "rewind") == 0;
    struct bump bump = is_bump     ? bump_create(BUMP_BYTES)
                       : is_rewind ? bump_create(REWIND_BYTES)
                                   : (struct bump){NULL, NULL};
    char *first = bump.at;
    for (long i = 0; i < bench.states; i++) {
        bump.at = is_rewind ? first : bump.at;
        stop(start(first != NULL ? &bump : NULL));
    }
}

static void *all_at_once(void *unused) {
    long count = bench.states / bench.threads;
    lua_State **states = calloc((size_t)count, sizeof *states);
    for (long round = 0; round < bench.rounds; round++) {
        for (long i = 0; i < count; i++) {
            states[i] = start(NULL);
        }
        for (long i = 0; i < count; i++) {
            stop(states[i]);
        }
    }
    free(states);
    return unused;
}

static void in_threads(void) {
    pthread_t thread[64];
    for (long i = 0; i < bench.threads; i++) {
        if (pthread_create(&thread[i], NULL, all_at_once, NULL) != 0) {
            die("no thread");
        }
    }
    for (long i = 0; i < bench.threads; i++) {
        pthread_join(thread[i], NULL);
    }
}

static void create_heaps(void) {
    struct allot_heap_options options = {.size_bytes = sizeof options};
    options.reserve_bytes = (size_t)1 << 20;
    for (long i = 0; i < bench.states; i++) {
        if (allot_heap_destroy(allot_heap_create(&options)) != 0) {
            die("no heap");
        }
    }
}

// Of this program alone: the peak of getrusage begins with its parent's.
static double peak_mib(void) {
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib / 1024;
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    bool is_right = argc == 5;
    bench.from = is_right ? argv[1] : "";
    bench.states = is_right ? strtol(argv[2], NULL, 10) : 0;
    bench.threads = is_right ? strtol(argv[3], NULL, 10) : 0;
    bench.rounds = is_right ? strtol(argv[4], NULL, 10) : 0;
    if (bench.states <= 0 || bench.threads <= 0 || bench.threads > 64) {
        fprintf(stderr,
                "usage: lua_services heap|malloc|bump|rewind|create STATES THREADS ROUNDS\n");
        return 2;
    }
    make_script();
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    long done = bench.states;
    if (strcmp(bench.from, "create") == 0) {
        create_heaps();
    } else if (bench.rounds > 0) {
        in_threads();
        done *= bench.rounds;
    } else {
        one_by_one();
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.3f %.3f %.1f %.1f\n", (seconds(CLOCK_MONOTONIC) - wall) * 1e6 / (double)done,
           (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / (double)done,
           (double)usage.ru_minflt / (double)done, peak_mib());
    return 0;
}
