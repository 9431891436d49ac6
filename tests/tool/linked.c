// linked.c - prints LD_PRELOAD. It is linked with what looks like an allocator.
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const char *preload = getenv("LD_PRELOAD");

    puts(preload == NULL ? "nothing" : preload);
    return 0;
}
