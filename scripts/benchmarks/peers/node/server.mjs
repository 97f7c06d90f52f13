// A server of rooms on socket.io, as its users write one: what the coordinator is measured against.
//
// It does what the load generator asks for: tokens, `join`, `watch`, `set_media`, events numbered by session. It has no
// rules, no hash chain, no limits, nothing is resumed, and a process that dies forgets where it was.
import { createSecretKey } from "node:crypto";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";
import { openStore } from "./store.mjs";

if (process.argv.includes("--versions")) {
  const packageOf = (name) => new URL(`node_modules/${name}/package.json`, import.meta.url);
  const versionOf = (name) => JSON.parse(readFileSync(packageOf(name))).version;
  console.log(`Node ${process.versions.node}, socket.io ${versionOf("socket.io")}, mongodb ${versionOf("mongodb")}`);
  process.exit(0);
}

// As a key, because of a text jsonwebtoken tries first whether it is a public key: a third of what a connection costs.
const secret = createSecretKey(Buffer.from(process.env.PEER_SECRET));
const store = await openStore(process.env);
const sessions = new Map();

function sessionOf(id) {
  let session = sessions.get(id);
  if (!session) {
    session = { id, seq: 0, watchers: 0, participants: new Map() };
    sessions.set(id, session);
  }
  return session;
}

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
const rooms = io.of("/rooms");
const moderation = io.of("/moderation");

/** Lets in who has a token with that role. */
function admit(role) {
  return (socket, next) => {
    try {
      const claims = jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] });
      if (claims.role !== role) {
        throw new Error("forbidden");
      }
      socket.data.userId = claims.sub;
      next();
    } catch {
      next(new Error("unauthenticated"));
    }
  };
}

/** Numbers, stores and announces an event; returns its seq. */
async function happen(session, name, userId, change) {
  const seq = ++session.seq;
  const at = new Date();
  const actor = { userId, role: "participant" };
  const data = { userId, ...change };
  const stored = { sessionId: session.id, seq, type: name, at, actor, data };
  await store.write(stored, `${session.id}:${userId}`, { sessionId: session.id, userId, updatedAt: at, ...change });
  const event = { sessionId: session.id, seq, at: at.toISOString(), actor, data };
  rooms.to(session.id).emit(name, event);
  if (session.watchers > 0) {
    moderation.to(session.id).emit(name, event);
  }
  return seq;
}

const refused = (error) => ({ ok: false, error: { code: "unavailable", message: error.message, retryable: true } });

function snapshot(session) {
  const participants = [...session.participants.values()];
  return { session: { id: session.id, status: "active", seq: session.seq }, participants };
}

rooms.use(admit("participant"));
rooms.on("connection", (socket) => {
  const { userId } = socket.data;
  let session;

  socket.on("join", async ({ sessionId }, ack) => {
    try {
      session = sessionOf(sessionId);
      await happen(session, "participant_joined", userId, { cameraEnabled: false, micEnabled: false });
      session.participants.set(userId, { userId, cameraEnabled: false, micEnabled: false });
      socket.join(sessionId);
      ack({ ok: true, sessionId, seq: session.seq, resumed: false, snapshot: snapshot(session) });
    } catch (error) {
      ack(refused(error));
    }
  });

  socket.on("set_media", async ({ cameraEnabled }, ack) => {
    try {
      if (typeof cameraEnabled !== "boolean" || !session) {
        throw new Error("invalid");
      }
      const seq = await happen(session, "camera_changed", userId, { cameraEnabled });
      session.participants.get(userId).cameraEnabled = cameraEnabled;
      ack({ ok: true, seq });
    } catch (error) {
      ack(refused(error));
    }
  });

  socket.on("disconnect", () => session?.participants.delete(userId));
});

moderation.use(admit("moderator"));
moderation.on("connection", (socket) => {
  socket.on("watch", ({ sessionId }, ack) => {
    const session = sessionOf(sessionId);
    session.watchers += 1;
    socket.join(sessionId);
    ack({ ok: true, sessionId, seq: session.seq, resumed: false, snapshot: snapshot(session) });
    socket.on("disconnect", () => (session.watchers -= 1));
  });
});

http.listen(0, "127.0.0.1", () => console.log(`ready at http://127.0.0.1:${http.address().port}/ `));
