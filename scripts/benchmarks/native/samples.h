/* Exact samples of times, and their percentiles. Owns nothing else. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES_MAX = 16 * 1024 * 1024 };

/* Microseconds, each as measured; beyond SAMPLES_MAX further ones are only counted. */
struct samples {
    uint32_t *values;
    size_t count, room, total;
};

static inline void samples_add(struct samples *s, int64_t nanoseconds) {
    s->total++;
    if (s->count == SAMPLES_MAX) return;
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 4096;
        s->values = realloc(s->values, s->room * sizeof *s->values);
        if (!s->values) abort();
    }
    s->values[s->count++] = (uint32_t)(nanoseconds < 0 ? 0 : nanoseconds / 1000 > UINT32_MAX ? UINT32_MAX : nanoseconds / 1000);
}

static inline int samples_compare(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* Prints `"name":{…}` and forgets the samples. */
static inline void samples_print(struct samples *s, const char *name) {
    printf("\"%s\":{\"count\":%zu", name, s->total);
    if (s->count) {
        qsort(s->values, s->count, sizeof *s->values, samples_compare);
        static const struct { const char *name; double share; } wanted[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"max", 1}};
        for (size_t i = 0; i < 4; i++) {
            size_t place = (size_t)(wanted[i].share * (double)s->count);
            printf(",\"%s\":%.3f", wanted[i].name, s->values[place < s->count ? place : s->count - 1] / 1000.0);
        }
    }
    printf("}");
    s->count = s->total = 0;
}

#endif
