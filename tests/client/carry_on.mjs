// Toggles a microphone while its server is killed and started again: node carry_on.mjs ADDRESS SESSION TOKEN TOGGLES
//
// Prints "half" in the middle and waits for a line on its standard input; at the end what it has seen, as JSON.

import { createInterface } from "node:readline";
import { CoordinatorClient } from "coordinator-client";

const [url, sessionId, token, toggles] = process.argv.slice(2);
const room = new CoordinatorClient({ url, token, transports: ["websocket"], timeoutMs: 60_000 }).room(sessionId);
const seen = [];
const phases = [];
room.on("event", (event) => seen.push(event.seq));
room.on("phase", (phase) => phases.push(phase));
await room.join();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let seq;
for (let toggle = 0; toggle < Number(toggles); toggle += 1) {
  if (toggle === toggles / 2) {
    console.log("half");
    await lines.next(); // by then the server is dead
  }
  ({ seq } = await room.setMedia({ micEnabled: toggle % 2 === 0 }));
}
while (room.seq < seq) {
  await new Promise((resolve) => room.on("change", resolve));
}
console.log(JSON.stringify({ seen, phases, micEnabled: room.me.micEnabled }));
room.close();
process.exit(0);
