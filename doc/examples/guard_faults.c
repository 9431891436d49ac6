// guard_faults.c - three mistakes, for guard mode to find.
//
//   allot check -- guard_faults overrun        one byte too many, found when the block is freed
//   allot check -- guard_faults double-free
//   allot check -- guard_faults large          a page behind the block stops the program
//
// Nothing in it knows of allot: it is run as it is.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name {
    size_t length;
    char *text;
};

static struct name name_copy(const char *text) {
    struct name name = {strlen(text), NULL};
    name.text = malloc(name.length);  // the mistake: no room for the NUL
    if (name.text != NULL) {
        strcpy(name.text, text);
    }
    return name;
}

static void name_drop(struct name *name) {
    free(name->text);
}

int main(int argc, char **argv) {
    const char *fault = argc > 1 ? argv[1] : "";
    if (strcmp(fault, "overrun") == 0) {
        struct name name = name_copy("twenty-four bytes and 0");
        name_drop(&name);
    } else if (strcmp(fault, "double-free") == 0) {
        struct name name = {3, calloc(1, 4)};
        struct name *same = &name;
        name_drop(&name);
        name_drop(same);
    } else if (strcmp(fault, "large") == 0) {
        int *table = malloc(10000 * sizeof *table);
        for (size_t i = 0; table != NULL && i <= 10000; i++) {  // the mistake: <=
            table[i] = (int)i;
        }
        free(table);
    } else {
        fprintf(stderr, "guard_faults overrun | double-free | large\n");
        return 2;
    }
    printf("nothing was noticed\n");
    return 0;
}
