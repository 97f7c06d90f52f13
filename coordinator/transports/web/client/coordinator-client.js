// coordinator-client: live rooms, moderation and the recording feed of a Conversation Coordinator.
//
// One module, however long, for plain pages, bundlers and Node: nobody who uses it needs a build step. It needs nothing
// but socket.io-client. What it takes care of: events come once, in the order of `seq`, without a gap; after a lost
// connection, a restart of the server or a token's end it comes back by itself and gets what it missed; commands whose
// answer was lost are sent again, which is safe, because repeating a command changes nothing.

import { io } from "socket.io-client";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;
// By how much of it a pause is longer or shorter, so that not all come back at once.
const RETRY_SPREAD = 0.5;
const NO_ANSWER_MS = 10_000;
// How long an event may be behind the answer to the command that caused it, before it is asked for.
const LATE_EVENT_MS = 1_000;
// A token ends sooner for a client whose clock is slow.
const CLOCK_DIFFERENCE_MS = 5_000;

// Why something was refused, or could not be done.
//
// code: the server's error codes, or one of "timeout", "disconnected" (nobody knows whether it was done; repeating is
// safe) and "closed" (the room, or whatever it was asked of, is closed).
export class CoordinatorError extends Error {
  constructor({ code, message, retryable = false, field }) {
    super(message ?? code);
    this.name = "CoordinatorError";
    this.code = code;
    this.retryable = retryable;
    if (field !== undefined) {
      this.field = field;
    }
  }
}

// Where everything begins: whose token, and which server. Connects to nothing by itself.
export class CoordinatorClient {
  #options;

  constructor({ url, token, timeoutMs = 15_000, transports = ["websocket", "polling"] }) {
    if (typeof token !== "string" && typeof token !== "function") {
      throw new TypeError("token: must be a string, or a function that returns one or a promise of one");
    }
    const base = url ?? globalThis.location?.origin;
    if (typeof base !== "string") {
      throw new TypeError("url: must be given where there is no page, such as http://127.0.0.1:8080");
    }
    this.#options = { url: base.replace(/\/+$/, ""), token, timeoutMs, transports, last: undefined };
    if (typeof token === "string") {
      this.#options.last = token;
    }
  }

  // Whose token it is; undefined until a function that gives tokens has been asked for the first time.
  get userId() {
    return claimsOf(this.#options.last)?.sub;
  }

  room(sessionId) {
    return new Room(this.#options, sessionId);
  }

  moderation() {
    return new Moderation(this.#options);
  }

  recording({ consumer, after }) {
    return new RecordingFeed(this.#options, consumer, after);
  }
}

// -- what all have in common ------------------------------------------------------------------------------------------

// Tells listeners. One that throws is reported on the console, and keeps nothing from the others.
class Emitter {
  #listeners = new Map();
  #isChangeDue = false;

  // Returns how to stop listening.
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  _emit(name, payload) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        report(error);
      }
    }
  }

  _listeners(name) {
    return [...(this.#listeners.get(name) ?? [])];
  }

  // "change" is told once for all that changes together.
  _changed() {
    if (!this.#isChangeDue) {
      this.#isChangeDue = true;
      queueMicrotask(() => {
        this.#isChangeDue = false;
        this._emit("change");
      });
    }
  }
}

// One connection to one namespace, which comes back until it is closed.
//
// owner: {opened(), received(name, payload), lost(), ended(code, message)}. `opened` is called on every connection;
// once the owner has done what comes first on it, it calls `ready`, and commands go out: one after another, so that one
// that is to be repeated is not overtaken by the next. After `ended` nothing is called any more.
class Line {
  #options;
  #owner;
  #socket;
  #commands = [];
  #isReady = false;
  #isOver = false;
  #isRefreshing = false;
  #retry = new Retry();
  #commandRetry = new Retry();
  #token;

  constructor(options, namespace, owner) {
    this.#options = options;
    this.#owner = owner;
    this.#socket = io(options.url + namespace, {
      auth: (send) => this.#authenticate(send),
      transports: options.transports,
      // Where WebSockets do not get through, polling does.
      tryAllTransports: true,
      reconnectionDelay: FIRST_RETRY_MS,
      reconnectionDelayMax: LONGEST_RETRY_MS,
      randomizationFactor: RETRY_SPREAD,
      forceNew: true,
      autoConnect: false,
    });
    const whileOpen = (handler) => (...args) => this.#isOver || handler(...args);
    this.#socket.on("connect", whileOpen(() => this.#connected()));
    this.#socket.on("disconnect", whileOpen((reason) => this.#disconnected(reason)));
    this.#socket.on("connect_error", whileOpen((error) => this.#refused(error)));
    this.#socket.onAny(whileOpen((name, payload) => this.#received(name, payload)));
  }

  get isConnected() {
    return this.#socket.connected;
  }

  open() {
    this.#socket.connect();
  }

  // From now on, until the connection is lost, commands may go out.
  ready() {
    this.#isReady = true;
    this.#retry.reset();
    this.#sendNext();
  }

  // Has a command carried out, on this connection or on a later one. Resolves with its answer.
  //
  // taken: is given the answer before anything that came after it; a promise would tell too late.
  command(name, payload, taken = () => undefined) {
    if (this.#isOver) {
      return Promise.reject(closedError());
    }
    return new Promise((resolve, reject) => {
      const command = { name, payload, taken, resolve, reject, isUnderWay: false };
      command.timer = setTimeout(() => {
        const message = `${name} was not answered within ${this.#options.timeoutMs} ms`;
        this.#settle(command, () => reject(new CoordinatorError({ code: "timeout", message, retryable: true })));
      }, this.#options.timeoutMs);
      this.#commands.push(command);
      this.#sendNext();
    });
  }

  // Asks on this connection only. Resolves with what the server says, ok or not; rejects if it says nothing.
  //
  // taken: is given an answer that is ok, as with `command`.
  ask(name, payload, taken = () => undefined) {
    return new Promise((resolve, reject) => {
      const disconnected = () =>
        reject(new CoordinatorError({ code: "disconnected", message: "the connection was lost", retryable: true }));
      if (this.#isOver || !this.#socket.connected) {
        disconnected();
        return;
      }
      const lost = () => finish(disconnected);
      const timer = setTimeout(lost, NO_ANSWER_MS);
      let isWanted = true;
      const finish = (how) => {
        isWanted = false;
        clearTimeout(timer);
        this.#socket.off("disconnect", lost);
        how();
      };
      this.#socket.on("disconnect", lost);
      this.#socket.emit(name, payload, (answer) => {
        if (isWanted && !this.#isOver) {
          if (answer.ok) {
            taken(answer);
          }
          finish(() => resolve(answer));
        }
      });
    });
  }

