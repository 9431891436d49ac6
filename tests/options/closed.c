// closed.c - starts with descriptors 0 to 2 closed, as some daemons do, opens a file that becomes
// one of them, and ends: nothing of ours may be written into it.
//
//   closed FILE
#include "../support/api.h"
#include "../support/check.h"

#include <fcntl.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    int first = open(argv[1], O_RDWR | O_CREAT | O_APPEND, 0600);
    int second = open(argv[1], O_RDWR | O_APPEND);
    int third = open(argv[1], O_RDWR | O_APPEND);
    api_free(api_opaque_pointer(api_malloc(100)));
    // These numbers are free at start: the library has not taken them for itself.
    return first == 0 && second == 1 && third == 2 ? 0 : 3;
}
