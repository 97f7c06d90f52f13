/* What the generator does when: its clients' file, its commands, and the end of each. Part of generator.c. */

static void read_clients(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    static char line[8192], space[32], role[16], session[64], token[4096];
    while (fgets(line, sizeof line, file)) {
        if (client_count == CLIENTS_MAX) break;
        struct client *c = &clients[client_count];
        if (sscanf(line, "%d\t%31s\t%15s\t%d\t%d\t%63s\t%4095s", &c->port, space, role, &c->room, &c->seat, session,
                   token) != 7 ||
            c->room < 0 || c->room >= ROOMS_MAX || c->seat < 0) {
            fprintf(stderr, "not a client: %s", line);
            exit(1);
        }
        c->active = !strcmp(role, "active");
        c->space = strdup(space), c->session = strdup(session), c->token = strdup(token);
        c->space_length = strlen(space);
        c->fd = -1;
        client_count++;
        if (c->active && c->seat < SEATS_MAX) by_seat[c->room][c->seat] = client_count;
    }
    fclose(file);
}

/* Forgets what was counted, but not what was wrong. */
static void count_anew(void) {
    run.joined = run.failed = run.acks = run.deliveries = run.events = run.sent = run.due_count = 0;
    run.ack.count = run.ack.total = run.seen.count = run.seen.total = 0;
    run.start = run.finished = run.due = now_ns();
    run.cpu = cpu_seconds();
}

static void report(void) {
    double cpu = cpu_seconds() - run.cpu;
    double wall = (double)(now_ns() - run.start) / 1e9;
    int64_t until = run.was == CONNECT || run.was == OPEN ? run.finished : run.end;
    double span = (double)(until - run.start) / 1e9;
    if (span <= 0) span = wall;
    for (int i = 0; i < client_count; i++) {
        if (clients[i].state != READY) continue;
        run.gaps += clients[i].next_seq != room_seq[clients[i].room];
        if (clients[i].ahead_count) { /* go on behind the gap, or everything would count as early from here on */
            memset(clients[i].ahead, 0, sizeof clients[i].ahead);
            clients[i].ahead_count = 0;
        }
        clients[i].next_seq = room_seq[clients[i].room];
    }
    long done = run.was == CONNECT ? run.joined : run.acks;
    printf("{\"seconds\":%.4f,\"done\":%ld,\"per_second\":%.1f,\"deliveries\":%ld,\"deliveries_per_second\":%.1f,"
           "\"events\":%ld,\"sent\":%ld,\"failed\":%ld,\"refused\":%ld,\"unanswered\":%ld,\"reordered\":%ld,"
           "\"duplicates\":%ld,\"gaps\":%ld,\"closed\":%ld,\"early\":%ld,\"overrun\":%ld,\"malformed\":%ld,\"late\":%ld,"
           "\"cpu_seconds\":%.3f,\"wall_seconds\":%.3f,",
           span, done, (double)done / span, run.deliveries, (double)run.deliveries / span, run.events, run.sent,
           run.failed, run.refused, run.unanswered, run.reordered, run.duplicates, run.gaps, run.closed, run.early,
           run.overrun, run.malformed, run.late, cpu, wall);
    samples_print(&run.ack, "ack_ms");
    printf(",");
    samples_print(&run.seen, "seen_ms");
    printf(",");
    samples_print(&run.connect, "connect_ms");
    printf("}\n");
    fflush(stdout);
    run.mode = run.was = REST;
    run.refused = run.unanswered = run.late = run.reordered = run.duplicates = run.gaps = run.closed = run.early = run.overrun = run.malformed = 0;
}