  // Does something a little later, later each time until `ready`; a new connection cancels it.
  later(action) {
    this.#retry.after(action);
  }

  end(code, message) {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    this.#retry.cancel();
    this.#commandRetry.cancel();
    for (const command of [...this.#commands]) {
      this.#settle(command, () => command.reject(closedError(code, message)));
    }
    this.#socket.disconnect();
    this.#owner.ended(code, message);
  }

  async #authenticate(send) {
    const { engine } = this.#socket.io;
    const isStillMeant = () => !this.#isOver && engine === this.#socket.io.engine && engine.readyState === "open";
    try {
      // What gives tokens may take so long that the connection is gone by then: the next one takes what comes.
      this.#token ??= this.#askForToken();
      const token = await this.#token;
      if (isStillMeant()) {
        this.#token = undefined;
        this.#options.last = token;
        send({ token });
      }
    } catch (error) {
      this.#token = undefined;
      if (error instanceof CoordinatorError && !error.retryable) {
        this.end(error.code, error.message);
      } else if (isStillMeant()) {
        // Without a token there is no connection; the next one asks again.
        report(error);
        engine.close();
      }
    }
  }

  async #askForToken() {
    const { token } = this.#options;
    return typeof token === "function" ? token() : token;
  }

  #connected() {
    this.#retry.cancel();
    this.#isRefreshing = false;
    this.#comeBackAfter(FIRST_RETRY_MS, RETRY_SPREAD);
    this.#owner.opened();
  }

  // When to come back after the connection is lost, and by how much of that earlier or later.
  #comeBackAfter(milliseconds, spread) {
    const manager = this.#socket.io;
    manager.reconnectionDelay(milliseconds);
    manager.reconnectionDelayMax(Math.max(milliseconds, LONGEST_RETRY_MS));
    manager.randomizationFactor(spread);
  }

  #disconnected(reason) {
    this.#retry.cancel();
    this.#commandRetry.cancel();
    this.#isReady = false;
    for (const command of this.#commands) {
      command.isUnderWay = false;
    }
    this.#owner.lost();
    if (!this.#isOver && reason === "io server disconnect") {
      this.#turnedAway();
    }
  }

  // The server has closed this connection and not said why: most likely the token has ended. socket.io stays away then.
  #turnedAway() {
    if (typeof this.#options.token === "string" && hasEnded(this.#options.token)) {
      this.end("unauthenticated", "the token has expired");
    } else {
      this.later(() => this.#socket.connect());
    }
  }

  #refused(error) {
    if (this.#socket.active) {
      return; // not reached; socket.io tries again
    }
    const { code = "unknown", message = error.message, retryable = false } = error.data ?? {};
    const mayBeRefreshed = code === "unauthenticated" && typeof this.#options.token === "function";
    if (retryable || (mayBeRefreshed && !this.#isRefreshing)) {
      this.#isRefreshing ||= mayBeRefreshed;
      this.later(() => this.#socket.connect());
    } else {
      this.end(code, message);
    }
  }

  #received(name, payload) {
    if (name === "replaced") {
      this.end("replaced", "a newer connection has taken this one's place");
      return;
    }
    if (name === "server_draining" && Number.isFinite(payload?.reconnectAfterMs)) {
      // The server has spread its clients already.
      this.#comeBackAfter(Math.max(FIRST_RETRY_MS, payload.reconnectAfterMs), 0);
    }
    this.#owner.received(name, payload);
  }

  #sendNext() {
    const [command] = this.#commands;
    if (!this.#isReady || command === undefined || command.isUnderWay) {
      return;
    }
    command.isUnderWay = true;
    this.#socket.emit(command.name, command.payload, (answer) => {
      if (!this.#commands.includes(command)) {
        return; // timed out
      }
      if (answer.ok) {
        this.#commandRetry.reset();
        command.taken(answer);
        this.#settle(command, () => command.resolve(answer));
      } else if (answer.error.retryable) {
        this.#commandRetry.after(() => {
          command.isUnderWay = false;
          this.#sendNext();
        });
      } else {
        this.#settle(command, () => command.reject(new CoordinatorError(answer.error)));
      }
    });
  }

  #settle(command, how) {
    const place = this.#commands.indexOf(command);
    if (place >= 0) {
      this.#commands.splice(place, 1);
      clearTimeout(command.timer);
      how();
      this.#sendNext();
    }
  }
}

