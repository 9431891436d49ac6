// lua_states.c - opens, uses and closes Lua states: lua_states COUNT
//
// A host that gives each guest an interpreter of its own. 500 states are alive at a time; each
// opens the standard libraries, defines functions and fills tables and strings. All memory of Lua
// comes from realloc and free. The library is loaded by name, so that no header is needed to build.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATES_ALIVE = 500 };

static const char states_script[] =
    "local items = {} "
    "for i = 1, 200 do items[i] = {id = i, name = 'item-' .. i, tags = {i, i * 2}} end "
    "function handle(request) local sum = 0 "
    "  for _, item in ipairs(items) do sum = sum + item.id * request end return sum end "
    "local text = {} for i = 1, 5 do text[#text + 1] = tostring(handle(i)) end "
    "return table.concat(text, ',')";

typedef void *states_new(void);
typedef void states_use(void *state);
typedef int states_load(void *state, const char *script);
typedef int states_call(void *state, int arguments, int results, int handler, long context,
                        void *continuation);

static void *states_find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "lua_states: %s\n", dlerror());
        exit(1);
    }
    return symbol;
}

int main(int argc, char **argv) {
    static void *states[STATES_ALIVE];
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    void *library = dlopen("liblua5.4.so.0", RTLD_NOW);
    if (count <= 0 || library == NULL) {
        fprintf(stderr, "usage: lua_states COUNT (with liblua5.4.so.0 installed)\n");
        return 2;
    }
    states_new *open_state = (states_new *)states_find(library, "luaL_newstate");
    states_use *open_libraries = (states_use *)states_find(library, "luaL_openlibs");
    states_use *close_state = (states_use *)states_find(library, "lua_close");
    states_load *load = (states_load *)states_find(library, "luaL_loadstring");
    states_call *call = (states_call *)states_find(library, "lua_pcallk");
    for (long i = 0; i < count + STATES_ALIVE; i++) {
        void **slot = &states[i % STATES_ALIVE];
        if (*slot != NULL) {
            close_state(*slot);
            *slot = NULL;
        }
        if (i < count) {
            *slot = open_state();
            open_libraries(*slot);
            if (load(*slot, states_script) != 0 || call(*slot, 0, 0, 0, 0, NULL) != 0) {
                fprintf(stderr, "lua_states: the script failed\n");
                return 1;
            }
        }
    }
    return 0;
}
