// What the library does when a server refuses, is slow, or goes: node --test rules.test.mjs
//
// The server is a stand-in, because a real one cannot be made to do all this at will. What it answers is said by each
// test; that it answers like a real one is tested with real ones.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";
import { CoordinatorClient, CoordinatorError } from "coordinator-client";
import { Server } from "socket.io";

const SESSION = "66f1c0ffee5e5510c0ffee01";
const NOW = "2030-01-01T00:00:00.000Z";
const UNAVAILABLE = { ok: false, error: { code: "unavailable", message: "later", retryable: true } };
const LIMITED = { ok: false, error: { code: "rate_limited", message: "slowly", retryable: true } };
const opened = [];

afterEach(() => opened.splice(0).forEach((thing) => thing.close()));

// Starts a server. `answers` has, by event, what answers it: (payload, socket) => answer; undefined never answers.
async function serve(namespace, answers, { engine = {}, admit = () => undefined } = {}) {
  const http = createServer();
  const io = new Server(http, { serveClient: false, ...engine });
  const asked = [];
  io.of(namespace).use((socket, answered) => answered(admit(socket.handshake.auth)));
  io.of(namespace).on("connection", (socket) => {
    socket.onAny((name, payload, ack) => {
      asked.push([name, payload]);
      const answer = answers[name]?.(payload, socket);
      if (answer !== undefined) {
        ack?.(answer);
      }
    });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  opened.push(io);
  const url = `http://127.0.0.1:${http.address().port}`;
  return { url, asked, sockets: () => [...io.of(namespace).sockets.values()] };
}

function clientOf(server, more = {}) {
  return new CoordinatorClient({ url: server.url, token: "x", transports: ["websocket"], timeoutMs: 20_000, ...more });
}

function roomOf(server, more) {
  const room = clientOf(server, more).room(SESSION);
  opened.push(room);
  return room;
}

function next(thing, name) {
  return new Promise((resolve) => {
    const off = thing.on(name, (payload) => {
      off();
      resolve(payload);
    });
  });
}

const event = (seq) => ({ sessionId: SESSION, seq, type: "session_started", at: NOW, actor: {}, data: {} });
const session = { id: SESSION, status: "waiting", recordingEnabled: false };
const seen = (seq, more) => ({ ok: true, sessionId: SESSION, seq, serverTime: NOW, resumed: false, ...more });
const snapshotAt = (seq) => seen(seq, { snapshot: { session, participants: [] } });
const refused = (code, retryable = false) =>
  Object.assign(new Error(code), { data: { code, message: code, retryable } });

// The first `times` answers are `first`, all others what `then` makes.
function atFirst(times, first, then) {
  let left = times;
  return (...given) => (left-- > 0 ? first : then(...given));
}

test("what is missing is asked for until it is there", async () => {
  const server = await serve("/rooms", {
    join: () => snapshotAt(1),
    sync: atFirst(2, UNAVAILABLE, () => seen(3, { resumed: true, events: [event(2), event(3)] })),
  });
  const room = roomOf(server);
  const seqs = [];
  room.on("event", ({ seq }) => seqs.push(seq));
  await room.join();
  server.sockets()[0].emit("session_started", event(3));
  while (room.seq < 3) {
    await next(room, "change");
  }
  assert.deepEqual(seqs, [2, 3]);
  assert.equal(server.asked.filter(([name]) => name === "sync").length, 3);
});

test("an event that never follows its command's answer is asked for", async () => {
  const server = await serve("/rooms", {
    join: () => snapshotAt(1),
    set_media: () => ({ ok: true, seq: 2 }),
    sync: () => seen(2, { resumed: true, events: [event(2)] }),
  });
  const room = roomOf(server);
  await room.join();
  const arrived = next(room, "event");
  await room.setMedia({ micEnabled: true });
  assert.equal((await arrived).seq, 2);
});

test("commands that come too fast are sent again, in their order", async () => {
  const server = await serve("/rooms", {
    join: () => snapshotAt(1),
    set_media: atFirst(2, LIMITED, () => ({ ok: true, seq: 1 })),
  });
  const room = roomOf(server);
  await room.join();
  await Promise.all([room.setMedia({ micEnabled: true }), room.setMedia({ micEnabled: false })]);
  const sent = server.asked.filter(([name]) => name === "set_media").map(([, { micEnabled }]) => micEnabled);
  assert.deepEqual(sent, [true, true, true, false]);
});

test("a command whose connection breaks is sent again; one that nobody answers ends in time", async () => {
  const server = await serve("/rooms", {
    join: ({ after }) => (after === undefined ? snapshotAt(1) : seen(1, { resumed: true, events: [] })),
    set_recording_consent: () => undefined,
    set_media: atFirst(1, undefined, () => ({ ok: true, seq: 1 })),
  });
  const room = roomOf(server, { timeoutMs: 4_000 });
  await room.join();
  const phases = [];
  room.on("phase", (phase) => phases.push(phase));
  const answered = room.setMedia({ micEnabled: true });
  while (!server.asked.some(([name]) => name === "set_media")) {
    await new Promise(setImmediate);
  }
  server.sockets()[0].conn.close();
  assert.deepEqual(await answered, { seq: 1 });
  assert.deepEqual(phases, ["reconnecting", "joined"]);
  await assert.rejects(room.setConsent(true), { code: "timeout", retryable: true });
  assert.equal(room.phase, "joined");
});

test("where WebSockets do not get through, polling does", async () => {
  const server = await serve("/rooms", { join: () => snapshotAt(1) }, { engine: { transports: ["polling"] } });
  const room = roomOf(server, { transports: undefined });
  await room.join();
  assert.equal(room.phase, "joined");
});

test("a token that takes longer than its connection is used by the next", async () => {
  let asked = 0;
  const server = await serve("/rooms", { join: () => snapshotAt(1) }, { engine: { connectTimeout: 300 } });
  const token = () => {
    asked += 1;
    return new Promise((resolve) => setTimeout(resolve, 700, "late"));
  };
  const room = roomOf(server, { token });
  await room.join();
  assert.equal(asked, 1);
});

test("a token that cannot be had for now is asked for again; one that is refused for good closes", async (context) => {
  context.mock.method(console, "error", () => undefined);
  const server = await serve("/rooms", { join: () => snapshotAt(1) });
  let asked = 0;
  const token = async () => {
    asked += 1;
    if (asked === 1) {
      throw new Error("the identity provider is away");
    }
    return "x";
  };
  await roomOf(server, { token }).join();
  assert.equal(asked, 2);
  assert.equal(console.error.mock.callCount(), 1);
  const over = () => Promise.reject(new CoordinatorError({ code: "unauthenticated", message: "signed out" }));
  await assert.rejects(roomOf(server, { token: over }).join(), { code: "unauthenticated", message: "signed out" });
});

test("a refused token is replaced once; a second refusal is final", async () => {
  const given = [];
  const admit = ({ token }) => (token === "good" ? undefined : refused("unauthenticated"));
  const server = await serve("/rooms", { join: () => snapshotAt(1) }, { admit });
  const tokenOf = (tokens) => () => {
    given.push(tokens[0]);
    return tokens.shift();
  };
  await roomOf(server, { token: tokenOf(["stale", "good"]) }).join();
  const again = roomOf(server, { token: tokenOf(["stale", "bad", "good"]) });
  await assert.rejects(again.join(), { code: "unauthenticated" });
  assert.deepEqual(given, ["stale", "good", "stale", "bad"]);
});

test("a client that is turned away for now comes again", async () => {
  const admit = atFirst(1, refused("rate_limited", true), () => undefined);
  const server = await serve("/rooms", { join: atFirst(1, UNAVAILABLE, () => snapshotAt(1)) }, { admit });
  await roomOf(server).join();
});

test("a server that is about to stop says when to come back", async () => {
  const server = await serve("/rooms", {
    join: ({ after }) => (after === undefined ? snapshotAt(1) : seen(1, { resumed: true, events: [] })),
  });
  const room = roomOf(server);
  await room.join();
  const told = next(room, "draining");
  server.sockets()[0].emit("server_draining", { reconnectAfterMs: 1_500 });
  assert.deepEqual(await told, { reconnectAfterMs: 1_500 });
  const left = performance.now();
  const back = next(room, "joined");
  server.sockets()[0].conn.close();
  assert.deepEqual(await back, { resumed: true, first: false });
  assert.ok(performance.now() - left >= 1_450);
});

test("a connection that is closed without a word is replaced; a newer one's is not", async () => {
  const server = await serve("/rooms", {
    join: ({ after }) => (after === undefined ? snapshotAt(1) : seen(1, { resumed: true, events: [] })),
  });
  const room = roomOf(server);
  await room.join();
  server.sockets()[0].disconnect();
  await next(room, "joined");
  const closed = next(room, "closed");
  server.sockets()[0].emit("replaced", { sessionId: SESSION });
  assert.equal((await closed).code, "replaced");
});

test("what a listener throws is told, and keeps nothing from others; who closes is told no more", async (context) => {
  context.mock.method(console, "error", () => undefined);
  const events = [event(2), event(3), event(4)];
  const server = await serve("/rooms", {
    join: ({ after }) => (after === undefined ? snapshotAt(1) : seen(4, { resumed: true, events })),
  });
  const room = roomOf(server);
  const seqs = [];
  room.on("event", () => {
    throw new Error("a listener's mistake");
  });
  room.on("event", ({ seq }) => {
    seqs.push(seq);
    if (seq === 3) {
      room.close();
    }
  });
  await room.join();
  server.sockets()[0].conn.close();
  assert.equal((await next(room, "closed")).code, "closed");
  await new Promise(setImmediate);
  assert.deepEqual(seqs, [2, 3]);
  assert.equal(console.error.mock.callCount(), 2);
});

test("what is closed stays closed", async () => {
  const client = new CoordinatorClient({ url: "http://127.0.0.1:9", token: "x" });
  const [room, moderation, feed] = [client.room(SESSION), client.moderation(), client.recording({ consumer: "c" })];
  for (const thing of [room, moderation, feed]) {
    thing.close();
    assert.equal(thing.phase, "closed");
  }
  await assert.rejects(room.join(), { code: "closed" });
  await assert.rejects(moderation.connect(), { code: "closed" });
  await assert.rejects(moderation.mute(SESSION, "ada"), { code: "closed" });
  await assert.rejects(feed.subscribe(), { code: "closed" });
});

test("a moderator who watches more than may be asked for at once gets all of it back", async () => {
  const many = 12;
  let allowed = 5;
  const server = await serve("/moderation", {
    watch({ sessionId, after }) {
      if (after === undefined) {
        return { ...snapshotAt(1), sessionId };
      }
      allowed -= 1;
      const events = [{ ...event(2), sessionId }];
      return allowed >= 0 ? { ...seen(2, { resumed: true, events }), sessionId } : refill();
    },
  });
  const refill = () => {
    allowed = 5;
    return LIMITED;
  };
  const moderation = clientOf(server).moderation();
  opened.push(moderation);
  await moderation.connect();
  const ids = Array.from({ length: many }, (_, index) => String(index).padStart(24, "0"));
  const watched = await Promise.all(ids.map((id) => moderation.watch(id)));
  assert.equal(await moderation.watch(ids[0]), watched[0]);
  const phases = [];
  const back = new Promise((resolve) =>
    moderation.on("phase", (phase) => {
      phases.push(phase);
      phase === "joined" && resolve();
    }),
  );
  server.sockets()[0].conn.close();
  await back;
  assert.deepEqual(watched.map(({ seq }) => seq), ids.map(() => 2));
  assert.deepEqual(phases, ["reconnecting", "joined"]);
});

test("who asks for a session that is being asked for gets it with its state", async () => {
  const server = await serve("/moderation", { watch: atFirst(1, UNAVAILABLE, () => snapshotAt(7)) });
  const moderation = clientOf(server).moderation();
  opened.push(moderation);
  await moderation.connect();
  const [first, second] = await Promise.all([moderation.watch(SESSION), moderation.watch(SESSION)]);
  assert.equal(first, second);
  assert.equal(second.seq, 7);
});

test("a summary that follows the answer at once is not overwritten by it", async () => {
  const summary = (seq) => ({ sessionId: SESSION, seq, status: "active" });
  const server = await serve("/moderation", {
    watch(_, socket) {
      process.nextTick(() => socket.emit("session_summary", summary(9)));
      return { ok: true, serverTime: NOW, sessions: [summary(8)] };
    },
  });
  const moderation = clientOf(server).moderation();
  opened.push(moderation);
  await moderation.connect();
  const told = next(moderation, "summary");
  await moderation.watchAll();
  await told;
  assert.equal(moderation.summaries.get(SESSION).seq, 9);
});

const record = (number) => ({ cursor: `c${number}`, event: event(number) });

test("a record waits for a listener, is acked once that is done, and an ack gets through in the end", async () => {
  let isLate = true;
  const server = await serve("/recording", {
    subscribe(_, socket) {
      process.nextTick(() => [1, 2].forEach((number) => socket.emit("record", record(number))));
      return { ok: true, consumer: "c", cursor: "c0", from: "new", window: 256 };
    },
    ack({ cursor }) {
      const answer = isLate ? LIMITED : { ok: true, cursor };
      isLate = false;
      return answer;
    },
  });
  const feed = clientOf(server).recording({ consumer: "c" });
  opened.push(feed);
  await feed.subscribe();
  await new Promise((resolve) => setTimeout(resolve, 50)); // nobody listens, and the records are here
  assert.deepEqual(server.asked.map(([name]) => name), ["subscribe"]);
  const had = [];
  let release;
  feed.on("record", ({ cursor }) => {
    had.push(cursor);
    return cursor === "c1" ? new Promise((resolve) => (release = resolve)) : undefined;
  });
  await new Promise(setImmediate);
  assert.deepEqual(had, ["c1"]);
  release();
  const acked = () => server.asked.filter(([name]) => name === "ack").map(([, { cursor }]) => cursor);
  while (acked().length < 2) {
    await new Promise(setImmediate);
  }
  assert.deepEqual(had, ["c1", "c2"]);
  assert.equal(acked().at(-1), "c2");
});

test("what was not acked when the connection broke is not acked on the next", async () => {
  let connections = 0;
  const server = await serve("/recording", {
    subscribe(_, socket) {
      connections += 1;
      process.nextTick(() => socket.emit("record", record(1)));
      return { ok: true, consumer: "c", cursor: "c0", from: "resumed", window: 256 };
    },
    ack: ({ cursor }) => ({ ok: true, cursor }),
  });
  const feed = clientOf(server).recording({ consumer: "c", after: "beginning" });
  opened.push(feed);
  const releases = [];
  feed.on("record", () => new Promise((resolve) => releases.push(resolve)));
  await feed.subscribe();
  while (releases.length < 1) {
    await new Promise(setImmediate);
  }
  server.sockets()[0].conn.close();
  while (connections < 2) {
    await new Promise(setImmediate);
  }
  releases[0]();
  while (releases.length < 2) {
    await new Promise(setImmediate);
  }
  assert.deepEqual(server.asked.filter(([name]) => name === "ack"), []);
  const { after } = server.asked.filter(([name]) => name === "subscribe")[1][1];
  assert.equal(after, undefined); // the server knows better where it was
  releases[1]();
  while (!server.asked.some(([name]) => name === "ack")) {
    await new Promise(setImmediate);
  }
});