// One thing to be done a little later, and later each time until `reset`.
class Retry {
  #timer;
  #milliseconds = FIRST_RETRY_MS;

  after(action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, this.#milliseconds);
    this.#milliseconds = Math.min(this.#milliseconds * 2, LONGEST_RETRY_MS);
  }

  cancel() {
    clearTimeout(this.#timer);
  }

  reset() {
    this.cancel();
    this.#milliseconds = FIRST_RETRY_MS;
  }
}

// The life of whatever is opened once, comes and goes with its connection, and is closed at last.
class Life {
  #emitter;
  #phase = "idle";
  #arrival;
  #timer;

  constructor(emitter) {
    this.#emitter = emitter;
  }

  // "idle", then "joining", then "joined" and "reconnecting" in turn, at last "closed".
  get phase() {
    return this.#phase;
  }

  // Opens `line`, the first time. Resolves once it has arrived; rejects if it ends before, or takes too long.
  begin(line, timeoutMs) {
    if (this.#arrival === undefined && this.#phase === "closed") {
      return Promise.reject(closedError());
    }
    if (this.#arrival === undefined) {
      this.#arrival = withResolvers();
      this.#timer = setTimeout(() => line.end("timeout", `not there within ${timeoutMs} ms`), timeoutMs);
      this.#turn("joining");
      line.open();
    }
    return this.#arrival.promise;
  }

  // It is there, for the first time or again; whoever waits for that is given `value`.
  arrive(value) {
    this.#turn("joined");
    clearTimeout(this.#timer);
    this.#arrival.resolve(value);
  }

  lose() {
    if (this.#phase === "joined") {
      this.#turn("reconnecting");
    }
  }

  end(code, message) {
    clearTimeout(this.#timer);
    this.#turn("closed");
    // Without anybody who waits for it, this is no unhandled rejection: "closed" tells.
    this.#arrival?.promise.catch(() => undefined);
    this.#arrival?.reject(new CoordinatorError({ code, message, retryable: code === "timeout" }));
    this.#emitter._emit("closed", { code, message });
  }

  #turn(phase) {
    if (this.#phase !== phase) {
      this.#phase = phase;
      this.#emitter._emit("phase", phase);
      this.#emitter._changed();
    }
  }
}

// What a session's events add up to. Events are applied in the order of `seq`, each once, without a gap; one that comes
// too early is kept until what is missing before it has come.
export class SessionState {
  #early = new Map();

  constructor() {
    this.seq = 0;
    this.session = null;
    this.participants = new Map();
  }

  get isLoaded() {
    return this.session !== null;
  }

