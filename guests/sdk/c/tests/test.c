/*
 * Tests of wharf.c on the machine that builds it, with a host of the ABI in memory.
 *
 *     cc -std=c11 -fsanitize=address,undefined -I.. test.c ../wharf.c && ./a.out
 */
#include "wharf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef NDEBUG
#error "the checks are assertions"
#endif

/* --- the host -------------------------------------------------------------- */

/* What the next response is. `chunk` is how much of the body one read gives at most; `breaks` fails at its end. */
static struct {
    uint32_t code;
    const char *headers;
    uint32_t headers_code;
    const char *body;
    size_t body_length;
    size_t chunk;
    bool breaks;
    bool lies;
} script;

/* What came in. */
static char seen[4096];
static int requests, open_responses, header_calls;

enum { HANDLE = 7 };

static size_t position;

static void host(const char *headers, const char *body) {
    memset(&script, 0, sizeof script);
    script.headers = headers;
    script.body = body;
    script.body_length = strlen(body);
    script.chunk = (size_t)-1;
    requests = open_responses = header_calls = 0;
}

uint32_t wharf_abi_req(const char *url, size_t url_length, const char *method, size_t method_length,
                       const char *headers, size_t headers_length, const void *body, size_t body_length,
                       uint16_t *status, uint32_t *handle) {
    ++requests;
    snprintf(seen, sizeof seen, "%.*s|%.*s|%.*s|%.*s", (int)url_length, url, (int)method_length, method,
             (int)headers_length, headers ? headers : "", (int)body_length, body ? (const char *)body : "");
    if (script.code)
        return script.code;
    position = 0;
    ++open_responses;
    *status = 203;
    *handle = HANDLE;
    return 0;
}

uint32_t wharf_abi_close(uint32_t handle) {
    assert(handle == HANDLE);
    --open_responses;
    return 0;
}

/* Gives `text`, or nothing where it does not fit. */
static uint32_t give(const char *text, size_t text_length, char *buffer, size_t length, uint32_t *written) {
    if (text_length > length)
        return WHARF_BUFFER_TOO_SMALL;
    memcpy(buffer, text, text_length);
    *written = script.lies ? UINT32_MAX : (uint32_t)text_length;
    return 0;
}

uint32_t wharf_abi_header_get(uint32_t handle, const char *name, size_t name_length, char *value, size_t length,
                              uint32_t *written) {
    assert(handle == HANDLE);
    const char *line = script.headers;
    if (strncmp(line, name, name_length) || line[name_length] != ':')
        return WHARF_HEADER_NOT_FOUND;
    line += name_length + 1;
    return give(line, strcspn(line, "\n"), value, length, written);
}

uint32_t wharf_abi_headers_get_all(uint32_t handle, char *buffer, size_t length, uint32_t *written) {
    assert(handle == HANDLE);
    ++header_calls;
    if (script.headers_code)
        return script.headers_code;
    return give(script.headers, strlen(script.headers), buffer, length, written);
}

uint32_t wharf_abi_body_read(uint32_t handle, void *buffer, size_t length, uint32_t *written) {
    assert(handle == HANDLE);
    size_t count = script.body_length - position;
    if (!count && script.breaks)
        return WHARF_REQUEST_FAILED;
    if (count > script.chunk)
        count = script.chunk;
    if (count > length)
        count = length;
    memcpy(buffer, script.body + position, count);
    position += count;
    *written = script.lies ? UINT32_MAX : (uint32_t)count;
    return 0;
}

/* --- the tests ------------------------------------------------------------- */

static wharf_response get(void) {
    wharf_response response;
    assert(wharf_send(&(wharf_request){.url = "http://localhost/"}, &response) == WHARF_OK);
    return response;
}

static void requests_are_sent_as_they_were_built(void) {
    host("", "");
    wharf_response response = get();
    assert(!strcmp(seen, "http://localhost/|GET||"));
    assert(response.status == 203);
    wharf_close(&response);

    wharf_text headers = {0};
    assert(!wharf_header_add(&headers, "a", "1"));
    assert(!wharf_header_add(&headers, "B", "x:y: z"));
    assert(!wharf_header_add(&headers, "a", ""));
    wharf_request request = {
        .url = "http://localhost/?q", .method = "PROPFIND", .headers = &headers, .body = "body", .body_length = 3};
    assert(!wharf_send(&request, &response));
    assert(!strcmp(seen, "http://localhost/?q|PROPFIND|a:1\nB:x:y: z\na:\n|bod"));
    wharf_close(&response);
    wharf_text_free(&headers);
}

