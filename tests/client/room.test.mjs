// The library against a real server: node --test room.test.mjs, with ADDRESS, LOSSY (an address that drops events),
// SESSION, SHORT (a session to be ended), and TOKENS as JSON.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { CoordinatorClient, SessionState } from "coordinator-client";

const { ADDRESS, LOSSY, SESSION, SHORT } = process.env;
const tokens = JSON.parse(process.env.TOKENS);
const transports = ["websocket"];
const opened = [];
const clientOf = (user, more = {}) =>
  new CoordinatorClient({ url: ADDRESS, token: tokens[user], transports, timeoutMs: 10_000, ...more });

after(() => opened.forEach((thing) => thing.close()));

async function joined(user, sessionId = SESSION, more = {}) {
  const room = clientOf(user, more).room(sessionId);
  opened.push(room);
  const events = [];
  room.on("event", (event) => events.push(event));
  await room.join();
  return { room, events };
}

// Resolves with the first such event of a room.
function next(room, name, suits = () => true) {
  return new Promise((resolve) => {
    const off = room.on(name, (payload) => {
      if (suits(payload)) {
        off();
        resolve(payload);
      }
    });
  });
}

function until(room, holds) {
  return new Promise((resolve) => {
    const look = () => holds() && (off(), resolve());
    const off = room.on("change", look);
    look();
  });
}

test("two see the same events, in one order, without a gap", async () => {
  const ada = await joined("ada");
  const bruno = await joined("bruno");
  await ada.room.setMedia({ cameraEnabled: true, micEnabled: true });
  await bruno.room.setConsent(true, "test-1");
  await ada.room.setMedia({ cameraEnabled: false });
  const { seq } = await bruno.room.setConsent(false);
  await until(ada.room, () => ada.room.seq >= seq);
  await until(bruno.room, () => bruno.room.seq >= seq);

  const fromBruno = bruno.events.map((event) => event.seq);
  assert.deepEqual(fromBruno, Array.from(fromBruno, (_, index) => fromBruno[0] + index));
  assert.deepEqual(ada.events.filter((event) => event.seq >= fromBruno[0]), bruno.events);
  assert.equal(ada.room.participants.get("bruno").recordingConsent, false);
  assert.equal(bruno.room.participants.get("ada").micEnabled, true);
  assert.equal(bruno.room.participants.get("ada").cameraEnabled, false);
  assert.equal(ada.room.me.userId, "ada");
  assert.ok(Math.abs(ada.room.serverNow() - Date.now()) < 5_000);
});

test("signals reach the one they are for; refusals have codes", async () => {
  const [ada, bruno] = opened;
  const arrived = next(bruno, "signal");
  await ada.signal("bruno", { offer: "x" });
  assert.deepEqual(await arrived, { from: "ada", data: { offer: "x" } });
  await assert.rejects(ada.signal("nobody", {}), { name: "CoordinatorError", retryable: false });
  await assert.rejects(ada.setMedia({ cameraEnabled: "yes" }), { code: "invalid_request", field: "cameraEnabled" });
  await assert.rejects(clientOf("eve").room(SESSION).join(), { code: "not_registered" });
  await assert.rejects(clientOf("ada", { token: "nonsense" }).room(SESSION).join(), { code: "unauthenticated" });
  await assert.rejects(clientOf("ada", { url: "http://127.0.0.1:9", timeoutMs: 300 }).room(SESSION).join(), {
    code: "timeout",
    retryable: true,
  });
});

test("events lost on their way are noticed and fetched", async () => {
  const [, bruno] = opened;
  const chloe = await joined("chloe", SESSION, { url: LOSSY });
  const from = chloe.room.seq;
  let seq;
  for (const micEnabled of [true, false, true, false, true, false]) {
    ({ seq } = await bruno.setMedia({ micEnabled }));
  }
  await chloe.room.setMedia({ micEnabled: true }).then((answer) => (seq = answer.seq));
  await until(chloe.room, () => chloe.room.seq >= seq);
  const seen = chloe.events.map((event) => event.seq).filter((number) => number > from);
  assert.deepEqual(seen, Array.from({ length: seq - from }, (_, index) => from + 1 + index));
  await chloe.room.leave();
});

