// A moderator's connection, as signals: what is live, how the connection is, and commands. Knows no page.

import { CoordinatorClient } from "/client/coordinator-client.js";
import { signal } from "/static/vendor/preact.js";
import { Api } from "/static/shared/api.js";

// Codes after which only another token helps.
const NEEDS_TOKEN = new Set(["unauthenticated", "forbidden"]);

export class Desk {
  #client;
  #moderation;
  #isDrawn = false;
  #isClosed = false;

  // identity: whose token is used. onRefused: called with the error when the server takes the token no longer.
  constructor(identity, onRefused) {
    this.phase = signal("connecting"); // connecting, connected, reconnecting, closed
    this.problem = signal(null); // why it is closed
    this.rooms = signal(null); // summaries of what is live, in the order in which they are shown; null: not yet known
    this.api = new Api(() => identity.token);
    this.#client = new CoordinatorClient({ token: identity.token });
    this.#moderation = this.#client.moderation();
    this.onRefused = onRefused;
  }

  async open() {
    const moderation = this.#moderation;
    moderation.on("phase", (phase) => this.#follow(phase));
    moderation.on("closed", (error) => this.#end(error));
    moderation.on("change", () => this.#redraw());
    try {
      await moderation.connect();
      this.#follow(moderation.phase);
      await moderation.watchAll();
      this.#redraw();
    } catch (error) {
      this.#end(error);
    }
  }

  // Milliseconds since the epoch, by the server's clock.
  now() {
    return this.#moderation.serverNow();
  }

  summary(sessionId) {
    return this.rooms.value?.find((room) => room.sessionId === sessionId);
  }

  watch(sessionId) {
    return this.#moderation.watch(sessionId);
  }

  mute(sessionId, userId) {
    return this.#moderation.mute(sessionId, userId);
  }

  remove(sessionId, userId, reason) {
    return this.#moderation.remove(sessionId, userId, reason);
  }

  endSession(sessionId) {
    return this.#moderation.endSession(sessionId);
  }

  setRecording(sessionId, enabled) {
    return this.#moderation.setRecording(sessionId, enabled);
  }

  close() {
    this.#isClosed = true;
    this.#moderation.close();
  }

  #follow(phase) {
    this.phase.value = { idle: "connecting", joining: "connecting", joined: "connected" }[phase] ?? phase;
  }

  #end(error) {
    if (this.#isClosed) {
      return;
    }
    this.close();
    this.phase.value = "closed";
    this.problem.value = error;
    if (NEEDS_TOKEN.has(error.code)) {
      this.onRefused(error);
    }
  }

  // Summaries may come by the hundred; the page is drawn once for all that come together.
  #redraw() {
    if (!this.#isDrawn) {
      this.#isDrawn = true;
      setTimeout(() => {
        this.#isDrawn = false;
        this.rooms.value = inOrder([...this.#moderation.summaries.values()]);
      }, 50);
    }
  }
}

// Running before waiting, then by what ends or starts first. Instants of the wire sort as texts.
function inOrder(summaries) {
  const rank = ({ status, scheduledStart, scheduledEnd, sessionId }) =>
    `${status === "active" ? `0${scheduledEnd}` : `1${scheduledStart}`}${sessionId}`;
  const live = summaries.filter((room) => room.status !== "ended");
  return live.sort((one, other) => (rank(one) < rank(other) ? -1 : 1));
}
