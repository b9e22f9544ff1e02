/* `c-fetch URL [METHOD [BODY]] [NAME:VALUE]...`: sends one request and prints the status, the headers by name, and the
 * body as it comes. */
#include "wharf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(wharf_code code) {
    fprintf(stderr, "c-fetch: %s (code %d)\n", wharf_code_text(code), (int)code);
    return 1;
}

/* Fills a request from the arguments behind the URL; adds to `headers` what they name. */
static void build(int count, char **args, wharf_request *request, wharf_text *headers) {
    for (int index = 0; index < count; ++index) {
        char *colon = strchr(args[index], ':');
        /* What follows the method is the body, whatever it holds. */
        if (colon && !(request->method && !request->body)) {
            *colon = '\0';
            wharf_header_add(headers, args[index], colon + 1);
        } else if (!request->method) {
            request->method = args[index];
        } else {
            request->body = args[index];
            request->body_length = strlen(args[index]);
        }
    }
}

struct header {
    wharf_slice name, value;
    size_t place;
};

/* By name; those of one name stay as they came. */
static int order(const void *left, const void *right) {
    const struct header *a = left, *b = right;
    size_t shorter = a->name.length < b->name.length ? a->name.length : b->name.length;
    int names = memcmp(a->name.data, b->name.data, shorter);
    if (names)
        return names;
    if (a->name.length != b->name.length)
        return a->name.length < b->name.length ? -1 : 1;
    return a->place < b->place ? -1 : 1;
}

static wharf_code print_headers(wharf_response *response) {
    wharf_text lines = {0};
    wharf_code code = wharf_headers(response, &lines);
    struct header header, *headers = NULL;
    size_t position = 0, count = 0;
    while (!code && wharf_next_header(&lines, &position, &header.name, &header.value)) {
        struct header *more = realloc(headers, (count + 1) * sizeof *headers);
        if (!more) {
            code = WHARF_OUT_OF_MEMORY;
            break;
        }
        headers = more;
        header.place = count;
        headers[count++] = header;
    }
    if (!code && count) {
        qsort(headers, count, sizeof *headers, order);
        for (size_t index = 0; index < count; ++index) {
            wharf_slice name = headers[index].name, value = headers[index].value;
            if (!wharf_name_is(name, "date"))
                printf("%.*s: %.*s\n", (int)name.length, name.data, (int)value.length, value.data);
        }
    }
    free(headers);
    wharf_text_free(&lines);
    return code;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: c-fetch URL [METHOD [BODY]] [NAME:VALUE]...\n", stderr);
        return 2;
    }
    wharf_text headers = {0};
    wharf_request request = {.url = argv[1], .headers = &headers};
    build(argc - 2, argv + 2, &request, &headers);
    wharf_response response;
    wharf_code code = wharf_send(&request, &response);
    wharf_text_free(&headers);
    if (code)
        return failed(code);

    printf("%d\n", response.status);
    code = print_headers(&response);
    if (code)
        return failed(code);
    putchar('\n');

    static char buffer[64 * 1024];
    size_t count;
    while (!(code = wharf_read(&response, buffer, sizeof buffer, &count)) && count)
        fwrite(buffer, 1, count, stdout);
    wharf_close(&response);
    return code ? failed(code) : 0;
}
