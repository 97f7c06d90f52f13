/* A stand-in for a fast database: it passes MongoDB's wire protocol through to a real server until it is told to answer
 * the hot writes itself, each a fixed time after it came. What it measures is the ceiling of whoever writes.
 *
 * usage: standin TARGET_PORT [ANSWER_MICROSECONDS]
 *
 * Listens on a free port of 127.0.0.1, which it prints. Commands, one a line: `on` (answer inserts, updates and deletes
 * in `events`, `participants` and `sessions`, and the end of a transaction), `off`, `stats`; each is answered by a line
 * of JSON. Whatever else is asked still goes to the real server, so what is read there is old from `on` on. Bytes that
 * the real server sends are passed on as they come: an answer of ours never falls between them, because a driver's
 * connection has one request at a time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bson.h"

enum { PAIRS_MAX = 2048, LATER_MAX = 8192, CHUNK = 1 << 20, REPLY_MAX = 128 };

struct end {
    int fd;
    struct pair *pair;
    bool is_client;
    unsigned char *in, *out; /* in: of a message that is not complete yet; out: what could not be sent yet */
    size_t in_length, in_room, out_length;
};

struct pair {
    struct end client, server;
    bool closed;
    unsigned number;
};

struct later {
    struct pair *pair;
    unsigned number;
    int64_t due;
    long length;
    unsigned char reply[REPLY_MAX];
};

static struct pair pairs[PAIRS_MAX];
static struct later queue[LATER_MAX];
static unsigned queue_from, queue_to;
static int epoll, listening, timer, target_port;
static bool answering;
static int64_t delay;
static long answered, passed, documents;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct end *e, bool writing, int how) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = e};
    if (epoll_ctl(epoll, how, e->fd, &event)) die("epoll_ctl");
}

static void close_pair(struct pair *p) {
    if (p->closed) return;
    p->closed = true;
    p->number++;
    struct end *ends[] = {&p->client, &p->server};
    for (int i = 0; i < 2; i++) {
        close(ends[i]->fd);
        free(ends[i]->in), free(ends[i]->out);
        memset(ends[i], 0, sizeof *ends[i]);
    }
}

static void append(unsigned char **to, size_t *length, const void *bytes, size_t more) {
    *to = realloc(*to, *length + more);
    if (!*to) abort();
    memcpy(*to + *length, bytes, more);
    *length += more;
}

static void send_to(struct end *e, const unsigned char *bytes, size_t length) {
    if (!e->out_length) {
        ssize_t sent = send(e->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) bytes += sent, length -= (size_t)sent;
        if (!length || (sent < 0 && errno != EAGAIN)) return;
        watch(e, true, EPOLL_CTL_MOD);
    }
    append(&e->out, &e->out_length, bytes, length);
}

