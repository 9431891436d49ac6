// range_file.c - records of any size in a file, and where there is room for more.
//
// The file holds records; an index, here an array, says where. The map of free space
// is not stored: it is made from the index, by taking what the index names.
#include <allot.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct entry {
    uint64_t offset, size;
};

struct store {
    FILE *file;
    allot_range *space;
};

static bool store_put(struct store *store, struct entry *entry, const char *text) {
    uint64_t size = strlen(text);
    uint64_t offset = allot_range_alloc(store->space, size, 1);
    if (offset == ALLOT_RANGE_NONE) {  // no gap is large enough: the file becomes longer
        uint64_t end = allot_range_size(store->space);
        if (allot_range_grow(store->space, end + size) != 0) {
            return false;
        }
        offset = allot_range_alloc(store->space, size, 1);
    }
    *entry = (struct entry){offset, size};
    return fseek(store->file, (long)offset, SEEK_SET) == 0 &&
           fwrite(text, 1, size, store->file) == size;
}

// The map after a restart: all is free but what the index names. An index that names
// something twice is found out here.
static allot_range *store_map(const struct entry *index, size_t count, uint64_t size) {
    allot_range *space = allot_range_create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options), .size = size});
    for (size_t i = 0; space != NULL && i < count; i++) {
        if (allot_range_alloc_at(space, index[i].offset, index[i].size) != 0) {
            allot_range_destroy(space);
            return NULL;
        }
    }
    return space;
}

int main(void) {
    static const char *const texts[] = {"the first record", "a second one, somewhat longer",
                                        "third"};
    struct entry index[4];
    struct store store = {tmpfile(), store_map(NULL, 0, 0)};
    if (store.file == NULL || store.space == NULL) {
        return 1;
    }
    for (size_t i = 0; i < 3; i++) {
        if (!store_put(&store, &index[i], texts[i])) {
            return 1;
        }
    }
    uint64_t length = allot_range_size(store.space);
    allot_range_free(store.space, index[1].offset, index[1].size);  // deleted
    index[1] = index[2];
    allot_range_destroy(store.space);

    store.space = store_map(index, 2, length);  // restarted
    bool is_stored = store.space != NULL && store_put(&store, &index[2], "fits in the gap");
    printf("a file of %" PRIu64 " bytes, a record at %" PRIu64 ", %" PRIu64 " bytes free\n", length,
           index[2].offset, allot_range_free_bytes(store.space));
    index[3] = index[2];
    bool is_found_out = store_map(index, 4, length) == NULL;
    allot_range_destroy(store.space);
    fclose(store.file);
    return is_stored && index[2].offset == strlen(texts[0]) && is_found_out ? 0 : 1;
}
