/*
 * HTTP for guests of wharf in C: requests over the `wasi_experimental_http` ABI.
 *
 *     wharf_response response;
 *     wharf_code code = wharf_send(&(wharf_request){.url = "http://localhost:8080/"}, &response);
 *     if (code) {
 *         fprintf(stderr, "%s\n", wharf_code_text(code));
 *         return 1;
 *     }
 *     char buffer[4096];
 *     size_t count;
 *     while (!(code = wharf_read(&response, buffer, sizeof buffer, &count)) && count)
 *         fwrite(buffer, 1, count, stdout);
 *     wharf_close(&response);
 *
 * Every function that can fail answers a `wharf_code`; nothing aborts. Lengths are bytes. No function writes outside
 * the buffer it was given. Compile wharf.c along with the program; it needs a C11 compiler and a C library.
 */
#ifndef WHARF_H
#define WHARF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function answers. */
typedef enum wharf_code {
    WHARF_OK = 0,
    /* The response is closed. */
    WHARF_INVALID_HANDLE = 1,
    /* The guest exports no memory. */
    WHARF_MEMORY_NOT_FOUND = 2,
    /* A buffer lies outside the guest's memory. */
    WHARF_MEMORY_ACCESS = 3,
    /* What is read does not fit: into the buffer, or below the limit. */
    WHARF_BUFFER_TOO_SMALL = 4,
    /* The response has no such header. */
    WHARF_HEADER_NOT_FOUND = 5,
    /* Text is not UTF-8. */
    WHARF_NOT_UTF8 = 6,
    /* The policy that the guest runs under does not allow this origin. */
    WHARF_DESTINATION_NOT_ALLOWED = 7,
    /* Not a method. */
    WHARF_INVALID_METHOD = 8,
    /* A header that cannot be sent. */
    WHARF_INVALID_ENCODING = 9,
    /* Not a URL. */
    WHARF_INVALID_URL = 10,
    /* Sending or receiving failed: name, connection, TLS, time limit, size limit. */
    WHARF_REQUEST_FAILED = 11,
    /* The host failed. */
    WHARF_HOST_FAILED = 12,
    /* The guest holds as many open responses as it may: close one. */
    WHARF_TOO_MANY_SESSIONS = 13,
    /* `realloc` gave no memory. Not a code of the ABI. */
    WHARF_OUT_OF_MEMORY = 256,
} wharf_code;

/* The code's name, such as "DESTINATION_NOT_ALLOWED"; "UNKNOWN" for a number that is none. */
const char *wharf_code_name(wharf_code code);

/* What the code says, as the end of a sentence: "the destination is not allowed". */
const char *wharf_code_text(wharf_code code);

/*
 * Bytes that grow. `{0}` is an empty one. `data` has a zero byte behind `length`, and is NULL as long as nothing was
 * added. Once growing it failed, `code` says why and nothing is added any more, so that it is enough to look once.
 */
typedef struct wharf_text {
    char *data;
    size_t length;
    size_t capacity;
    wharf_code code;
} wharf_text;

/* Adds bytes. */
wharf_code wharf_text_add(wharf_text *text, const void *bytes, size_t length);

/* Frees what it holds and makes it empty. */
void wharf_text_free(wharf_text *text);

/* Adds a header to send; the same name may be added again. One that would not be one line is WHARF_INVALID_ENCODING,
 * also in `headers->code`. */
wharf_code wharf_header_add(wharf_text *headers, const char *name, const char *value);

/* Adds a field to a form, as a browser encodes it: send the form as the body, with the header `content-type`
 * WHARF_FORM_TYPE. Name and value are UTF-8. */
wharf_code wharf_form_add(wharf_text *form, const char *name, const char *value);

#define WHARF_FORM_TYPE "application/x-www-form-urlencoded"

/* A request. What is left out is 0: no headers, no body. */
typedef struct wharf_request {
    /* With its scheme. */
    const char *url;
    /* Any token; NULL for GET. Methods are case-sensitive. */
    const char *method;
    /* What wharf_header_add filled, or NULL. */
    const wharf_text *headers;
    const void *body;
    size_t body_length;
} wharf_request;

/* A response, whose body is read as it comes. It has to be closed: the host keeps a limited number of them open. */
typedef struct wharf_response {
    /* The status code; 0 if there was no response. */
    uint16_t status;
    /* Whether `handle` is one. */
    bool open;
    uint32_t handle;
} wharf_response;

/* Sends a request and waits for the head of the response. `response` is filled in any case; where the answer is not
 * WHARF_OK, it is closed. */
wharf_code wharf_send(const wharf_request *request, wharf_response *response);

/* Reads the next bytes of the body, at most `length`. `*count` is 0 at the end, and when it fails. */
wharf_code wharf_read(wharf_response *response, void *buffer, size_t length, size_t *count);

/* Adds the rest of the body to `body`. More than `limit` bytes of it are WHARF_BUFFER_TOO_SMALL; the first `limit` are
 * in `body` then, as is what came before any other failure. */
wharf_code wharf_read_all(wharf_response *response, size_t limit, wharf_text *body);

/* Writes the first value of a header to `value`, ended by a zero byte, for which there has to be room too. What fails
 * leaves an empty text there, if `size` is not 0. */
wharf_code wharf_header(wharf_response *response, const char *name, char *value, size_t size);

/* Adds all headers to `headers`, for wharf_next_header. */
wharf_code wharf_headers(wharf_response *response, wharf_text *headers);

/* Part of a text, not ended by a zero byte. */
typedef struct wharf_slice {
    const char *data;
    size_t length;
} wharf_slice;

/* Goes through headers: start with `*position` 0, and go on while this is true. */
bool wharf_next_header(const wharf_text *headers, size_t *position, wharf_slice *name, wharf_slice *value);

/* Whether a header's name is this one; names have no case. */
bool wharf_name_is(wharf_slice name, const char *expected);

/* Lets go of a response. Closing it again does nothing. */
void wharf_close(wharf_response *response);

#ifdef __cplusplus
}
#endif

#endif
