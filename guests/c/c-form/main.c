/* `c-form URL [NAME=VALUE]...`: posts a form and prints the status and what the origin answers. */
#include "wharf.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: c-form URL [NAME=VALUE]...\n", stderr);
        return 2;
    }
    wharf_text form = {0}, headers = {0}, answer = {0};
    for (int index = 2; index < argc; ++index) {
        char *equals = strchr(argv[index], '=');
        if (equals)
            *equals = '\0';
        wharf_form_add(&form, argv[index], equals ? equals + 1 : "");
    }
    wharf_header_add(&headers, "content-type", WHARF_FORM_TYPE);

    wharf_request request = {
        .url = argv[1], .method = "POST", .headers = &headers, .body = form.data, .body_length = form.length};
    wharf_response response = {0};
    wharf_code code = form.code;
    if (!code)
        code = wharf_send(&request, &response);
    if (!code)
        code = wharf_read_all(&response, 1024 * 1024, &answer);
    if (code)
        fprintf(stderr, "c-form: %s (code %d)\n", wharf_code_text(code), (int)code);
    else
        printf("%d\n%s\n", response.status, answer.data);

    wharf_close(&response);
    wharf_text_free(&answer);
    wharf_text_free(&headers);
    wharf_text_free(&form);
    return code ? 1 : 0;
}
