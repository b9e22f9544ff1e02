/* An HTTP server on poll(2), whose listener is open already, at descriptor 3. It serves many connections at once, and
 * many requests on each.
 *
 * It answers `POST /hello` with a greeting that repeats the body, `GET /` with a line of help, and everything else with
 * 404. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

#define LISTENER 3
#define MAX_CONNECTIONS 4096
#define READ_SIZE 4096
/* What one connection may have sent without having been answered. */
#define MAX_INPUT (HTTP_MAX_HEAD + HTTP_MAX_BODY)

struct buffer {
    char *bytes;
    size_t len, capacity;
};

struct connection {
    int fd;
    struct buffer in, out;
    size_t sent; /* how much of `out` */
    bool closing; /* once `out` is sent */
};

static struct connection *connections[MAX_CONNECTIONS];
/* One for each connection, in the same order, and then one for the listener. */
static struct pollfd polled[MAX_CONNECTIONS + 1];
static size_t open_connections;

static bool append(struct buffer *buffer, const char *bytes, size_t len) {
    if (buffer->capacity - buffer->len < len) {
        size_t capacity = (buffer->len + len) * 2;
        char *grown = realloc(buffer->bytes, capacity);
        if (grown == NULL) return false;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}

static void close_connection(size_t at) {
    struct connection *connection = connections[at];
    close(connection->fd);
    free(connection->in.bytes);
    free(connection->out.bytes);
    free(connection);
    /* The last takes its place. */
    connections[at] = connections[--open_connections];
}

static bool respond(struct connection *to, const char *status, const char *const *parts, const size_t *lens, size_t n) {
    size_t len = 0;
    for (size_t at = 0; at < n; at++) len += lens[at];
    char head[160];
    int head_len = snprintf(head, sizeof head, "HTTP/1.1 %s\r\ncontent-length: %zu\r\n%s\r\n", status, len,
                            to->closing ? "connection: close\r\n" : "");
    if (!append(&to->out, head, (size_t)head_len)) return false;
    for (size_t at = 0; at < n; at++) {
        if (!append(&to->out, parts[at], lens[at])) return false;
    }
    return true;
}

static bool refuse(struct connection *to, long status) {
    to->closing = true;
    const char *line = status == 413   ? "413 Payload Too Large"
                       : status == 431 ? "431 Request Header Fields Too Large"
                       : status == 501 ? "501 Not Implemented"
                                       : "400 Bad Request";
    return respond(to, line, NULL, NULL, 0);
}

static bool answer(struct connection *to, const struct http_request *request) {
    to->closing = !request->keep_alive;
    if (http_is(request->path, request->path_len, "/") && http_is(request->method, request->method_len, "GET")) {
        const char *text = "POST a name to /hello\n";
        return respond(to, "200 OK", &text, (size_t[]){strlen(text)}, 1);
    }
    if (http_is(request->path, request->path_len, "/hello") && http_is(request->method, request->method_len, "POST")) {
        const char *parts[] = {"Hello, ", request->body, "!\n"};
        return respond(to, "200 OK", parts, (size_t[]){7, request->body_len, 2}, 3);
    }
    return respond(to, "404 Not Found", NULL, NULL, 0);
}

/* Answers the requests that are there. False if the connection is of no more use. */
static bool answer_all(struct connection *connection) {
    size_t taken = 0;
    while (!connection->closing && taken < connection->in.len) {
        struct http_request request;
        long used = http_parse(connection->in.bytes + taken, connection->in.len - taken, &request);
        if (used == 0) break;
        if (used < 0) {
            if (!refuse(connection, -used)) return false;
            break;
        }
        if (!answer(connection, &request)) return false;
        taken += (size_t)used;
    }
    connection->in.len -= taken;
    memmove(connection->in.bytes, connection->in.bytes + taken, connection->in.len);
    return true;
}

static bool would_block(void) {
    return errno == EAGAIN || errno == EINTR;
}

/* Sends what can be sent. False if the connection is of no more use. */
static bool flush(struct connection *connection) {
    struct buffer *out = &connection->out;
    while (connection->sent < out->len) {
        ssize_t len = send(connection->fd, out->bytes + connection->sent, out->len - connection->sent, 0);
        if (len < 0) return would_block();
        connection->sent += (size_t)len;
    }
    connection->sent = out->len = 0;
    return !connection->closing;
}

/* Reads once, answers and sends. False if the connection is of no more use. */
static bool serve(struct connection *connection) {
    char bytes[READ_SIZE];
    ssize_t len = recv(connection->fd, bytes, sizeof bytes, 0);
    if (len < 0) return would_block();
    if (len == 0 || connection->in.len + (size_t)len > MAX_INPUT + READ_SIZE) return false;
    return append(&connection->in, bytes, (size_t)len) && answer_all(connection) && flush(connection);
}

/* Takes all who have come. False if the listener is none. */
static bool accept_all(void) {
    while (open_connections < MAX_CONNECTIONS) {
        int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            /* Whoever went away before being taken, or found no room, is no reason to stop. */
            return would_block() || errno == ECONNABORTED || errno == EMFILE || errno == ENFILE;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) {
            close(fd);
            return true;
        }
        connection->fd = fd;
        connections[open_connections++] = connection;
    }
    return true;
}

int main(void) {
    if (fcntl(LISTENER, F_SETFL, O_NONBLOCK) != 0) {
        perror("hello-poll: descriptor 3 is no listener");
        return 1;
    }
    for (;;) {
        for (size_t at = 0; at < open_connections; at++) {
            /* Who does not take answers is not read from. */
            bool waits = connections[at]->out.len > 0;
            polled[at] = (struct pollfd){.fd = connections[at]->fd, .events = waits ? POLLOUT : POLLIN};
        }
        size_t listener = open_connections;
        bool has_room = open_connections < MAX_CONNECTIONS;
        polled[listener] = (struct pollfd){.fd = LISTENER, .events = POLLIN};
        if (poll(polled, open_connections + has_room, -1) < 0) {
            perror("hello-poll: poll");
            return 1;
        }
        /* From the last, since a place that becomes free is taken by the last. */
        for (size_t at = listener; at-- > 0;) {
            if (polled[at].revents == 0) continue;
            bool goes_on = connections[at]->out.len > 0 ? flush(connections[at]) : serve(connections[at]);
            if (!goes_on) close_connection(at);
        }
        if (has_room && polled[listener].revents != 0 && !accept_all()) {
            perror("hello-poll: accept");
            return 1;
        }
    }
}