static void a_header_that_would_become_two_is_not_sent(void) {
    static const char *bad[][2] = {{"a", "b\nc:d"}, {"a", "b\r"}, {"a\nb", "c"}, {"a:b", "c"}, {"", "c"}};
    host("", "");
    for (size_t index = 0; index < sizeof bad / sizeof *bad; ++index) {
        wharf_text headers = {0};
        assert(!wharf_header_add(&headers, "ok", "1"));
        assert(wharf_header_add(&headers, bad[index][0], bad[index][1]) == WHARF_INVALID_ENCODING);
        assert(wharf_header_add(&headers, "ok", "2") == WHARF_INVALID_ENCODING);
        wharf_response response;
        wharf_request request = {.url = "http://localhost/", .headers = &headers};
        assert(wharf_send(&request, &response) == WHARF_INVALID_ENCODING);
        assert(!response.open && !response.status);
        wharf_text_free(&headers);
    }
    assert(!requests);
}

static void every_code_has_a_name_and_a_text(void) {
    for (int code = 0; code <= WHARF_TOO_MANY_SESSIONS; ++code) {
        assert(strcmp(wharf_code_name((wharf_code)code), "UNKNOWN"));
        assert(strcmp(wharf_code_text((wharf_code)code), "unknown error"));
    }
    assert(!strcmp(wharf_code_name(WHARF_DESTINATION_NOT_ALLOWED), "DESTINATION_NOT_ALLOWED"));
    assert(!strcmp(wharf_code_name(WHARF_OUT_OF_MEMORY), "OUT_OF_MEMORY"));
    assert(!strcmp(wharf_code_name((wharf_code)14), "UNKNOWN"));
    assert(!strcmp(wharf_code_text((wharf_code)255), "unknown error"));
}

static void a_request_that_fails_leaves_a_closed_response(void) {
    wharf_response response;
    host("", "");
    for (uint32_t code = 1; code < 15; ++code) {
        script.code = code;
        assert((uint32_t)wharf_send(&(wharf_request){.url = "u"}, &response) == code);
        size_t count = 9;
        char buffer[4] = "abc";
        assert(wharf_read(&response, buffer, sizeof buffer, &count) == WHARF_INVALID_HANDLE && !count);
        assert(wharf_header(&response, "a", buffer, sizeof buffer) == WHARF_INVALID_HANDLE && !*buffer);
        wharf_text headers = {0};
        assert(wharf_headers(&response, &headers) == WHARF_INVALID_HANDLE);
        wharf_close(&response);
    }
    assert(wharf_send(&(wharf_request){0}, &response) == WHARF_INVALID_URL);
    assert(!open_responses);
}

static void bodies_are_read_as_they_come(void) {
    host("", "one two three");
    script.chunk = 6;
    wharf_response response = get();
    const char *parts[] = {"one ", "two ", "thre", "e", "", ""};
    for (size_t index = 0; index < sizeof parts / sizeof *parts; ++index) {
        char buffer[4];
        size_t count;
        assert(!wharf_read(&response, buffer, sizeof buffer, &count));
        assert(count == strlen(parts[index]) && !memcmp(buffer, parts[index], count));
    }
    wharf_close(&response);
    wharf_close(&response);
    assert(!open_responses);
}

static void whole_bodies_are_limited(void) {
    static char body[70000];
    memset(body, 'x', sizeof body - 1);
    for (size_t length = 0; length < sizeof body; length = length * 3 + 1) {
        for (int around = -1; around <= 1; ++around) {
            if (!length && around < 0)
                continue;
            size_t limit = length + (size_t)around;
            host("", "");
            script.body = body;
            script.body_length = length;
            script.chunk = 1000;
            wharf_response response = get();
            wharf_text text = {0};
            wharf_code code = wharf_read_all(&response, limit, &text);
            assert(code == (limit < length ? WHARF_BUFFER_TOO_SMALL : WHARF_OK));
            assert(text.length == (limit < length ? limit : length) && strlen(text.data) == text.length);
            wharf_text_free(&text);
        }
    }
    host("", "some");
    script.breaks = true;
    wharf_response response = get();
    wharf_text text = {0};
    assert(wharf_read_all(&response, SIZE_MAX, &text) == WHARF_REQUEST_FAILED);
    assert(!strcmp(text.data, "some"));
    wharf_text_free(&text);
}

