// How the official JavaScript client takes it when the server closes a connection: after a token's end it comes back by
// itself, with a fresh token; after a newer connection of the same user it stays away. Printed as JSON lines.
//
// Input, as one JSON argument: {address, sessionId, tokens: [one that soon expires, one that does not], transports}.

import { io } from "socket.io-client";

const ACK_MILLISECONDS = 15000;
const input = JSON.parse(process.argv[2]);

const print = (what, rest) => console.log(JSON.stringify({ what, ...rest }));
const once = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));
const join = (socket, after) =>
  socket.timeout(ACK_MILLISECONDS).emitWithAck("join", { sessionId: input.sessionId, after });
const options = { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100, transports: input.transports };

let handshakes = 0;
const older = io(`${input.address}/rooms`, {
  ...options,
  auth: (send) => send({ token: input.tokens[Math.min(handshakes++, 1)] }),
});
older.on("connect_error", (error) => print("refused", { data: error.data }));

await once(older, "connect");
const { seq } = await join(older);
const began = Date.now();
print("expired", { reason: await once(older, "disconnect"), active: older.active });
print("waited", { milliseconds: Date.now() - began });
await once(older, "connect");
print("rejoined", { reply: await join(older, seq) });

const farewell = once(older, "disconnect");
const word = once(older, "replaced");
const newer = io(`${input.address}/rooms`, { ...options, auth: { token: input.tokens[1] } });
await once(newer, "connect");
print("took over", { ok: (await join(newer)).ok });
print("replaced", { payload: await word });
print("closed", { reason: await farewell, active: older.active });
newer.disconnect();
