/* `c-download URL`: reads a body of any size, a piece at a time, and prints its length and its CRC-32. */
#include "wharf.h"

#include <stdio.h>

static uint32_t table[256];

static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; ++bit)
            sum = sum & 1 ? sum >> 1 ^ 0xedb88320 : sum >> 1;
        table[byte] = sum;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: c-download URL\n", stderr);
        return 2;
    }
    fill_table();
    wharf_response response;
    wharf_code code = wharf_send(&(wharf_request){.url = argv[1]}, &response);
    if (!code && (response.status < 200 || response.status > 299)) {
        fprintf(stderr, "c-download: the origin answered %d\n", response.status);
        wharf_close(&response);
        return 1;
    }

    static unsigned char buffer[64 * 1024];
    unsigned long long length = 0;
    uint32_t crc = 0xffffffff;
    size_t count = 0;
    while (!code && !(code = wharf_read(&response, buffer, sizeof buffer, &count)) && count) {
        for (size_t index = 0; index < count; ++index)
            crc = crc >> 8 ^ table[(crc ^ buffer[index]) & 255];
        length += count;
    }
    wharf_close(&response);
    if (code) {
        fprintf(stderr, "c-download: %s (code %d)\n", wharf_code_text(code), (int)code);
        return 1;
    }
    printf("%llu bytes, CRC-32 %08x\n", length, (unsigned)~crc);
    return 0;
}