  // Whether something is missing before an event that is here already.
  get hasGap() {
    return this.#early.size > 0;
  }

  // Whether the session has ended and everybody is out.
  get isOver() {
    const isOut = ({ presence }) => presence !== "present" && presence !== "away";
    return this.session?.status === "ended" && [...this.participants.values()].every(isOut);
  }

  // Takes the whole state anew, as of `seq`. Returns the events that could be applied on top of it.
  load(snapshot, seq) {
    this.seq = seq;
    this.session = { ...snapshot.session };
    this.participants = new Map();
    for (const record of snapshot.participants) {
      this.participants.set(record.userId, {
        userId: record.userId,
        // A snapshot does not say whether the seat of an absent user is still held.
        presence: record.status === "disconnected" ? "absent" : "present",
        cameraEnabled: record.cameraEnabled,
        micEnabled: record.micEnabled,
        recordingConsent: record.recordingConsent,
        joinedAt: record.joinedAt,
        // The rule by which the coordinator itself derives recording_permitted and recording_withdrawn.
        mayBeRecorded: record.status === "connected" && this.session.recordingEnabled && record.recordingConsent,
      });
    }
    return this.#drain();
  }

  // Takes one event, whenever it comes. Returns the events that were applied now, in order.
  offer(event) {
    if (!this.isLoaded || event.seq > this.seq) {
      this.#early.set(event.seq, event);
    }
    return this.isLoaded ? this.#drain() : [];
  }

  #drain() {
    const applied = [];
    for (let next; (next = this.#early.get(this.seq + 1)); ) {
      this.#apply(next);
      applied.push(next);
    }
    for (const seq of this.#early.keys()) {
      if (seq <= this.seq) {
        this.#early.delete(seq);
      }
    }
    return applied;
  }

  #apply(event) {
    this.seq = event.seq;
    // An event of a newer server, which is not known here, changes nothing.
    if (Object.hasOwn(EFFECTS, event.type)) {
      EFFECTS[event.type](this, event, event.data);
    }
  }
}

const EFFECTS = {
  session_started(state, event) {
    state.session = { ...state.session, status: "active", startedAt: event.at };
  },
  session_ended(state, event, data) {
    state.session = { ...state.session, status: "ended", endedAt: event.at, endReason: data.reason };
  },
  participant_joined(state, event, data) {
    state.participants.set(data.userId, {
      userId: data.userId,
      presence: "present",
      cameraEnabled: data.cameraEnabled,
      micEnabled: data.micEnabled,
      recordingConsent: data.recordingConsent,
      joinedAt: state.participants.get(data.userId)?.joinedAt ?? event.at,
      mayBeRecorded: false,
    });
  },
  participant_disconnected: (state, _event, data) =>
    change(state, data, { presence: "away", reconnectBy: data.reconnectBy }),
  participant_reconnected: (state, _event, data) =>
    change(state, data, { presence: "present", reconnectBy: undefined }),
  participant_left: (state, _event, data) => change(state, data, { presence: "left", reconnectBy: undefined }),
  camera_changed: (state, _event, data) => change(state, data, { cameraEnabled: data.cameraEnabled }),
  mic_changed: (state, _event, data) => change(state, data, { micEnabled: data.micEnabled }),
  recording_consent_granted: (state, _event, data) => change(state, data, { recordingConsent: true }),
  recording_consent_revoked: (state, _event, data) => change(state, data, { recordingConsent: false }),
  recording_permitted: (state, _event, data) => change(state, data, { mayBeRecorded: true }),
  recording_withdrawn: (state, _event, data) => change(state, data, { mayBeRecorded: false }),
  recording_enabled(state) {
    state.session = { ...state.session, recordingEnabled: true };
  },
  recording_disabled(state) {
    state.session = { ...state.session, recordingEnabled: false };
  },
};

// Always a new object, so that whoever compares sees that it is another.
function change(state, data, changes) {
  const participant = state.participants.get(data.userId);
  if (participant !== undefined) {
    state.participants.set(data.userId, { ...participant, ...changes });
  }
}

// A session as it is followed, by a participant or by a moderator: state, events, the server's clock.
class Followed extends Emitter {
  #state = new SessionState();
  #clockOffset = 0;
  #isCatchingUp = false;
  #isStopped = false;
  #expected = 0;
  #lateTimer;

  constructor(sessionId) {
    super();
    this.sessionId = sessionId;
  }

  get session() {
    return this.#state.session;
  }

  get participants() {
    return this.#state.participants;
  }

  get seq() {
    return this.#state.seq;
  }

  // Milliseconds since 1970 by the server's clock.
  serverNow() {
    return Date.now() + this.#clockOffset;
  }

