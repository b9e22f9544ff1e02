/* HTTP for guests of wharf in C: see wharf.h. */
#include "wharf.h"

#include <stdlib.h>
#include <string.h>

/*
 * The functions of the ABI. Every one answers a code. Elsewhere than on WebAssembly they are ordinary functions, which
 * a test defines.
 */
#ifdef __wasm__
#define IMPORT(name) __attribute__((import_module("wasi_experimental_http"), import_name(name)))
#else
#define IMPORT(name)
#endif

IMPORT("req")
uint32_t wharf_abi_req(const char *url, size_t url_length, const char *method, size_t method_length,
                       const char *headers, size_t headers_length, const void *body, size_t body_length,
                       uint16_t *status, uint32_t *handle);
IMPORT("close")
uint32_t wharf_abi_close(uint32_t handle);
IMPORT("header_get")
uint32_t wharf_abi_header_get(uint32_t handle, const char *name, size_t name_length, char *value, size_t length,
                              uint32_t *written);
IMPORT("headers_get_all")
uint32_t wharf_abi_headers_get_all(uint32_t handle, char *buffer, size_t length, uint32_t *written);
IMPORT("body_read")
uint32_t wharf_abi_body_read(uint32_t handle, void *buffer, size_t length, uint32_t *written);

/* How many bytes of a body are asked for at a time, where the caller does not say. */
#define CHUNK ((size_t)16 * 1024)

/* The room for headers at first, and that at which a host that asks for more is not believed. */
#define HEADERS ((size_t)4 * 1024)
#define HEADERS_MAX ((size_t)16 * 1024 * 1024)

static const struct {
    const char *name;
    const char *text;
} codes[] = {
    [WHARF_OK] = {"OK", "success"},
    [WHARF_INVALID_HANDLE] = {"INVALID_HANDLE", "the response is closed"},
    [WHARF_MEMORY_NOT_FOUND] = {"MEMORY_NOT_FOUND", "the guest exports no memory"},
    [WHARF_MEMORY_ACCESS] = {"MEMORY_ACCESS", "a buffer lies outside the guest's memory"},
    [WHARF_BUFFER_TOO_SMALL] = {"BUFFER_TOO_SMALL", "the answer is longer than the limit"},
    [WHARF_HEADER_NOT_FOUND] = {"HEADER_NOT_FOUND", "the response has no such header"},
    [WHARF_NOT_UTF8] = {"NOT_UTF8", "text is not UTF-8"},
    [WHARF_DESTINATION_NOT_ALLOWED] = {"DESTINATION_NOT_ALLOWED", "the destination is not allowed"},
    [WHARF_INVALID_METHOD] = {"INVALID_METHOD", "invalid method"},
    [WHARF_INVALID_ENCODING] = {"INVALID_ENCODING", "invalid header"},
    [WHARF_INVALID_URL] = {"INVALID_URL", "invalid URL"},
    [WHARF_REQUEST_FAILED] = {"REQUEST_FAILED", "the request failed"},
    [WHARF_HOST_FAILED] = {"HOST_FAILED", "the host failed"},
    [WHARF_TOO_MANY_SESSIONS] = {"TOO_MANY_SESSIONS", "too many open responses"},
};

const char *wharf_code_name(wharf_code code) {
    if (code == WHARF_OUT_OF_MEMORY)
        return "OUT_OF_MEMORY";
    return (size_t)code < sizeof codes / sizeof *codes ? codes[code].name : "UNKNOWN";
}

const char *wharf_code_text(wharf_code code) {
    if (code == WHARF_OUT_OF_MEMORY)
        return "out of memory";
    return (size_t)code < sizeof codes / sizeof *codes ? codes[code].text : "unknown error";
}

/* Makes room for `more` bytes and the zero byte behind them. */
static wharf_code reserve(wharf_text *text, size_t more) {
    if (text->code)
        return text->code;
    if (more > SIZE_MAX / 4 || text->length > SIZE_MAX / 4)
        return text->code = WHARF_OUT_OF_MEMORY;
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return WHARF_OK;
    size_t capacity = needed > 2 * text->capacity ? needed : 2 * text->capacity;
    char *data = realloc(text->data, capacity);
    if (!data)
        return text->code = WHARF_OUT_OF_MEMORY;
    text->data = data;
    text->capacity = capacity;
    return WHARF_OK;
}

/* Counts bytes in that were written behind the end. */
static void extend(wharf_text *text, size_t length) {
    text->length += length;
    text->data[text->length] = '\0';
}

wharf_code wharf_text_add(wharf_text *text, const void *bytes, size_t length) {
    wharf_code code = reserve(text, length);
    if (code)
        return code;
    if (length)
        memcpy(text->data + text->length, bytes, length);
    extend(text, length);
    return WHARF_OK;
}

void wharf_text_free(wharf_text *text) {
    free(text->data);
    *text = (wharf_text){0};
}

wharf_code wharf_header_add(wharf_text *headers, const char *name, const char *value) {
    if (headers->code)
        return headers->code;
    /* A line end would make two headers of it, a colon in the name would move the value's beginning. */
    if (!*name || strpbrk(name, ":\r\n") || strpbrk(value, "\r\n"))
        return headers->code = WHARF_INVALID_ENCODING;
    wharf_text_add(headers, name, strlen(name));
    wharf_text_add(headers, ":", 1);
    wharf_text_add(headers, value, strlen(value));
    return wharf_text_add(headers, "\n", 1);
}

