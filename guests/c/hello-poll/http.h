/* What the server needs of HTTP/1.1: to take requests out of bytes, and to answer them. */

#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* The longest head of a request, and the longest body, in bytes. */
#define HTTP_MAX_HEAD 8192
#define HTTP_MAX_BODY 65536

struct http_request {
    const char *method;
    size_t method_len;
    const char *path;
    size_t path_len;
    const char *body;
    size_t body_len;
    /* Whether another request may follow on the connection. */
    bool keep_alive;
};

/* Takes the first request out of `len` bytes.
 *
 * Returns how many bytes it takes, 0 if more have to come first, or the negative status to refuse it with. What the
 * request points to is in `bytes`. */
long http_parse(const char *bytes, size_t len, struct http_request *request);

/* Whether a method or path, `len` bytes at `text`, is `expected`. */
bool http_is(const char *text, size_t len, const char *expected);

#endif
