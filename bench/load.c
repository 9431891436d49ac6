// load.c - a closed loop of requests to a server on a unix socket.
//
//   load memcached|http SOCKET CONNECTIONS REQUESTS
//
// One thread keeps CONNECTIONS connections busy: each sends its next request when the answer to
// the last is there, until REQUESTS have been answered. memcached: sets and gets of values from 16
// to 4,000 bytes, with some of 100,000, over 50,000 keys; a connection is closed and opened anew
// after 200 requests. http: GET of /page.txt, compressed, a connection for each request. The
// sequence is the same in every run. Exits 1 with a message if an answer is not what it should be.
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LOAD_CONNECTIONS_MAX = 1000,
    LOAD_REQUESTS_PER_CONNECTION = 200,  // of memcached
    LOAD_KEY_COUNT = 50000,
    LOAD_VALUE_BYTES_LARGE = 100000,
    LOAD_READ_BYTES = 65536,
};

struct load_connection {
    int file;
    unsigned request_count;  // sent over this connection
    size_t answer_bytes;     // of the answer that is being read
    char head[16], tail[8];  // its first and its last bytes
};

static struct sockaddr_un load_address = {.sun_family = AF_UNIX};
static bool load_is_http;
static uint64_t load_state = 42;
static char load_request[LOAD_VALUE_BYTES_LARGE + 128];

__attribute__((format(printf, 1, 2))) static _Noreturn void load_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

// xorshift64*
static uint32_t load_random(uint32_t limit) {
    load_state ^= load_state >> 12;
    load_state ^= load_state << 25;
    load_state ^= load_state >> 27;
    return (uint32_t)((load_state * UINT64_C(2685821657736338717)) >> 33) % limit;
}

static size_t load_make_request(void) {
    if (load_is_http) {
        return (size_t)sprintf(load_request, "GET /page.txt HTTP/1.0\r\nHost: bench\r\n"
                                             "Accept-Encoding: gzip\r\n\r\n");
    }
    unsigned key = load_random(LOAD_KEY_COUNT), what = load_random(1000);
    if (what >= 300) {
        return (size_t)sprintf(load_request, "get key-%u\r\n", key);
    }
    size_t value_bytes = what == 0 ? LOAD_VALUE_BYTES_LARGE : 16 + load_random(3985);
    size_t at = (size_t)sprintf(load_request, "set key-%u 0 0 %zu\r\n", key, value_bytes);
    memset(load_request + at, 'v', value_bytes);
    memcpy(load_request + at + value_bytes, "\r\n", 2);
    return at + value_bytes + 2;
}

static void load_send(struct load_connection *connection) {
    size_t length = load_make_request(), sent = 0;
    while (sent < length) {
        ssize_t count = send(connection->file, load_request + sent, length - sent, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) {
            load_fail("send: %s", strerror(errno));
        }
        sent += count > 0 ? (size_t)count : 0;
    }
    connection->request_count++;
    connection->answer_bytes = 0;
}

static void load_open(struct load_connection *connection) {
    *connection = (struct load_connection){.file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const struct sockaddr *address = (const struct sockaddr *)&load_address;
    if (connection->file < 0 || connect(connection->file, address, sizeof load_address) != 0) {
        load_fail("%s: %s", load_address.sun_path, strerror(errno));
    }
}

static void load_keep(struct load_connection *connection, const char *bytes, size_t count) {
    for (size_t i = 0; i < count && connection->answer_bytes + i < sizeof connection->head; i++) {
        connection->head[connection->answer_bytes + i] = bytes[i];
    }
    size_t tail = sizeof connection->tail, fresh = count < tail ? count : tail;
    memmove(connection->tail, connection->tail + fresh, tail - fresh);
    memcpy(connection->tail + tail - fresh, bytes + count - fresh, fresh);
    connection->answer_bytes += count;
}

static bool load_ends_with(const struct load_connection *connection, const char *text) {
    size_t length = strlen(text);
    return connection->answer_bytes >= length &&
           memcmp(connection->tail + sizeof connection->tail - length, text, length) == 0;
}

// Read what is there; true once the answer is complete.
static bool load_receive(struct load_connection *connection) {
    char bytes[LOAD_READ_BYTES];
    ssize_t count = recv(connection->file, bytes, sizeof bytes, 0);
    if (count < 0 && errno != EINTR) {
        load_fail("recv: %s", strerror(errno));
    }
    if (count > 0) {
        load_keep(connection, bytes, (size_t)count);
    }
    if (load_is_http) {
        if (count == 0 && strncmp(connection->head, "HTTP/1.1 200", 12) != 0) {
            load_fail("answer: %.16s", connection->head);
        }
        return count == 0;
    }
    if (count == 0 || load_ends_with(connection, "ERROR\r\n")) {
        load_fail("the server refused a request");
    }
    return load_ends_with(connection, "END\r\n") || load_ends_with(connection, "TORED\r\n");
}

// The next request, over this connection or a new one.
static void load_go_on(struct load_connection *connection) {
    if (load_is_http || connection->request_count == LOAD_REQUESTS_PER_CONNECTION) {
        close(connection->file);
        load_open(connection);
    }
    load_send(connection);
}

static void load_run(struct load_connection *connections, unsigned count, unsigned long requests) {
    struct pollfd polls[LOAD_CONNECTIONS_MAX];
    unsigned long answered = 0;
    for (unsigned i = 0; i < count; i++) {
        load_open(&connections[i]);
        load_send(&connections[i]);
    }
    while (answered < requests) {
        for (unsigned i = 0; i < count; i++) {
            polls[i] = (struct pollfd){.fd = connections[i].file, .events = POLLIN};
        }
        if (poll(polls, count, 10000) == 0) {
            load_fail("no answer for 10 s");
        }
        for (unsigned i = 0; i < count && answered < requests; i++) {
            if (polls[i].revents != 0 && load_receive(&connections[i])) {
                answered++;
                load_go_on(&connections[i]);
            }
        }
    }
}

int main(int argc, char **argv) {
    static struct load_connection connections[LOAD_CONNECTIONS_MAX];
    unsigned long count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
    if (count == 0 || count > LOAD_CONNECTIONS_MAX ||
        strlen(argv[2]) >= sizeof load_address.sun_path) {
        fputs("usage: load memcached|http SOCKET CONNECTIONS REQUESTS\n", stderr);
        return 2;
    }
    load_is_http = strcmp(argv[1], "http") == 0;
    strcpy(load_address.sun_path, argv[2]);
    load_run(connections, (unsigned)count, strtoul(argv[4], NULL, 10));
    return 0;
}