  get _isLoaded() {
    return this.#state.isLoaded;
  }

  get _isOver() {
    return this.#state.isOver;
  }

  // Takes the answer of `join`, `watch` or `sync`: a snapshot, or the events that were missed.
  _absorb(answer, askedAt) {
    if (answer.serverTime !== undefined) {
      this.#clockOffset = Date.parse(answer.serverTime) - (askedAt + Date.now()) / 2;
    }
    // Nothing later has been promised, whatever an earlier answer said.
    this.#expected = Math.min(this.#expected, answer.seq);
    if (answer.snapshot) {
      const applied = this.#state.load(answer.snapshot, answer.seq);
      this._emit("snapshot");
      this.#tell(applied);
    }
    for (const event of answer.events ?? []) {
      this.#tell(this.#state.offer(event));
    }
    this._changed();
  }

  _receive(type, payload) {
    this.#tell(this.#state.offer({ type, ...payload }));
    if (this.#state.hasGap) {
      this._mend();
    }
    this._changed();
  }

  // An answer has named a `seq`: its event must be here soon.
  _expect(seq) {
    this.#expected = Math.max(this.#expected, seq);
    this.#lookAgain();
  }

  // Gets what is missing, unless that is under way; if it cannot be had now, then a little later.
  async _mend() {
    if (this.#isCatchingUp || !this._isLoaded) {
      return;
    }
    this.#isCatchingUp = true;
    try {
      await this._catchUp();
    } catch {
      // The connection is gone, and the next one begins with what is missing; or the server cannot answer now.
    } finally {
      this.#isCatchingUp = false;
      this.#lookAgain();
    }
  }

  // Nothing is told any more.
  _stop() {
    this.#isStopped = true;
    clearTimeout(this.#lateTimer);
  }

  get #isBehind() {
    return !this.#isStopped && (this.#state.hasGap || this.#expected > this.seq);
  }

  #lookAgain() {
    if (this.#isBehind && this.#lateTimer === undefined) {
      this.#lateTimer = setTimeout(() => {
        this.#lateTimer = undefined;
        if (this.#isBehind) {
          this._mend();
        }
      }, LATE_EVENT_MS);
    }
  }

  #tell(events) {
    for (const event of events) {
      if (this.#isStopped) {
        return; // a listener has closed it
      }
      this._emit("event", event);
      this._emit(event.type, event);
      this._happened?.(event);
    }
  }
}

// -- participants -----------------------------------------------------------------------------------------------------

// A participant's place in one session.
class Room extends Followed {
  #options;
  #line;
  #life = new Life(this);
  #ending;

