/* Fetches a URL and prints the status and the body, as it comes. */
#include "wharf.h"

#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: {{name}} URL\n", stderr);
        return 2;
    }
    wharf_text headers = {0};
    wharf_header_add(&headers, "accept", "*/*");
    wharf_response response;
    wharf_code code = wharf_send(&(wharf_request){.url = argv[1], .headers = &headers}, &response);
    wharf_text_free(&headers);
    if (!code)
        printf("%d\n", response.status);

    static char buffer[16 * 1024];
    size_t count = 1;
    while (!code && count) {
        code = wharf_read(&response, buffer, sizeof buffer, &count);
        fwrite(buffer, 1, count, stdout);
    }
    wharf_close(&response);
    if (code)
        fprintf(stderr, "{{name}}: %s (code %d)\n", wharf_code_text(code), (int)code);
    return code ? 1 : 0;
}
