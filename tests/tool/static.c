// static.c - says "hello" and ends with status 5. Linked statically: no loader runs.
#include <stdio.h>

int main(void) {
    puts("hello");
    return 5;
}
