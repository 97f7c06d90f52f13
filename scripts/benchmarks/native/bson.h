/* The little of MongoDB's wire protocol that the stand-in has to see: commands, their collection and how many documents.
 *
 * Owns bytes; knows nothing of connections or time. Reads only what lies within the message. */
#ifndef BSON_H
#define BSON_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { OP_MSG = 2013, MESSAGE_HEAD = 16, MORE_TO_COME = 2 };

static inline int32_t read_int32(const unsigned char *p) {
    int32_t value;
    memcpy(&value, p, 4); /* both are little-endian on every machine that this is for */
    return value;
}

/* Returns the size of a value of this type, or -1 where it does not end before `end`. */
static inline long bson_size(int type, const unsigned char *p, const unsigned char *end) {
    long left = end - p, size = -1;
    switch (type) {
    case 0x01: case 0x09: case 0x11: case 0x12: size = 8; break;
    case 0x07: size = 12; break;
    case 0x08: size = 1; break;
    case 0x10: size = 4; break;
    case 0x13: size = 16; break;
    case 0x06: case 0x0a: case 0x7f: case 0xff: size = 0; break;
    case 0x02: case 0x0d: case 0x0e: size = left < 4 ? -1 : 4 + (long)read_int32(p); break;
    case 0x03: case 0x04: case 0x0f: size = left < 4 ? -1 : (long)read_int32(p); break;
    case 0x05: size = left < 4 ? -1 : 5 + (long)read_int32(p); break;
    default: break; /* regular expressions and pointers stand in no command that is answered here */
    }
    return size < 0 || size > left ? -1 : size;
}

/* Goes to the next element: gives its type, name and value; false at the end. */
static inline bool bson_next(const unsigned char **at, const unsigned char *end, int *type, const char **name,
                             const unsigned char **value) {
    const unsigned char *p = *at;
    if (p >= end || !*p) return false;
    *type = *p++;
    *name = (const char *)p;
    const unsigned char *ended = memchr(p, 0, (size_t)(end - p));
    if (!ended) return false;
    *value = ended + 1;
    long size = bson_size(*type, *value, end);
    if (size < 0) return false;
    *at = *value + size;
    return true;
}

static inline long bson_count(const unsigned char *array, const unsigned char *end) {
    const unsigned char *at = array + 4, *value;
    const char *name;
    int type;
    long count = 0;
    while (bson_next(&at, end, &type, &name, &value)) count++;
    return count;
}

/* Finds an element by its name; NULL if there is none of that type. */
static inline const unsigned char *bson_find(const unsigned char *document, const unsigned char *end, int wanted,
                                             const char *called) {
    const unsigned char *at = document + 4, *value;
    const char *name;
    int type;
    while (bson_next(&at, end, &type, &name, &value))
        if (type == wanted && !strcmp(name, called)) return value;
    return NULL;
}

/* How many documents a statement concerns: {q: {_id: {$in: [...]}}} all of these, which are taken to be there; any other
 * one. Who wrote several at once would otherwise be told that most are missing, and look for them. */
static inline long bson_concerned(const unsigned char *statement, const unsigned char *end) {
    const unsigned char *found = bson_find(statement, end, 0x03, "q");
    if (found) found = bson_find(found, end, 0x03, "_id");
    if (found) found = bson_find(found, end, 0x04, "$in");
    return found ? bson_count(found, end) : 1;
}

/* What a command asks for. */
struct command {
    const char *name, *collection;
    long documents; /* that are inserted, updated or deleted */
};

/* Reads a whole OP_MSG; false where it is none, or not one that could be answered here. */
static inline bool read_msg(const unsigned char *message, long length, struct command *out) {
    if (length < MESSAGE_HEAD + 5 || read_int32(message + 12) != OP_MSG) return false;
    uint32_t flags = (uint32_t)read_int32(message + MESSAGE_HEAD);
    if (flags & MORE_TO_COME) return false; /* nobody waits for an answer */
    const unsigned char *p = message + MESSAGE_HEAD + 4, *end = message + length - (flags & 1 ? 4 : 0);
    memset(out, 0, sizeof *out);
    while (p < end) {
        int kind = *p++;
        if (end - p < 5) return false;
        long size = read_int32(p);
        if (size < 5 || size > end - p) return false;
        if (kind == 0) {
            const unsigned char *at = p + 4, *value;
            const char *name;
            int type;
            while (bson_next(&at, p + size, &type, &name, &value)) {
                if (!out->name) {
                    out->name = name;
                    out->collection = type == 0x02 ? (const char *)value + 4 : "";
                } else if (type == 0x04 && (!strcmp(name, "documents") || !strcmp(name, "updates") ||
                                            !strcmp(name, "deletes") || !strcmp(name, "ops"))) {
                    const unsigned char *each = value + 4, *statement;
                    while (bson_next(&each, p + size, &type, &name, &statement))
                        out->documents += type == 0x03 ? bson_concerned(statement, p + size) : 1;
                }
            }
        } else if (kind == 1) {
            const unsigned char *named = memchr(p + 4, 0, (size_t)(size - 4));
            if (!named) return false;
            if (strcmp((const char *)p + 4, "nsInfo")) {
                bool inserts = !strcmp((const char *)p + 4, "documents");
                for (const unsigned char *at = named + 1; at + 5 <= p + size;) {
                    int32_t each = read_int32(at);
                    if (each < 5 || each > p + size - at) return false;
                    out->documents += inserts ? 1 : bson_concerned(at, at + each);
                    at += each;
                }
            }
        } else {
            return false;
        }
        p += size;
    }
    return out->name != NULL;
}

/* Appends an int32 element; returns the new end. */
static inline unsigned char *bson_int(unsigned char *p, const char *name, int32_t value) {
    *p++ = 0x10;
    size_t length = strlen(name) + 1;
    memcpy(p, name, length);
    p += length;
    memcpy(p, &value, 4);
    return p + 4;
}

/* Writes the answer to a write; returns its length. */
static inline long write_reply(unsigned char *to, int32_t request, const struct command *asked) {
    static int32_t number;
    unsigned char *p = to + MESSAGE_HEAD, *body;
    memset(p, 0, 5); /* no flags; a section of kind 0 */
    body = p += 5;
    p += 4;
    int32_t count = (int32_t)asked->documents;
    if (!strcmp(asked->name, "insert") || !strcmp(asked->name, "update") || !strcmp(asked->name, "delete"))
        p = bson_int(p, "n", count);
    if (!strcmp(asked->name, "update")) p = bson_int(p, "nModified", count);
    p = bson_int(p, "ok", 1);
    *p++ = 0;
    int32_t head[4] = {(int32_t)(p - to), ++number, request, OP_MSG}, size = (int32_t)(p - body);
    memcpy(to, head, sizeof head);
    memcpy(body, &size, 4);
    return p - to;
}

#endif
