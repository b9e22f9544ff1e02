#include "http.h"

#include <string.h>
#include <strings.h>

/* One line, without its end. */
struct line {
    const char *start;
    size_t len;
};

/* Takes a line off `*at`; what is behind `end` is not looked at. A head has only whole lines. */
static struct line next_line(const char **at, const char *end) {
    struct line line = {*at, (size_t)(end - *at)};
    const char *newline = memchr(line.start, '\n', line.len);
    if (newline == NULL) {
        *at = end;
        return line;
    }
    *at = newline + 1;
    line.len = (size_t)(newline - line.start);
    if (line.len > 0 && line.start[line.len - 1] == '\r') line.len--;
    return line;
}

/* How long the head is, with the empty line that ends it; 0 if that has not come. */
static size_t head_len(const char *bytes, size_t len) {
    for (size_t at = 0; at + 1 < len; at++) {
        if (bytes[at] != '\n') continue;
        if (bytes[at + 1] == '\n') return at + 2;
        if (at + 2 < len && bytes[at + 1] == '\r' && bytes[at + 2] == '\n') return at + 3;
    }
    return 0;
}

static bool request_line(struct line line, struct http_request *request) {
    const char *end = line.start + line.len;
    const char *first = memchr(line.start, ' ', line.len);
    if (first == NULL || first == line.start) return false;
    const char *path = first + 1;
    const char *second = memchr(path, ' ', (size_t)(end - path));
    if (second == NULL || *path != '/') return false;
    const char *version = second + 1;
    if (end - version != 8 || memcmp(version, "HTTP/1.", 7) != 0) return false;
    request->method = line.start;
    request->method_len = (size_t)(first - line.start);
    request->path = path;
    request->path_len = (size_t)(second - path);
    const char *query = memchr(path, '?', request->path_len);
    if (query != NULL) request->path_len = (size_t)(query - path);
    request->keep_alive = version[7] != '0';
    return true;
}

/* Reads decimal digits, and nothing else. False if they are more than a body may have. */
static bool content_length(struct line value, size_t *len) {
    if (value.len == 0) return false;
    *len = 0;
    for (size_t at = 0; at < value.len; at++) {
        if (value.start[at] < '0' || value.start[at] > '9') return false;
        *len = *len * 10 + (size_t)(value.start[at] - '0');
        if (*len > HTTP_MAX_BODY) return false;
    }
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* Parts a header at its colon, and takes the blanks around the value off. */
static bool part(struct line line, struct line *name, struct line *value) {
    const char *colon = memchr(line.start, ':', line.len);
    if (colon == NULL || colon == line.start) return false;
    *name = (struct line){line.start, (size_t)(colon - line.start)};
    *value = (struct line){colon + 1, line.len - name->len - 1};
    while (value->len > 0 && is_blank(value->start[0])) value->start++, value->len--;
    while (value->len > 0 && is_blank(value->start[value->len - 1])) value->len--;
    /* A blank in a name is a way to smuggle a header past someone else. */
    return memchr(name->start, ' ', name->len) == NULL && memchr(name->start, '\t', name->len) == NULL;
}

static bool named(struct line text, const char *expected) {
    return text.len == strlen(expected) && strncasecmp(text.start, expected, text.len) == 0;
}

long http_parse(const char *bytes, size_t len, struct http_request *request) {
    size_t head = head_len(bytes, len);
    if (head > HTTP_MAX_HEAD || (head == 0 && len >= HTTP_MAX_HEAD)) return -431;
    if (head == 0) return 0;

    const char *at = bytes, *end = bytes + head;
    if (!request_line(next_line(&at, end), request)) return -400;
    bool has_length = false;
    request->body_len = 0;
    for (struct line line = next_line(&at, end); line.len > 0; line = next_line(&at, end)) {
        struct line name, value;
        if (!part(line, &name, &value)) return -400;
        if (named(name, "transfer-encoding")) return -501;
        if (named(name, "connection") && named(value, "close")) request->keep_alive = false;
        if (named(name, "content-length")) {
            if (has_length) return -400;
            has_length = true;
            if (!content_length(value, &request->body_len)) return -413;
        }
    }
    request->body = bytes + head;
    return len - head < request->body_len ? 0 : (long)(head + request->body_len);
}

bool http_is(const char *text, size_t len, const char *expected) {
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}
