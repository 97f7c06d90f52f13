// Two participants on the official JavaScript client live through a session. What happens is printed as JSON lines,
// which the Python test reads and checks: {who, what: "event" | "ack" | "connected" | ..., ...}.
//
// Input, as one JSON argument: {address, sessionId, tokens: {ada: [first, second], bo: [first, second]}, transports}.
// `transports` has the list for each of the two, null for the client's own default (polling, then an upgrade).

import { io } from "socket.io-client";

const ACK_MILLISECONDS = 15000;
const input = JSON.parse(process.argv[2]);

const print = (who, what, rest) => console.log(JSON.stringify({ who, what, ...rest }));

class Participant {
  constructor(name) {
    this.name = name;
    this.seq = 0;
    this.events = [];
    this.waiting = [];
    this.handshakes = 0;
    const transports = input.transports[name];
    this.socket = io(`${input.address}/rooms`, {
      // Called anew for each connection: the place to fetch a fresh token.
      auth: (send) => send({ token: input.tokens[name][Math.min(this.handshakes++, 1)] }),
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 100,
      ...(transports && { transports }),
    });
    this.socket.io.on("open", () => this.note("opened", { transport: this.transport }));
    this.socket.on("connect", () => this.note("connected"));
    this.socket.on("disconnect", (reason) => this.note("disconnected", { reason }));
    this.socket.on("connect_error", (error) => this.note("refused", { message: error.message, data: error.data }));
    this.socket.onAny((event, payload) => {
      if (payload.seq) {
        this.seq = payload.seq;
      }
      this.note("event", { name: event, payload });
    });
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  note(what, rest) {
    print(this.name, what, rest);
    this.events.push({ what, ...rest });
    this.waiting.splice(0).forEach((look) => look());
  }

  // The first thing noted since number `since` for which `fits` holds, once it is there.
  until(fits, since = 0) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.events.slice(since).find(fits);
        found ? resolve(found) : this.waiting.push(look);
      };
      look();
    });
  }

  event(name, fields = {}) {
    const fits = ({ data }) => Object.entries(fields).every(([field, value]) => data[field] === value);
    return this.until((noted) => noted.what === "event" && noted.name === name && fits(noted.payload));
  }

  async call(name, payload) {
    const reply = await this.socket.timeout(ACK_MILLISECONDS).emitWithAck(name, payload);
    this.note("ack", { name, reply });
    if (name === "join" && reply.ok) {
      this.seq = reply.seq;
    }
    return reply;
  }

  join(after) {
    return this.call("join", { sessionId: input.sessionId, ...(after !== undefined && { after }) });
  }

  // Waits until the upgrade from polling is over, where there is one.
  async settled() {
    const engine = this.socket.io.engine;
    const allowed = input.transports[this.name] ?? ["polling", "websocket"];
    if (this.transport === "polling" && allowed.includes("websocket")) {
      await new Promise((resolve) => engine.once("upgrade", resolve));
    }
    print(this.name, "settled", { transport: this.transport });
  }
}

const ada = new Participant("ada");
const bo = new Participant("bo");
await Promise.all([ada, bo].map((participant) => participant.until(({ what }) => what === "connected")));
await Promise.all([ada, bo].map((participant) => participant.settled()));

await ada.join();
await bo.join();
await ada.event("participant_joined", { userId: "bo" });
await ada.event("session_started");
await bo.event("session_started");

await ada.call("set_media", { cameraEnabled: true, micEnabled: true });
await bo.event("mic_changed", { userId: "ada" });
await bo.call("set_recording_consent", { granted: true, policyVersion: "2026-01" });
await ada.event("recording_consent_granted", { userId: "bo" });
await ada.call("signal", { to: "bo", data: { sdp: "v=0 …", emoji: "🎙" } });
await bo.until(({ what, name }) => what === "event" && name === "signal");
await ada.call("set_media", { cameraEnabled: "yes" });
await ada.call("no_such_event", {});

// Bo's network fails. The client comes back by itself, and asks for what it has missed.
const before = bo.events.length;
const seen = bo.seq;
bo.socket.io.engine.close();
await ada.event("participant_disconnected", { userId: "bo" });
await bo.until(({ what }) => what === "connected", before);
await bo.join(seen);
await ada.event("participant_reconnected", { userId: "bo" });

await bo.call("set_recording_consent", { granted: false });
await ada.event("recording_consent_revoked", { userId: "bo" });
await bo.call("leave", {});
await ada.event("participant_left", { userId: "bo" });
await ada.call("leave", {});

ada.socket.disconnect();
bo.socket.disconnect();