  constructor(options, sessionId) {
    super(sessionId);
    this.#options = options;
    this.#line = new Line(options, "/rooms", {
      opened: () => this.#opened(),
      received: (name, payload) => this.#received(name, payload),
      lost: () => this.#lost(),
      ended: (code, message) => this.#ended(code, message),
    });
  }

  get phase() {
    return this.#life.phase;
  }

  // Oneself, once joined.
  get me() {
    return this.participants.get(claimsOf(this.#options.last)?.sub);
  }

  // Takes the seat. Resolves once it is taken; rejects if that is refused, or is not done in time.
  join() {
    return this.#life.begin(this.#line, this.#options.timeoutMs);
  }

  async setMedia({ cameraEnabled, micEnabled }) {
    return this.#command("set_media", { cameraEnabled, micEnabled });
  }

  async setConsent(granted, policyVersion) {
    return this.#command("set_recording_consent", { granted, policyVersion });
  }

  // Sends something to another participant, on this connection only: what is late is of no use.
  async signal(to, data) {
    this.#checkOpen();
    const answer = await this.#line.ask("signal", { to, data });
    if (!answer.ok) {
      throw new CoordinatorError(answer.error);
    }
  }

  // Gives the seat back. Never fails: without an answer the server gives it back after the time for which it is held.
  async leave() {
    if (this.phase === "joined") {
      await this.#line.ask("leave", {}).catch(() => undefined);
    }
    this.#line.end("left");
  }

  // Closes the connection and keeps the seat, for as long as the server holds it.
  close() {
    this.#line.end("closed");
  }

  async #command(name, payload) {
    this.#checkOpen();
    const { seq } = await this.#line.command(name, payload);
    this._expect(seq);
    return { seq };
  }

  // Nothing can be asked for before `join`, nor after the end.
  #checkOpen() {
    if (this.phase === "idle" || this.phase === "closed") {
      throw closedError();
    }
  }

  async #opened() {
    const askedAt = Date.now();
    const isFirst = !this._isLoaded;
    const request = { sessionId: this.sessionId, ...(this._isLoaded && { after: this.seq }) };
    let answer;
    try {
      answer = await this.#line.ask("join", request, (taken) => this.#joined(taken, askedAt, isFirst));
    } catch {
      // Lost, or no answer: a connection that does not answer is not worth waiting for.
      this.#retryJoin();
      return;
    }
    if (!answer.ok && answer.error.retryable) {
      this.#retryJoin();
    } else if (!answer.ok) {
      this.#line.end(answer.error.code, answer.error.message);
    }
  }

  #joined(answer, askedAt, isFirst) {
    this._absorb(answer, askedAt);
    if (this.phase === "closed") {
      return; // by a listener
    }
    this.#life.arrive();
    this.#line.ready();
    this._emit("joined", { resumed: Boolean(answer.resumed), first: isFirst });
  }

  #retryJoin() {
    if (this.phase !== "closed" && this.#line.isConnected) {
      this.#line.later(() => this.#line.isConnected && this.#opened());
    }
  }

  async _catchUp() {
    const askedAt = Date.now();
    const answer = await this.#line.ask("sync", { after: this.seq }, (taken) => this._absorb(taken, askedAt));
    if (!answer.ok && answer.error.code === "not_in_session") {
      await this.#opened();
    }
  }

  #received(name, payload) {
    if (payload?.sessionId !== undefined && payload.sessionId !== this.sessionId) {
      return;
    }
    if (Number.isInteger(payload?.seq)) {
      this._receive(name, payload);
    } else if (name === "signal") {
      this._emit("signal", { from: payload.from, data: payload.data });
    } else if (name === "session_ending") {
      this._emit("ending", { secondsLeft: payload.secondsLeft });
    } else if (name === "server_draining") {
      this._emit("draining", { reconnectAfterMs: payload.reconnectAfterMs });
    }
  }

  _happened(event) {
    const isMine = event.data?.userId !== undefined && event.data.userId === this.me?.userId;
    if (event.type === "participant_left" && isMine && event.data.reason === "removed") {
      this.#ending = { code: "removed", message: event.data.message };
    }
    if (this._isOver) {
      this.#ending ??= { code: "session_ended" };
    }
    if (this.#ending !== undefined) {
      // After the events that came together with this one.
      queueMicrotask(() => this.#line.end(this.#ending.code, this.#ending.message));
    }
  }

  #lost() {
    if (this.#ending !== undefined || this.session?.status === "ended") {
      const { code, message } = this.#ending ?? { code: "session_ended" };
      this.#line.end(code, message);
    } else {
      this.#life.lose();
    }
  }

  #ended(code, message) {
    this._stop();
    this.#life.end(code, message);
  }
}

// -- moderators -------------------------------------------------------------------------------------------------------

// A moderator's connection: all live sessions at a glance, single ones as they happen, and what steers them.
class Moderation extends Emitter {
  #line;
  #life = new Life(this);
  #watched = new Map();
  #beginning = new Map();
  #missed = [];
  #seesAll = false;
  #clockOffset = 0;
  #timeoutMs;

