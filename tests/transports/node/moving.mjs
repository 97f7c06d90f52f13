// How the official JavaScript client moves from polling to a WebSocket in the middle of a busy session: again and again
// it joins, moves while it says and hears something, goes on until it has heard some more, and leaves. By itself it
// moves before it has said who it is, so it is held back until then. Printed as JSON lines, one a round.
//
// Input, as one JSON argument: {address, sessionId, token, to, rounds, more}.

import { io } from "socket.io-client";

const ACK_MILLISECONDS = 15000;
const input = JSON.parse(process.argv[2]);

for (let round = 0; round < input.rounds; round++) {
  const events = [];
  const acks = [];
  const options = { forceNew: true, reconnection: false, upgrade: false, auth: { token: input.token } };
  const socket = io(`${input.address}/rooms`, options);
  let enough;
  const seen = new Promise((resolve) => (enough = resolve));
  const hasMoved = () => socket.io.engine.transport.name === "websocket";
  let after = 0;
  socket.onAny((_name, event) => {
    events.push(event.seq);
    if (hasMoved() && ++after >= input.more) {
      enough();
    }
  });
  await new Promise((resolve) => socket.once("connect", resolve));
  const opened = socket.io.engine.transport.name;
  const { seq } = await socket.timeout(ACK_MILLISECONDS).emitWithAck("join", { sessionId: input.sessionId });
  // What it says itself around the move arrives once and in order as well.
  const asking = [];
  for (let number = 0; number < input.more; number++) {
    if (number === Math.floor(input.more / 4)) {
      socket.io.engine._probe("websocket");
    }
    asking.push(
      socket
        .timeout(ACK_MILLISECONDS)
        .emitWithAck("signal", { to: input.to, data: { round, number } })
        .then((reply) => acks.push([number, reply.ok])),
    );
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(asking);
  await seen;
  console.log(JSON.stringify({ opened, settled: socket.io.engine.transport.name, seq, events, acks }));
  socket.disconnect();
}