test("a token that ends is replaced without a gap", async () => {
  const given = [];
  const token = async () => {
    given.push(1);
    return given.length === 1 ? tokens.short : tokens.diego;
  };
  const diego = await joined("diego", SESSION, { token });
  const back = await next(diego.room, "joined", ({ first }) => !first);
  assert.equal(back.resumed, true);
  assert.equal(given.length, 2);
  assert.equal(diego.room.phase, "joined");
  const seen = diego.events.map((event) => event.seq);
  assert.deepEqual(seen, Array.from(seen, (_, index) => seen[0] + index));
});

test("a newer connection replaces, a moderator mutes, removes and ends", async () => {
  const [ada] = opened;
  const replaced = next(ada, "closed");
  const again = await joined("ada");
  assert.equal((await replaced).code, "replaced");

  const moderation = clientOf("mona").moderation();
  opened.push(moderation);
  await moderation.connect();
  await moderation.watchAll();
  assert.equal(moderation.summaries.get(SESSION).sessionId, SESSION);
  const watched = await moderation.watch(SESSION);
  await again.room.setMedia({ micEnabled: true });
  const muted = next(again.room, "mic_changed", (event) => !event.data.micEnabled);
  await moderation.mute(SESSION, "ada");
  assert.equal((await muted).actor.userId, "mona");
  await until(watched, () => watched.participants.get("ada").micEnabled === false);

  const removed = next(again.room, "closed");
  await moderation.remove(SESSION, "ada", "shouting");
  assert.deepEqual(await removed, { code: "removed", message: "shouting" });
  await assert.rejects(clientOf("ada").room(SESSION).join(), { code: "removed" });

  const short = await joined("ada", SHORT);
  const ended = next(short.room, "closed");
  await moderation.endSession(SHORT);
  assert.equal((await ended).code, "session_ended");
  assert.equal(short.room.session.endReason, "ended_by_moderator");
  await assert.rejects(short.room.setMedia({ micEnabled: true }), { code: "closed" });
  await assert.rejects(clientOf("ada").moderation().connect(), { code: "forbidden" });
});

test("a recorder has every record, and goes on after its last ack", async () => {
  const client = clientOf("rita");
  const first = client.recording({ consumer: "node-test", after: "beginning" });
  const seen = [];
  const enough = new Promise((resolve) =>
    first.on("record", async ({ event }) => {
      seen.push(event.seq);
      if (seen.length === 3) {
        resolve();
      }
    }),
  );
  await first.subscribe();
  await enough;
  first.close();
  const second = client.recording({ consumer: "node-test" });
  opened.push(second);
  const { cursor } = await second.subscribe();
  assert.equal(typeof cursor, "string");
});

test("whatever order events come in, the state is the same", () => {
  const snapshot = { session: { status: "active", recordingEnabled: false }, participants: [] };
  const event = (seq, type, data) => ({ seq, type, at: "2030-01-01T00:00:00.000Z", actor: {}, data });
  const media = { cameraEnabled: false, micEnabled: false, recordingConsent: false };
  const all = [event(2, "participant_joined", { userId: "ada", ...media })];
  for (let seq = 3; seq < 40; seq += 1) {
    all.push(event(seq, "mic_changed", { userId: "ada", micEnabled: seq % 3 === 0 }));
  }
  for (let round = 0; round < 200; round += 1) {
    const state = new SessionState();
    const mixed = [...all, ...all.slice(round % 30)].sort(() => Math.random() - 0.5);
    const half = mixed.length >> 1;
    const applied = mixed.slice(0, half).flatMap((one) => state.offer(one));
    assert.deepEqual(applied, []); // nothing before the state is known
    applied.push(...state.load(snapshot, 1));
    applied.push(...mixed.slice(half).flatMap((one) => state.offer(one)));
    assert.deepEqual(applied.map((one) => one.seq), all.map((one) => one.seq));
    assert.equal(state.participants.get("ada").micEnabled, true);
    assert.equal(state.hasGap, false);
  }
});