  constructor(options) {
    super();
    this.#timeoutMs = options.timeoutMs;
    this.summaries = new Map();
    this.#line = new Line(options, "/moderation", {
      opened: () => this.#opened(),
      received: (name, payload) => this.#received(name, payload),
      lost: () => this.#life.lose(),
      ended: (code, message) => this.#ended(code, message),
    });
  }

  get phase() {
    return this.#life.phase;
  }

  serverNow() {
    return Date.now() + this.#clockOffset;
  }

  connect() {
    return this.#life.begin(this.#line, this.#timeoutMs);
  }

  // From now on `summaries` holds every live session.
  async watchAll() {
    const askedAt = Date.now();
    await this.#line.command("watch", { all: true }, (answer) => {
      this.#seesAll = true;
      this.#takeSummaries(answer, askedAt);
    });
  }

  async unwatchAll() {
    this.#seesAll = false;
    await this.#line.command("unwatch", { all: true });
  }

  // Follows one session. Resolves with it once its state is here.
  async watch(sessionId) {
    if (!this.#beginning.has(sessionId)) {
      const watched = new WatchedSession(sessionId, this.#line, () => this.#forget(sessionId));
      this.#watched.set(sessionId, watched);
      this.#beginning.set(sessionId, watched._begin());
    }
    try {
      await this.#beginning.get(sessionId);
    } catch (error) {
      this.#forget(sessionId);
      throw error;
    }
    return this.#watched.get(sessionId);
  }

  async mute(sessionId, userId) {
    return this.#steer("mute", { sessionId, userId });
  }

  async remove(sessionId, userId, reason) {
    return this.#steer("remove", { sessionId, userId, reason });
  }

  async endSession(sessionId) {
    return this.#steer("end_session", { sessionId });
  }

  async setRecording(sessionId, enabled) {
    return this.#steer("set_recording", { sessionId, enabled });
  }

  close() {
    this.#line.end("closed");
  }

  async #steer(name, payload) {
    const { seq } = await this.#line.command(name, payload);
    this.#watched.get(payload.sessionId)?._expect(seq);
    return { seq };
  }

  #opened() {
    // Of a session that is only being asked for, the question itself goes out again.
    const watched = [...this.#watched.values()].filter((one) => one._isLoaded);
    this.#missed = watched.map((one) => () => this.#watched.get(one.sessionId) === one && one._catchUp());
    if (this.#seesAll) {
      this.#missed.unshift(() => this.#lookAtAll());
    }
    this.#catchUp();
  }

  // Gets one after the other what was missed. What has been had on this connection is not asked for again: so many
  // questions at once may be too many, and must come to an end nevertheless.
  async #catchUp() {
    const missed = this.#missed;
    try {
      for (; missed.length > 0; missed.shift()) {
        await missed[0]();
      }
    } catch (error) {
      if (!error.retryable) {
        this.#line.end(error.code, error.message);
      } else if (this.#line.isConnected && missed === this.#missed) {
        this.#line.later(() => this.#line.isConnected && this.#catchUp());
      }
      return;
    }
    if (missed === this.#missed && this.phase !== "closed") {
      this.#life.arrive();
      this.#line.ready();
    }
  }

  async #lookAtAll() {
    const askedAt = Date.now();
    const answer = await this.#line.ask("watch", { all: true }, (taken) => this.#takeSummaries(taken, askedAt));
    if (!answer.ok) {
      throw new CoordinatorError(answer.error);
    }
  }

  #forget(sessionId) {
    this.#watched.get(sessionId)?._stop();
    this.#watched.delete(sessionId);
    this.#beginning.delete(sessionId);
  }

  #takeSummaries(answer, askedAt) {
    this.#clockOffset = Date.parse(answer.serverTime) - (askedAt + Date.now()) / 2;
    this.summaries.clear();
    for (const summary of answer.sessions) {
      this.summaries.set(summary.sessionId, summary);
    }
    this._changed();
  }

  #received(name, payload) {
    if (name === "session_summary") {
      // Big answers come in pieces, and what changes meanwhile may overtake them.
      if ((this.summaries.get(payload.sessionId)?.seq ?? 0) <= payload.seq) {
        this.summaries.set(payload.sessionId, payload);
        this._emit("summary", payload);
        if (payload.status === "ended") {
          this.summaries.delete(payload.sessionId);
        }
        this._changed();
      }
    } else if (name === "server_draining") {
      this._emit("draining", { reconnectAfterMs: payload.reconnectAfterMs });
    } else if (Number.isInteger(payload?.seq)) {
      this.#watched.get(payload.sessionId)?._receive(name, payload);
    }
  }

  #ended(code, message) {
    for (const watched of this.#watched.values()) {
      watched._stop();
    }
    this.#life.end(code, message);
  }
}

// One session as a moderator follows it; after a lost connection it goes on by itself.
class WatchedSession extends Followed {
  #line;
  #forget;

  constructor(sessionId, line, forget) {
    super(sessionId);
    this.#line = line;
    this.#forget = forget;
  }

  async unwatch() {
    this.#forget();
    await this.#line.command("unwatch", { sessionId: this.sessionId }).catch(() => undefined);
  }

  async _begin() {
    const askedAt = Date.now();
    await this.#line.command("watch", { sessionId: this.sessionId }, (answer) => this._absorb(answer, askedAt));
  }

  async _catchUp() {
    const askedAt = Date.now();
    const request = { sessionId: this.sessionId, after: this.seq };
    const answer = await this.#line.ask("watch", request, (taken) => this._absorb(taken, askedAt));
    if (!answer.ok && answer.error.retryable) {
      throw new CoordinatorError(answer.error);
    }
    if (!answer.ok) {
      // It has vanished meanwhile, or may not be watched any more; what is known of it stays.
      this.#forget();
      this._emit("closed", { code: answer.error.code, message: answer.error.message });
    }
  }
}

// -- recorders --------------------------------------------------------------------------------------------------------