static void flush_to(struct end *e) {
    ssize_t sent = send(e->fd, e->out, e->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return;
    e->out_length -= (size_t)sent;
    memmove(e->out, e->out + sent, e->out_length);
    if (!e->out_length) free(e->out), e->out = NULL, watch(e, false, EPOLL_CTL_MOD);
}

static bool is_hot(const struct command *asked) {
    if (!strcmp(asked->name, "commitTransaction") || !strcmp(asked->name, "abortTransaction")) return true;
    if (strcmp(asked->name, "insert") && strcmp(asked->name, "update") && strcmp(asked->name, "delete")) return false;
    static const char *const hot[] = {"events", "participants", "sessions"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(asked->collection, hot[i])) return true;
    return false;
}

static void set_timer(void) {
    int64_t due = queue[queue_from % LATER_MAX].due;
    struct itimerspec next = {.it_value = {due / 1000000000, due % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &next, NULL);
}

static void answer_later(struct pair *p, int32_t request, const struct command *asked, int64_t now) {
    if (queue_to - queue_from == LATER_MAX) die("too many unanswered writes");
    struct later *l = &queue[queue_to++ % LATER_MAX];
    l->pair = p, l->number = p->number, l->due = now + delay;
    l->length = write_reply(l->reply, request, asked);
    answered++, documents += asked->documents;
    if (queue_to - queue_from == 1) set_timer();
}

static void answer_due(int64_t now) {
    while (queue_from != queue_to && queue[queue_from % LATER_MAX].due <= now) {
        struct later *l = &queue[queue_from++ % LATER_MAX];
        if (!l->pair->closed && l->pair->number == l->number) send_to(&l->pair->client, l->reply, (size_t)l->length);
    }
    if (queue_from != queue_to) set_timer();
}

/* Takes the complete messages of what a client sent; returns how many bytes that was. */
static size_t take(struct pair *p, const unsigned char *data, size_t length, int64_t now) {
    size_t used = 0, from = 0; /* from..used is to be passed on */
    while (length - used >= MESSAGE_HEAD) {
        int32_t size = read_int32(data + used);
        struct command asked;
        if (size < MESSAGE_HEAD || size > 64 << 20) {
            close_pair(p);
            return 0;
        }
        if ((size_t)size > length - used) break;
        if (answering && read_msg(data + used, size, &asked) && is_hot(&asked)) {
            if (used > from) send_to(&p->server, data + from, used - from);
            answer_later(p, read_int32(data + used + 4), &asked, now);
            from = used + (size_t)size;
        } else {
            passed++;
        }
        used += (size_t)size;
    }
    if (used > from) send_to(&p->server, data + from, used - from);
    return used;
}

static void receive(struct end *e, int64_t now) {
    static unsigned char chunk[CHUNK];
    ssize_t got = recv(e->fd, chunk, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) close_pair(e->pair);
        return;
    }
    if (!e->is_client) {
        send_to(&e->pair->client, chunk, (size_t)got);
        return;
    }
    if (!e->in_length) {
        size_t used = take(e->pair, chunk, (size_t)got, now);
        if (!e->pair->closed && used < (size_t)got) append(&e->in, &e->in_length, chunk + used, (size_t)got - used);
        return;
    }
    append(&e->in, &e->in_length, chunk, (size_t)got);
    size_t used = take(e->pair, e->in, e->in_length, now);
    if (e->pair->closed) return;
    e->in_length -= used;
    memmove(e->in, e->in + used, e->in_length);
    if (!e->in_length) free(e->in), e->in = NULL;
}

static int connect_to_server(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target_port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    return fd;
}

static void accept_one(void) {
    int fd = accept(listening, NULL, NULL), one = 1;
    if (fd < 0) return;
    for (int i = 0; i < PAIRS_MAX; i++) {
        struct pair *p = &pairs[i];
        if (p->client.fd) continue;
        p->closed = false;
        p->client = (struct end){.fd = fd, .pair = p, .is_client = true};
        p->server = (struct end){.fd = connect_to_server(), .pair = p};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(p->server.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(&p->client, false, EPOLL_CTL_ADD);
        watch(&p->server, false, EPOLL_CTL_ADD);
        return;
    }
    close(fd);
}

static void obey(void) {
    char text[64];
    ssize_t got = read(0, text, sizeof text - 1);
    if (got <= 0) exit(0);
    text[got] = 0;
    if (!strncmp(text, "on", 2)) answering = true;
    else if (!strncmp(text, "off", 3)) answering = false;
    printf("{\"answering\":%s,\"answered\":%ld,\"documents\":%ld,\"passed\":%ld}\n", answering ? "true" : "false",
           answered, documents, passed);
    answered = documents = passed = 0;
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2 || !strcmp(argv[1], "--help")) {
        puts("usage: standin TARGET_PORT [ANSWER_MICROSECONDS]\nCommands on standard input: on, off, stats.");
        return argc < 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    target_port = atoi(argv[1]);
    delay = 1000LL * (argc > 2 ? atoi(argv[2]) : 300);
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&at, size) || listen(listening, 128)) die("listen");
    getsockname(listening, (struct sockaddr *)&at, &size);
    printf("{\"port\":%d}\n", ntohs(at.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int *const others[] = {&listening, &timer, NULL};
    for (int i = 0; i < 3; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = others[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, others[i] ? *others[i] : 0, &e)) die("epoll_ctl");
    }
    static struct epoll_event events[256];
    while (true) {
        int count = epoll_wait(epoll, events, 256, -1);
        int64_t now = now_ns();
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            struct end *e = what;
            if (what == NULL) {
                obey();
            } else if (what == &listening) {
                accept_one();
            } else if (what == &timer) {
                uint64_t expirations;
                if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("timer");
                answer_due(now);
            } else if (e->pair && !e->pair->closed) {
                if (events[i].events & EPOLLOUT && e->out_length) flush_to(e);
                if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(e, now);
            }
        }
    }
}