/* Adds a text as the URL standard encodes it in a form. */
static void add_encoded(wharf_text *form, const char *text) {
    static const char hex[] = "0123456789ABCDEF";
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._";
    for (; *text; ++text) {
        unsigned char byte = (unsigned char)*text;
        const char escaped[] = {'%', hex[byte >> 4], hex[byte & 15]};
        if (strchr(plain, byte))
            wharf_text_add(form, text, 1);
        else if (byte == ' ')
            wharf_text_add(form, "+", 1);
        else
            wharf_text_add(form, escaped, sizeof escaped);
    }
}

wharf_code wharf_form_add(wharf_text *form, const char *name, const char *value) {
    if (form->length)
        wharf_text_add(form, "&", 1);
    add_encoded(form, name);
    wharf_text_add(form, "=", 1);
    add_encoded(form, value);
    return form->code;
}

wharf_code wharf_send(const wharf_request *request, wharf_response *response) {
    const char *method = request->method ? request->method : "GET";
    const wharf_text *headers = request->headers;
    *response = (wharf_response){0};
    if (headers && headers->code)
        return headers->code;
    if (!request->url)
        return WHARF_INVALID_URL;
    uint16_t status = 0;
    uint32_t handle = 0;
    uint32_t code = wharf_abi_req(request->url, strlen(request->url), method, strlen(method),
                                  headers ? headers->data : NULL, headers ? headers->length : 0, request->body,
                                  request->body ? request->body_length : 0, &status, &handle);
    if (code)
        return (wharf_code)code;
    *response = (wharf_response){.status = status, .open = true, .handle = handle};
    return WHARF_OK;
}

/* What the host says it wrote, which cannot be more than there was room for. */
static size_t counted(uint32_t written, size_t length) {
    return written < length ? written : length;
}

wharf_code wharf_read(wharf_response *response, void *buffer, size_t length, size_t *count) {
    uint32_t written = 0;
    *count = 0;
    if (!response->open)
        return WHARF_INVALID_HANDLE;
    wharf_code code = (wharf_code)wharf_abi_body_read(response->handle, buffer, length, &written);
    if (!code)
        *count = counted(written, length);
    return code;
}

wharf_code wharf_read_all(wharf_response *response, size_t limit, wharf_text *body) {
    size_t left = limit;
    for (;;) {
        /* One byte beyond the limit is asked for, by which a body that is too long is known. */
        size_t count, room = left < CHUNK ? left + 1 : CHUNK;
        wharf_code code = reserve(body, room);
        if (code)
            return code;
        code = wharf_read(response, body->data + body->length, room, &count);
        extend(body, count < left ? count : left);
        if (code || !count)
            return code;
        if (count > left)
            return WHARF_BUFFER_TOO_SMALL;
        left -= count;
    }
}

wharf_code wharf_header(wharf_response *response, const char *name, char *value, size_t size) {
    uint32_t written = 0;
    if (!size)
        return WHARF_BUFFER_TOO_SMALL;
    *value = '\0';
    if (!response->open)
        return WHARF_INVALID_HANDLE;
    wharf_code code =
        (wharf_code)wharf_abi_header_get(response->handle, name, strlen(name), value, size - 1, &written);
    value[code ? 0 : counted(written, size - 1)] = '\0';
    return code;
}

wharf_code wharf_headers(wharf_response *response, wharf_text *headers) {
    if (!response->open)
        return WHARF_INVALID_HANDLE;
    wharf_code code = WHARF_BUFFER_TOO_SMALL;
    for (size_t room = HEADERS; code == WHARF_BUFFER_TOO_SMALL && room <= HEADERS_MAX; room *= 2) {
        uint32_t written = 0;
        wharf_code reserved = reserve(headers, room);
        if (reserved)
            return reserved;
        code = (wharf_code)wharf_abi_headers_get_all(response->handle, headers->data + headers->length, room, &written);
        extend(headers, code ? 0 : counted(written, room));
    }
    return code;
}

bool wharf_next_header(const wharf_text *headers, size_t *position, wharf_slice *name, wharf_slice *value) {
    while (*position < headers->length) {
        const char *line = headers->data + *position;
        size_t left = headers->length - *position;
        const char *end = memchr(line, '\n', left);
        size_t length = end ? (size_t)(end - line) : left;
        *position += length + (end ? 1 : 0);
        /* A name cannot hold a colon; all others belong to the value. */
        const char *colon = memchr(line, ':', length);
        if (colon) {
            *name = (wharf_slice){line, (size_t)(colon - line)};
            *value = (wharf_slice){colon + 1, length - name->length - 1};
            return true;
        }
    }
    return false;
}

static char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? (char)(letter | 0x20) : letter;
}

bool wharf_name_is(wharf_slice name, const char *expected) {
    if (strlen(expected) != name.length)
        return false;
    for (size_t index = 0; index < name.length; ++index) {
        if (lower(name.data[index]) != lower(expected[index]))
            return false;
    }
    return true;
}

void wharf_close(wharf_response *response) {
    if (!response->open)
        return;
    response->open = false;
    wharf_abi_close(response->handle);
}
