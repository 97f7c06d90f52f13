/* WebSocket frames as a client sends and reads them, and the little of JSON that the load generator has to see.
 *
 * Owns bytes; knows nothing of rooms, loads or clocks. */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_TEXT = 1, WIRE_CLOSE = 8, WIRE_PING = 9, WIRE_PONG = 10, WIRE_HEAD_MAX = 14 };

/* One frame found in received bytes. */
struct frame {
    int opcode, final;
    const char *payload;
    size_t length;
};

/* Writes a masked frame into `to`, which has WIRE_HEAD_MAX more bytes than the payload; returns its length. The mask is
 * not zero: some servers skip unmasking then, and would be measured with less work than they have. */
static inline size_t wire_frame(char *to, int opcode, const char *payload, size_t length) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char *p = (unsigned char *)to;
    *p++ = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        *p++ = (unsigned char)(0x80 | length);
    } else if (length < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (unsigned char)(length >> 8);
        *p++ = (unsigned char)length;
    } else {
        *p++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) *p++ = (unsigned char)((uint64_t)length >> shift);
    }
    memcpy(p, mask, 4);
    p += 4;
    for (size_t i = 0; i < length; i++) p[i] = (unsigned char)payload[i] ^ mask[i & 3];
    return (size_t)((char *)p - to) + length;
}

/* Reads the frame at the start of `data`; returns its whole size, 0 if more bytes are needed, -1 if it is masked. */
static inline long wire_read(const char *data, size_t length, struct frame *out) {
    const unsigned char *p = (const unsigned char *)data;
    if (length < 2) return 0;
    uint64_t size = p[1] & 127;
    size_t head = 2;
    if (p[1] & 128) return -1;
    if (size == 126) {
        if (length < 4) return 0;
        size = (uint64_t)p[2] << 8 | p[3];
        head = 4;
    } else if (size == 127) {
        if (length < 10) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | p[i];
        head = 10;
    }
    if (length - head < size) return 0;
    out->opcode = p[0] & 15;
    out->final = p[0] >> 7;
    out->payload = data + head;
    out->length = (size_t)size;
    return (long)(head + size);
}

/* Returns the number after the first `"key":` that stands `depth` brackets deep, or -1. */
static inline int64_t json_number(const char *text, size_t length, const char *key, int depth) {
    size_t keyed = strlen(key);
    int at = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '{' || c == '[') {
            at++;
        } else if (c == '}' || c == ']') {
            at--;
        } else if (c == '"') {
            size_t start = ++i;
            while (i < length && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
            if (at == depth && i - start == keyed && i + 1 < length && text[i + 1] == ':' &&
                !memcmp(text + start, key, keyed))
                return strtoll(text + i + 2, NULL, 10); /* a frame ends with a bracket, which ends the number */
        }
    }
    return -1;
}

/* Returns where the first `needle` ends in the text, or NULL. */
static inline const char *text_after(const char *text, size_t length, const char *needle, size_t needed) {
    const char *found = memmem(text, length, needle, needed);
    return found ? found + needed : NULL;
}

#endif
