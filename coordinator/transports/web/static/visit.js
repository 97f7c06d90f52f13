// One visit to one session, from joining until leaving. Knows the connection, not the page: what the page must show is
// told to a listener.
//
// The connection comes and goes; the state stays. After every reconnection the visit joins again with the last `seq`
// that it has applied, and gets what it missed.

import { RoomState } from "./state.js";
import { io } from "./vendor/socket.io.esm.min.js";
import { errorWords } from "./words.js";

const ANSWER_TIMEOUT_MS = 10_000;
const LEAVE_TIMEOUT_MS = 3_000;
const RETRY_MS = 2_000;

export class Visit {
  #listener;
  #socket;
  #retry;
  #isSyncing = false;
  #pending = new Set();

  // listener: {changed(), happened(event), ended(code, message)}. After `ended` it is not called any more.
  constructor(credentials, listener) {
    this.#listener = listener;
    this.credentials = credentials;
    this.me = userOf(credentials.token);
    this.state = new RoomState();
    this.phase = "connecting"; // then "joined" and "reconnecting" in turn, at last "over"
    this.clockOffset = 0; // server time minus this device's, in milliseconds
    this.notice = "";
  }

  start() {
    this.#socket = io("/rooms", {
      auth: (present) => present({ token: this.credentials.token }),
      transports: ["websocket"],
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      forceNew: true,
    });
    this.#socket.on("connect", this.#unlessOver(() => this.#join()));
    this.#socket.on("disconnect", this.#unlessOver((reason) => this.#disconnected(reason)));
    this.#socket.on("connect_error", this.#unlessOver((error) => this.#refused(error)));
    this.#socket.onAny(this.#unlessOver((name, payload) => this.#receive(name, payload)));
  }

  get isJoined() {
    return this.phase === "joined";
  }

  get own() {
    return this.state.participants.get(this.me);
  }

  isPending(name) {
    return this.#pending.has(name);
  }

  // Sends a command that changes something of the user's own. What it did comes back as events.
  command(name, payload) {
    if (!this.isJoined || this.#pending.has(name)) {
      return;
    }
    this.#pending.add(name);
    this.notice = "";
    this.#ask(name, payload, ANSWER_TIMEOUT_MS, (answer) => {
      this.#pending.delete(name);
      if (!answer.ok) {
        this.notice = errorWords(answer.error.code, answer.error.message);
      }
      this.#listener.changed();
    });
    this.#listener.changed();
  }

  leave() {
    if (this.isJoined) {
      this.#ask("leave", {}, LEAVE_TIMEOUT_MS, () => this.#finish("left"));
    } else {
      this.#finish("left");
    }
  }

  // Leaves without waiting for the answer.
  abandon() {
    if (this.isJoined) {
      this.#socket.emit("leave", {});
    }
    this.#finish("left");
  }

  #unlessOver(handler) {
    return (...args) => {
      if (this.phase !== "over") {
        handler(...args);
      }
    };
  }

  #finish(code, message) {
    if (this.phase !== "over") {
      this.phase = "over";
      clearTimeout(this.#retry);
      this.#socket.disconnect();
      this.#listener.ended(code, message);
    }
  }

  // `answered` is called once in any case: also when no answer comes in time, or the connection is lost before.
  #ask(name, payload, timeout, answered) {
    const noAnswer = { ok: false, error: { code: "no_answer", retryable: true } };
    this.#socket
      .timeout(timeout)
      .emit(name, payload, this.#unlessOver((failed, answer) => answered(failed ? noAnswer : answer)));
  }

  #later(action) {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(action, RETRY_MS);
  }

  #join() {
    clearTimeout(this.#retry);
    const request = { sessionId: this.credentials.session };
    if (this.state.isLoaded) {
      request.after = this.state.seq;
    }
    const asked = Date.now();
    this.#ask("join", request, ANSWER_TIMEOUT_MS, (answer) => {
      if (!this.#socket.connected) {
        return;
      }
      if (answer.ok) {
        this.clockOffset = Date.parse(answer.serverTime) - (asked + Date.now()) / 2;
        this.phase = "joined";
        this.notice = "";
        this.#absorb(answer);
      } else if (answer.error.retryable) {
        this.notice = errorWords(answer.error.code, answer.error.message);
        this.#later(() => this.#socket.connected && this.#join());
      } else {
        const { code, message } = answer.error;
        // With `removed`, a message is what the moderator said at the time; here there is none.
        this.#finish(code, code === "removed" ? undefined : message);
      }
      this.#changed();
    });
  }

  #sync() {
    if (this.#isSyncing || !this.isJoined) {
      return;
    }
    this.#isSyncing = true;
    this.#ask("sync", { after: this.state.seq }, ANSWER_TIMEOUT_MS, (answer) => {
      this.#isSyncing = false;
      if (!this.#socket.connected) {
        return;
      }
      if (answer.ok) {
        this.#absorb(answer);
      } else if (answer.error.code === "not_in_session") {
        this.#join();
      }
      if (this.state.hasGap) {
        this.#later(() => this.#sync());
      }
      this.#changed();
    });
  }

  // Takes the answer to `join` or `sync`: a snapshot, or the events that were missed.
  #absorb(answer) {
    if (answer.snapshot) {
      this.#tell(this.state.load(answer.snapshot, answer.seq));
    }
    for (const event of answer.events ?? []) {
      this.#tell(this.state.offer(event));
    }
  }

  #receive(name, payload) {
    if (payload?.sessionId !== undefined && payload.sessionId !== this.credentials.session) {
      return;
    }
    if (Number.isInteger(payload?.seq)) {
      this.#tell(this.state.offer({ ...payload, type: name }));
      if (this.state.hasGap) {
        this.#sync();
      }
    } else if (name === "replaced") {
      this.#finish("replaced");
    } else if (name === "session_ending") {
      this.notice = `The session ends in ${Math.round(payload.secondsLeft / 60)} min.`;
    } else if (name === "server_draining") {
      this.notice = "The server is being restarted. You will be connected again by itself.";
    }
    this.#changed();
  }

  #tell(events) {
    for (const event of events) {
      if (this.phase === "over") {
        return;
      }
      this.#listener.happened(event);
      const { userId, reason, message } = event.data;
      if (event.type === "participant_left" && userId === this.me && reason === "removed") {
        this.#finish("removed", message);
      }
    }
  }

  #disconnected(reason) {
    clearTimeout(this.#retry);
    this.#isSyncing = false;
    this.#pending.clear();
    if (this.state.session?.status === "ended") {
      this.#finish("session_ended");
    } else if (reason === "io server disconnect") {
      this.#finish("disconnected");
    } else {
      this.phase = "reconnecting";
      this.#changed();
    }
  }

  #refused(error) {
    if (this.#socket.active) {
      this.notice = "The server is out of reach. Trying again…";
    } else if (error.data?.retryable) {
      this.notice = errorWords(error.data.code, error.data.message);
      this.#later(() => this.#socket.connect());
    } else {
      this.#finish(error.data?.code ?? "unknown", error.data?.message ?? error.message);
    }
    this.#changed();
  }

  #changed() {
    if (this.phase !== "over") {
      this.#listener.changed();
    }
  }
}

// The token's own word for who it belongs to; only for display, the server checks it.
function userOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.codePointAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).sub;
  } catch {
    return undefined;
  }
}
