/* A load generator for Socket.IO rooms, light enough not to be what is measured.
 *
 * usage: generator CLIENTS [LIFETIME_SECONDS [PATIENCE_SECONDS]]
 *
 * CLIENTS is a text file, one client a line, fields separated by tabs:
 *
 *     port  namespace  role  room  seat  session  token
 *
 * Only 127.0.0.1 is ever connected to. Role `active` joins and toggles its camera; `observer` watches and counts. A
 * user's name ends with `-ROOM-SEAT`, by which its events are known. Then one command a line on standard input, each
 * answered by one line of JSON on standard output; between commands pings are answered:
 *
 *     connect COUNT WINDOW   connect and join the next COUNT clients, WINDOW of them at a time
 *     closed WARM SECONDS    everyone toggles as soon as its previous toggle is acked
 *     open WARM SECONDS RATE RATE toggles a second, evenly, whatever happens; time counts from when each was due
 *     random WARM SECONDS RATE the same at random moments, as people who know nothing of each other do (Poisson)
 *     idle SECONDS           only answer
 *
 * The first WARM seconds do not count; a line `{"warm":true}` says when they are over, and nothing is interrupted.
 *
 * Checked as it goes: every ack is ok, and every client sees every event of its session once and in order of `seq`.
 * "seen" is when the first client of the room has the event of somebody else's toggle; that client does not toggle in
 * an open loop. The file ends where a screen would: frames are in wire.h, percentiles in samples.h. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "samples.h"
#include "wire.h"

enum { CLIENTS_MAX = 20000, SEATS_MAX = 64, ROOMS_MAX = 20000, RING = 256, RECEIVED = 256 * 1024, MANY = 64, GATHERING_NS = 100000 };
static const int64_t SECOND = 1000000000, TICK_MS = 10;
static int64_t patience = 20 * (int64_t)1000000000; /* for answers and events after a load has ended */

enum state { WAITING, UPGRADING, OPENING, ENTERING, JOINING, READY, GONE };

struct client {
    int fd, port, room, seat;
    enum state state;
    bool active, camera;
    char *space, *session, *token;
    size_t space_length;
    int64_t began, next_seq;
    uint64_t ahead[RING / 64]; /* which of the events after next_seq came before it */
    uint32_t number, ahead_count, seen_from, seen_to;
    int64_t *due, *seen; /* rings: when a toggle was due, by its ack's number, and by the order of events */
    char *in, *out;
    size_t in_length, in_room, out_length;
};

enum mode { REST, CONNECT, CLOSED, OPEN, IDLE, DRAIN };

static struct client clients[CLIENTS_MAX];
static int client_count, connected_to, epoll, timer;
static int by_seat[ROOMS_MAX][SEATS_MAX]; /* client + 1 */
static int64_t room_seq[ROOMS_MAX];

static struct {
    enum mode mode, was;
    int64_t start, end, drain_until, finished, warm_until, length;
    double rate, cpu;
    bool is_random;
    int64_t due;
    long sent, due_count, target, window, joining, joined, failed, turn;
    long acks, deliveries, events, refused, unanswered, reordered, duplicates, gaps, closed, early, overrun, malformed, late;
    int64_t in_flight;
    struct samples ack, seen, connect;
} run;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct client *c, bool writing, int how) {
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &e)) die("epoll_ctl");
}

static void drop(struct client *c) {
    if (c->state == GONE) return;
    if (c->state == READY) run.closed++;
    else run.joining--, run.failed++;
    c->state = GONE;
    close(c->fd);
    free(c->in), free(c->out);
    c->in = c->out = NULL;
}

static void send_bytes(struct client *c, const char *bytes, size_t length) {
    if (!c->out_length) {
        ssize_t sent = send(c->fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return; /* the reader notices */
        if (sent > 0) bytes += sent, length -= (size_t)sent;
        if (!length) return;
        watch(c, true, EPOLL_CTL_MOD);
    }
    c->out = realloc(c->out, c->out_length + length);
    if (!c->out) abort();
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
}

static void flush_bytes(struct client *c) {
    ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    c->out_length -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_length);
    if (!c->out_length) free(c->out), c->out = NULL, watch(c, false, EPOLL_CTL_MOD);
}

static void send_text(struct client *c, const char *text, size_t length) {
    char bytes[8192 + WIRE_HEAD_MAX];
    if (length > 8192) abort();
    send_bytes(c, bytes, wire_frame(bytes, WIRE_TEXT, text, length));
}

static bool toggle(struct client *c, int64_t due) {
    if (!c->due) {
        c->due = calloc(RING, sizeof *c->due), c->seen = calloc(RING, sizeof *c->seen);
        if (!c->due || !c->seen) abort();
    }
    uint32_t number = ++c->number;
    if (c->due[number % RING] || c->seen_to - c->seen_from >= RING) {
        c->number--, run.overrun++;
        return false;
    }
    c->camera = !c->camera;
    c->due[number % RING] = due;
    if (c->seat) c->seen[c->seen_to++ % RING] = due;
    char text[256];
    int length = snprintf(text, sizeof text, "42%s,%u[\"set_media\",{\"cameraEnabled\":%s}]", c->space, number,
                          c->camera ? "true" : "false");
    run.sent++, run.in_flight++;
    send_text(c, text, (size_t)length);
    return true;
}