static void a_value_fits_or_is_refused(void) {
    host("x-time:12:30:45\n", "");
    wharf_response response = get();
    for (size_t size = 0; size < 12; ++size) {
        /* On the heap, so that one byte too much is seen. */
        char *value = malloc(size);
        wharf_code code = wharf_header(&response, "x-time", value, size);
        assert(code == (size < 9 ? WHARF_BUFFER_TOO_SMALL : WHARF_OK));
        assert(!size || !strcmp(value, size < 9 ? "" : "12:30:45"));
        free(value);
    }
    char value[4];
    assert(wharf_header(&response, "x-none", value, sizeof value) == WHARF_HEADER_NOT_FOUND && !*value);
}

static void headers_are_listed(void) {
    host("a:1\nb:x:y\nA:\nno colon\n:no name\nlast:2", "");
    wharf_response response = get();
    wharf_text headers = {0};
    assert(!wharf_headers(&response, &headers));
    const char *expected[][2] = {{"a", "1"}, {"b", "x:y"}, {"A", ""}, {"", "no name"}, {"last", "2"}};
    wharf_slice name, value;
    size_t at = 0, count = 0;
    for (; wharf_next_header(&headers, &at, &name, &value); ++count) {
        assert(wharf_name_is(name, expected[count][0]));
        assert(value.length == strlen(expected[count][1]) && !memcmp(value.data, expected[count][1], value.length));
    }
    assert(count == 5);
    assert(wharf_name_is((wharf_slice){"Set-Cookie", 10}, "set-cookie"));
    assert(!wharf_name_is((wharf_slice){"Set-Cookie", 9}, "set-cookie"));
    wharf_text_free(&headers);
}

static void headers_of_any_size_are_read_and_no_host_is_believed_for_ever(void) {
    static char large[100000] = "x:";
    memset(large + 2, 'v', sizeof large - 3);
    host(large, "");
    wharf_response response = get();
    wharf_text headers = {0};
    assert(!wharf_headers(&response, &headers));
    assert(!strcmp(headers.data, large));
    script.headers_code = WHARF_BUFFER_TOO_SMALL;
    header_calls = 0;
    assert(wharf_headers(&response, &headers) == WHARF_BUFFER_TOO_SMALL);
    assert(header_calls == 13);
    assert(!strcmp(headers.data, large));
    wharf_text_free(&headers);
}

static void a_count_that_is_too_large_is_cut(void) {
    host("a:1\n", "body");
    script.lies = true;
    wharf_response response = get();
    char *buffer = malloc(5);
    size_t count;
    assert(!wharf_read(&response, buffer, 5, &count) && count == 5);
    assert(!wharf_header(&response, "a", buffer, 5) && buffer[4] == '\0');
    free(buffer);
    wharf_text headers = {0};
    assert(!wharf_headers(&response, &headers) && headers.length == 4096);
    wharf_text_free(&headers);
}

static void forms_are_what_a_browser_makes_of_them(void) {
    wharf_text form = {0};
    assert(!wharf_form_add(&form, "a b", "1&2=3"));
    assert(!wharf_form_add(&form, "\xc3\xbc", ""));
    assert(!wharf_form_add(&form, "x*-._~'", "+%\n"));
    assert(!strcmp(form.data, "a+b=1%262%3D3&%C3%BC=&x*-._%7E%27=%2B%25%0A"));
    wharf_text_free(&form);
}

static void memory_that_is_not_there_is_an_error(void) {
    wharf_text text = {0};
    assert(wharf_text_add(&text, "", SIZE_MAX) == WHARF_OUT_OF_MEMORY);
    assert(wharf_text_add(&text, "a", 1) == WHARF_OUT_OF_MEMORY);
    assert(wharf_form_add(&text, "a", "b") == WHARF_OUT_OF_MEMORY);
    assert(!text.length);
    wharf_text_free(&text);
    assert(!wharf_text_add(&text, NULL, 0) && !*text.data);
    wharf_text_free(&text);
}

int main(void) {
    requests_are_sent_as_they_were_built();
    a_header_that_would_become_two_is_not_sent();
    every_code_has_a_name_and_a_text();
    a_request_that_fails_leaves_a_closed_response();
    bodies_are_read_as_they_come();
    whole_bodies_are_limited();
    a_value_fits_or_is_refused();
    headers_are_listed();
    headers_of_any_size_are_read_and_no_host_is_believed_for_ever();
    a_count_that_is_too_large_is_cut();
    forms_are_what_a_browser_makes_of_them();
    memory_that_is_not_there_is_an_error();
    puts("12 tests passed");
    return 0;
}
