// plugin.c - plugins bound to another malloc than their host.
//
// ALLOT_TEST_PLUGIN is a plain plugin; ALLOT_TEST_LINKED_PLUGIN is the same,
// linked with the library. Run with the library preloaded and without.
#include "case.h"

struct plugin {
    void *(*take)(size_t);
    char *(*copy)(const char *);
    int (*work)(void);
    void (*give)(void *);
};

static struct plugin plugin_open(const char *variable, int flags) {
    const char *path = getenv(variable);
    void *handle = path == NULL ? NULL : dlopen(path, flags);

    CHECK(handle != NULL, "%s: %s", variable, path == NULL ? "not set" : dlerror());
    return (struct plugin){
        (void *(*)(size_t))dlsym(handle, "plugin_take"),
        (char *(*)(const char *))dlsym(handle, "plugin_copy"),
        (int (*)(void))dlsym(handle, "plugin_work"),
        (void (*)(void *))dlsym(handle, "plugin_give"),
    };
}

CASE(a_plugin_opened_with_deepbind_works) {
    struct plugin plugin = plugin_open("ALLOT_TEST_PLUGIN", RTLD_NOW | RTLD_DEEPBIND);

    CHECK(plugin.work() == 0, "the plugin got no memory");
    case_churn(1, 20000);
    // The plugin's malloc is libc's; its blocks come back to our free.
    for (size_t bytes = 1; bytes < 3000000; bytes = bytes * 3 + 1) {
        free(plugin.take(bytes));
        free(realloc(plugin.take(bytes), bytes * 2));
    }
    char *text = plugin.copy("a text");
    CHECK(strcmp(text, "a text") == 0, "%s", text);
    free(text);
    case_churn(2, 20000);
}

CASE(a_plugin_linked_with_the_library_works_in_this_host) {
    struct plugin plugin = plugin_open("ALLOT_TEST_LINKED_PLUGIN", RTLD_NOW | RTLD_LOCAL);

    CHECK(plugin.work() == 0, "the plugin got no memory");
    free(plugin.take(100));
    free(plugin.copy("a text"));
    plugin.give(malloc(100));
    case_churn(3, 20000);
}

CASE(a_deepbound_plugin_linked_with_the_library_passes_on_foreign_blocks) {
    struct plugin plugin =
        plugin_open("ALLOT_TEST_LINKED_PLUGIN", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);

    CHECK(plugin.work() == 0, "the plugin got no memory");
    // strdup is libc's and takes from the host's malloc; the host's blocks too
    // come to the plugin's free.
    plugin.give(plugin.copy("a text"));
    for (size_t bytes = 1; bytes < 3000000; bytes = bytes * 3 + 1) {
        plugin.give(malloc(bytes));
        plugin.give(plugin.take(bytes));
    }
    case_churn(4, 20000);
}