static void connect_one(struct client *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->began = now_ns();
    c->state = UPGRADING;
    run.joining++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    static const char request[] =
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    c->out_length = sizeof request - 1;
    c->out = malloc(c->out_length);
    if (!c->out) abort();
    memcpy(c->out, request, c->out_length);
    watch(c, true, EPOLL_CTL_ADD);
}

static void on_seq(struct client *c, int64_t seq) {
    int64_t ahead = seq - c->next_seq;
    if (ahead < 0) {
        run.duplicates++;
    } else if (ahead == 0) {
        do { /* take up what came too early */
            c->next_seq++;
            int64_t place = c->next_seq % RING;
            uint64_t bit = 1ULL << (place % 64);
            if (!c->ahead_count || !(c->ahead[place / 64] & bit)) break;
            c->ahead[place / 64] &= ~bit;
            c->ahead_count--;
        } while (true);
    } else if (ahead >= RING) {
        run.gaps++;
    } else {
        uint64_t bit = 1ULL << (seq % RING % 64), *word = &c->ahead[seq % RING / 64];
        run.reordered++;
        if (*word & bit) run.duplicates++;
        else *word |= bit, c->ahead_count++;
    }
    if (c->next_seq > room_seq[c->room]) room_seq[c->room] = c->next_seq;
}

/* In an open loop what is late counts as well. */
static bool is_sampled(void) { return run.mode == CLOSED || run.mode == OPEN || run.was == OPEN; }

static void on_event(struct client *c, const char *text, size_t length, int64_t now) {
    static const char changed[] = "[\"camera_changed\"", seq_key[] = "\"seq\":";
    bool is_toggle = length > sizeof changed && !memcmp(text, changed, sizeof changed - 1);
    const char *number = text_after(text, length, seq_key, sizeof seq_key - 1);
    if (!number) return;
    if (c->state != READY) {
        run.early++;
        return;
    }
    run.events++;
    on_seq(c, strtoll(number, NULL, 10));
    if (!is_toggle) return;
    if (run.mode == CLOSED || run.mode == OPEN) run.deliveries++;
    if (c->seat || !c->active) return;
    const char *user = text_after(text, length, "\"data\":", 7);
    if (user) user = text_after(user, length - (size_t)(user - text), "\"userId\":\"", 10);
    const char *quote = user ? memchr(user, '"', length - (size_t)(user - text)) : NULL;
    if (!quote) {
        run.malformed++;
        return;
    }
    while (quote[-1] >= '0' && quote[-1] <= '9') quote--;
    int seat = atoi(quote);
    int index = seat >= 0 && seat < SEATS_MAX ? by_seat[c->room][seat] : 0;
    struct client *actor = index ? &clients[index - 1] : NULL;
    if (actor && actor->seen && actor->seen_from != actor->seen_to) {
        int64_t due = actor->seen[actor->seen_from++ % RING];
        if (due >= run.start && is_sampled()) samples_add(&run.seen, now - due);
    }
}

static void on_ack(struct client *c, const char *text, size_t length, int64_t now) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    size_t rest = length - (size_t)(end - text);
    bool ok = memmem(end, rest, "\"ok\":true", 9) != NULL;
    if (c->state == JOINING) {
        int64_t seq = json_number(end, rest, "seq", 2);
        if (!ok || seq < 0) {
            fprintf(stderr, "not joined: %.*s\n", (int)(rest > 300 ? 300 : rest), end);
            drop(c);
            return;
        }
        c->state = READY;
        c->next_seq = seq + 1;
        if (c->next_seq > room_seq[c->room]) room_seq[c->room] = c->next_seq;
        samples_add(&run.connect, now - c->began);
        run.joining--, run.joined++;
        return;
    }
    int64_t due = c->due ? c->due[number % RING] : 0;
    if (!due) { /* its answer was given up, or there was no such question */
        number <= c->number ? run.late++ : run.malformed++;
        return;
    }
    c->due[number % RING] = 0;
    run.in_flight--;
    if (!ok) {
        if (!run.refused++) fprintf(stderr, "refused: %.*s\n", (int)(rest > 300 ? 300 : rest), end);
    } else if (is_sampled()) {
        if (run.mode == CLOSED || (run.mode == OPEN && due >= run.start)) run.acks++, run.finished = now;
        if (due >= run.start) samples_add(&run.ack, now - due);
    }
    if (run.mode == CLOSED && now < run.end) toggle(c, now);
}