// A named consumer of the recording feed. Each record is acked once its listeners are done with it; after a lost
// connection, or a new start, the feed goes on after the last ack: at least once, each session in order.
class RecordingFeed extends Emitter {
  #line;
  #request;
  #life = new Life(this);
  #records = [];
  #isWorking = false;
  #connection = 0;
  #unacked;
  #isAcking = false;
  #timeoutMs;

  constructor(options, consumer, after) {
    super();
    this.#request = { consumer, after };
    this.#timeoutMs = options.timeoutMs;
    this.#line = new Line(options, "/recording", {
      opened: () => this.#opened(),
      received: (name, payload) => this.#received(name, payload),
      lost: () => this.#lost(),
      ended: (code, message) => this.#ended(code, message),
    });
  }

  get phase() {
    return this.#life.phase;
  }

  // Records wait until there is somebody who listens: what nobody has had must not be acked.
  on(name, listener) {
    const off = super.on(name, listener);
    if (name === "record") {
      queueMicrotask(() => this.#work());
    }
    return off;
  }

  subscribe() {
    return this.#life.begin(this.#line, this.#timeoutMs);
  }

  async attachRecording({ sessionId, userId, url, startTime }) {
    const { seq } = await this.#line.command("attach_recording", { sessionId, userId, url, startTime });
    return { seq };
  }

  close() {
    this.#line.end("closed");
  }

  async #opened() {
    let answer;
    try {
      answer = await this.#line.ask("subscribe", this.#request);
    } catch {
      answer = { ok: false, error: { code: "disconnected", retryable: true } };
    }
    if (answer.ok) {
      // From here on the server's own note is what counts.
      this.#request.after = undefined;
      this.#life.arrive({ cursor: answer.cursor, window: answer.window });
      this.#line.ready();
    } else if (!answer.error.retryable) {
      this.#line.end(answer.error.code, answer.error.message);
    } else if (this.#line.isConnected) {
      this.#line.later(() => this.#line.isConnected && this.#opened());
    }
  }

  #received(name, payload) {
    if (name === "record") {
      this.#records.push(payload);
      this.#work();
    } else if (name === "server_draining") {
      this._emit("draining", { reconnectAfterMs: payload.reconnectAfterMs });
    }
  }

  async #work() {
    if (this.#isWorking) {
      return;
    }
    this.#isWorking = true;
    while (this.#records.length > 0 && this._listeners("record").length > 0) {
      const record = this.#records.shift();
      const connection = this.#connection;
      try {
        await Promise.all(this._listeners("record").map((listener) => listener(record)));
      } catch (error) {
        // Not acked, and nothing after it: begin again where the last ack is.
        report(error);
        this.#line.end("listener_failed", String(error?.message ?? error));
        break;
      }
      if (connection === this.#connection) {
        this.#unacked = record.cursor;
        this.#ack();
      }
    }
    this.#isWorking = false;
  }

  // One ack under way at a time; what is done meanwhile is acked together.
  async #ack() {
    if (this.#isAcking) {
      return;
    }
    this.#isAcking = true;
    while (this.#unacked !== undefined) {
      const connection = this.#connection;
      const cursor = this.#unacked;
      this.#unacked = undefined;
      const answer = await this.#line.ask("ack", { cursor }).catch(() => undefined);
      // After a lost connection all that was not acked comes again. On this one an ack must get through in the end:
      // the server sends no more than so many records without.
      const isOwed = connection === this.#connection && (answer === undefined || answer.error?.retryable);
      if (isOwed && this.phase !== "closed") {
        this.#unacked ??= cursor;
        await new Promise((resolve) => setTimeout(resolve, FIRST_RETRY_MS));
      }
    }
    this.#isAcking = false;
  }

  #lost() {
    // What is not done yet comes again on the next connection.
    this.#connection += 1;
    this.#records = [];
    this.#unacked = undefined;
    this.#life.lose();
  }

  #ended(code, message) {
    this.#records = [];
    this.#unacked = undefined;
    this.#life.end(code, message);
  }
}

// -- helpers ----------------------------------------------------------------------------------------------------------

// The token's own word for whose it is and how long it holds; the server checks it.
function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.codePointAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function hasEnded(token) {
  const ends = claimsOf(token)?.exp;
  return typeof ends === "number" && ends * 1_000 <= Date.now() + CLOCK_DIFFERENCE_MS;
}

function closedError(code = "closed", message = "it is closed") {
  return new CoordinatorError({ code, message });
}

// Promise.withResolvers, which Node has from 22 on.
function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

// A listener's mistake must be seen, but have no effect on what comes next.
function report(error) {
  console.error("coordinator-client:", error);
}
