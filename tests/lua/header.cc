// header.cc - allot_lua.h in C++.
#include <allot_lua.h>

int main() {
    lua_State *L = allot_lua_newstate(nullptr);
    if (L == nullptr) {
        return errno == ENOTSUP ? 77 : 1;
    }
    lua_pushstring(L, "text");
    bool is_counted = allot_lua_counts_of(L) != nullptr;
    return allot_lua_heap(L) != nullptr && !is_counted && allot_lua_close(L) == 0 ? 0 : 1;
}