static void on_text(struct client *c, const char *text, size_t length, int64_t now) {
    char reply[8192];
    int n;
    if (length == 1 && text[0] == '2') {
        send_text(c, "3", 1);
    } else if (text[0] == '0' && c->state == OPENING) {
        c->state = ENTERING;
        n = snprintf(reply, sizeof reply, "40%s,{\"token\":\"%s\"}", c->space, c->token);
        send_text(c, reply, (size_t)n);
    } else if (length > 2 + c->space_length && text[0] == '4' && !memcmp(text + 2, c->space, c->space_length)) {
        const char *body = text + 2 + c->space_length + 1;
        size_t rest = length - (size_t)(body - text);
        if (text[1] == '2') {
            on_event(c, body, rest, now);
        } else if (text[1] == '3') {
            on_ack(c, body, rest, now);
        } else if (text[1] == '0' && c->state == ENTERING) {
            c->state = JOINING;
            n = snprintf(reply, sizeof reply, "42%s,0[\"%s\",{\"sessionId\":\"%s\"}]", c->space,
                         c->active ? "join" : "watch", c->session);
            send_text(c, reply, (size_t)n);
        } else {
            fprintf(stderr, "refused: %.*s\n", (int)(length > 300 ? 300 : length), text);
            drop(c);
        }
    } else {
        run.malformed++;
    }
}

/* Takes what it can of the bytes; returns how many. */
static size_t take(struct client *c, const char *data, size_t length, int64_t now) {
    size_t used = 0;
    if (c->state == UPGRADING) {
        const char *end = text_after(data, length, "\r\n\r\n", 4);
        if (!end) return 0;
        if (!memmem(data, (size_t)(end - data), " 101 ", 5)) {
            drop(c);
            return length;
        }
        c->state = OPENING;
        used = (size_t)(end - data);
    }
    struct frame f;
    long size;
    while (c->state != GONE && (size = wire_read(data + used, length - used, &f)) != 0) {
        if (size < 0 || !f.final || f.opcode == WIRE_CLOSE) {
            drop(c);
            break;
        }
        used += (size_t)size;
        if (f.opcode == WIRE_TEXT && f.length) {
            on_text(c, f.payload, f.length, now);
        } else if (f.opcode == WIRE_PING) {
            char pong[125 + WIRE_HEAD_MAX];
            send_bytes(c, pong, wire_frame(pong, WIRE_PONG, f.payload, f.length < 125 ? f.length : 125));
        }
    }
    return c->state == GONE ? length : used;
}

static void receive(struct client *c, int64_t now) {
    static char received[RECEIVED + 1];
    ssize_t got = recv(c->fd, received, RECEIVED, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) drop(c);
        return;
    }
    char *data = received;
    size_t length = (size_t)got;
    if (c->in_length) {
        if (c->in_length + length + 1 > c->in_room) {
            c->in_room = 2 * (c->in_length + length + 1);
            c->in = realloc(c->in, c->in_room);
            if (!c->in) abort();
        }
        memcpy(c->in + c->in_length, received, length);
        data = c->in, length += c->in_length;
    }
    data[length] = 0; /* numbers are read up to what is none */
    size_t used = take(c, data, length, now);
    if (c->state == GONE) return;
    size_t left = length - used;
    if (data == c->in) {
        memmove(c->in, c->in + used, left);
    } else if (left) {
        c->in_room = left + 4096;
        c->in = malloc(c->in_room);
        if (!c->in) abort();
        memcpy(c->in, data + used, left);
    }
    c->in_length = left;
    if (!left && c->in) free(c->in), c->in = NULL, c->in_room = 0;
}

#include "phases.h"

int main(int argc, char **argv) {
    if (argc < 2 || !strcmp(argv[1], "--help")) {
        puts("usage: generator CLIENTS [LIFETIME_SECONDS [PATIENCE_SECONDS]]\n"
             "CLIENTS: port, namespace, role, room, seat, session, token, separated by tabs, one client a line.\n"
             "Commands on standard input: connect COUNT WINDOW, closed WARM SECONDS, open WARM SECONDS RATE, random WARM SECONDS\n"
             "RATE, idle SECONDS.");
        return argc < 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm((unsigned)(argc > 2 ? atoi(argv[2]) : 3600));
    if (argc > 3) patience = atoi(argv[3]) * SECOND;
    read_clients(argv[1]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &e)) die("epoll");
    e.data.ptr = &timer;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e)) die("epoll");
    prctl(PR_SET_TIMERSLACK, 1000UL);
    const struct timespec gathering = {.tv_nsec = GATHERING_NS};
    static struct epoll_event events[1024];
    while (true) {
        int count = epoll_wait(epoll, events, 1024, run.mode == REST ? -1 : (int)TICK_MS);
        int64_t now = now_ns();
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (c == NULL) {
                if (run.mode == REST) read_command();
            } else if ((void *)c == (void *)&timer) {
                uint64_t expirations;
                if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) die("timer");
            } else if (c->state != GONE) {
                if (events[i].events & EPOLLOUT && c->out_length) flush_bytes(c);
                if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                    if ((i & 15) == 15) now = now_ns();
                    receive(c, now);
                }
            }
        }
        go_on(now_ns());
        /* In a closed loop of many what comes is gathered for a moment: reading every frame by itself is dear. */
        if (run.mode == CLOSED && count < 2 * MANY && run.in_flight > MANY) nanosleep(&gathering, NULL);
    }
}