static void read_command(void) {
    static char text[256];
    size_t length = 0;
    while (length < sizeof text - 1) { /* by the byte: what follows the line is for later */
        if (read(0, text + length, 1) != 1) exit(0);
        if (text[length++] == '\n') break;
    }
    text[length] = 0;
    double first = 0, second = 0, third = 0;
    char name[16] = "";
    int fields = sscanf(text, "%15s %lf %lf %lf", name, &first, &second, &third);
    count_anew();
    if (!strcmp(name, "connect") && fields == 3) {
        run.mode = CONNECT;
        run.target = (long)first < client_count - connected_to ? (long)first : client_count - connected_to;
        run.window = (long)second;
        run.end = run.start + 600 * SECOND;
        return;
    }
    if (!strcmp(name, "idle") && fields == 2) {
        run.mode = IDLE, second = first, first = 0;
    } else if ((!strcmp(name, "open") || !strcmp(name, "random")) && fields == 4 && third > 0) {
        run.mode = OPEN, run.rate = third, run.is_random = *name == 'r';
    } else if (!strcmp(name, "closed") && fields == 3) {
        run.mode = CLOSED;
    }
    if (run.mode == REST || second <= 0 || first < 0 || first + second > 600) {
        fprintf(stderr, "not a command: %s", text);
        exit(1);
    }
    run.length = (int64_t)(second * 1e9);
    run.warm_until = run.mode == IDLE ? 0 : run.start + (int64_t)(first * 1e9);
    run.end = (run.mode == IDLE ? run.start : run.warm_until) + run.length;
    for (int i = 0; run.mode == CLOSED && i < client_count; i++)
        if (clients[i].active && clients[i].state == READY) toggle(&clients[i], now_ns());
}

static void end_warm_up(void) {
    count_anew();
    run.warm_until = 0;
    run.end = run.start + run.length;
    puts("{\"warm\":true}");
    fflush(stdout);
}

static void go_on_connecting(int64_t now) {
    if (now > run.end) {
        for (int i = 0; i < connected_to; i++)
            if (clients[i].state != READY) drop(&clients[i]);
    } else {
        while (run.joining < run.window && run.joined + run.failed + run.joining < run.target)
            connect_one(&clients[connected_to++]);
    }
    if (!run.joining) {
        run.finished = now;
        run.was = CONNECT, run.mode = DRAIN, run.drain_until = now + patience;
    }
}

/* Says when the next toggle is due: evenly, or after a while that is random, but the same in every run. */
static int64_t next_due(void) {
    static uint64_t state = 88172645463325252; /* xorshift64 (Marsaglia) */
    run.due_count++;
    if (!run.is_random) return run.start + (int64_t)((double)run.due_count / run.rate * 1e9);
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return run.due + (int64_t)(-log(((double)(state >> 11) + 1) / 0x1p53) / run.rate * 1e9);
}

static void go_on_sending(int64_t now) {
    for (; run.due <= now && run.due < run.end; run.due = next_due()) {
        for (int tried = 0; tried < client_count; tried++) {
            struct client *c = &clients[run.turn++ % client_count];
            if (!c->active || !c->seat || c->state != READY) continue;
            toggle(c, run.due);
            break;
        }
    }
    if (now >= run.end) {
        run.was = OPEN, run.mode = DRAIN, run.finished = now, run.drain_until = now + patience;
        return;
    }
    struct itimerspec next = {.it_value = {run.due / SECOND, run.due % SECOND}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &next, NULL);
}

/* Whether every client has everything that any client of its session has. */
static bool all_equal(void) {
    for (int i = 0; i < client_count; i++)
        if (clients[i].state == READY && clients[i].next_seq != room_seq[clients[i].room]) return false;
    return true;
}

static void give_up(void) {
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        for (int slot = 0; c->due && slot < RING; slot++)
            if (c->due[slot]) c->due[slot] = 0, run.unanswered++, run.in_flight--;
        c->seen_from = c->seen_to;
    }
}

static void go_on(int64_t now) {
    static int64_t looked;
    if (run.warm_until && now >= run.warm_until) end_warm_up();
    if (run.mode == CONNECT) {
        go_on_connecting(now);
    } else if (run.mode == OPEN) {
        go_on_sending(now);
    } else if (run.mode == CLOSED && now >= run.end) {
        run.was = CLOSED, run.mode = DRAIN, run.drain_until = now + patience;
    } else if (run.mode == IDLE && now >= run.end) {
        run.was = IDLE, run.mode = DRAIN, run.drain_until = now + patience;
    } else if (run.mode == DRAIN) {
        if (now > run.drain_until) {
            give_up();
            report();
        } else if (!run.in_flight && now - looked > TICK_MS * 1000000) {
            looked = now;
            if (all_equal()) report();
        }
    }
}
