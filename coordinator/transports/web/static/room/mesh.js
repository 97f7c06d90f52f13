// A link from here to every other participant: who calls whom, what is sent, and what is done about links that do not
// work. Knows neither the page nor the connection to the server: signals go out by `send` and come in by `take`.
//
// Whoever comes new to a room calls everybody who is there; they answer. Every call has a link id of its own, so what
// is still under way of an older one is ignored, and a call with a new id takes the place of the link before it.

import { Link } from "./link.js";

const CHECK_MS = 2_000;
// How long a link may take before it is tried anew: the caller first, the other side if the caller does nothing.
const CALLER_PATIENCE_MS = 6_000;
const OTHER_PATIENCE_MS = 10_000;
const FAILED_PATIENCE_MS = 1_000;
const MOST_DOUBLINGS = 3;

// What a picture may cost, by the number of others it is sent to: everybody sends it to each of them.
const QUALITIES = [
  { upTo: 2, encoding: { maxBitrate: 900_000, scaleResolutionDownBy: 1, maxFramerate: 24 } },
  { upTo: 4, encoding: { maxBitrate: 450_000, scaleResolutionDownBy: 1.5, maxFramerate: 20 } },
  { upTo: Infinity, encoding: { maxBitrate: 220_000, scaleResolutionDownBy: 2, maxFramerate: 15 } },
];

export class Mesh {
  #me;
  #send;
  #changed;
  #connect;
  #now;
  #isOnline;
  #links = new Map();
  #streams = new Map();
  #peers = new Map(); // user id -> {isHere, since, attempts}
  #tracks = { audio: null, video: null };
  #timer;

  // me: the own user id. send(userId, data): relays a signal. changed(): a link or what it brings has changed.
  // isOnline(): whether signals can be sent now. iceServers: as RTCPeerConnection takes them.
  constructor({ me, send, changed, isOnline, iceServers = [], connect, now = Date.now }) {
    this.#me = me;
    this.#send = send;
    this.#changed = changed;
    this.#isOnline = isOnline;
    this.#connect = connect ?? (() => new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" }));
    this.#now = now;
    this.#timer = setInterval(() => this.check(), CHECK_MS);
  }

  // Says who has a seat in the room: here are those who can answer, away those whose connection to the server is lost.
  // Media may still flow to these; links to anybody else are closed.
  setPeers(here, away = []) {
    const seated = new Set([...here, ...away]);
    for (const userId of this.#links.keys()) {
      if (!seated.has(userId)) {
        this.#drop(userId);
      }
    }
    for (const userId of this.#peers.keys()) {
      if (!seated.has(userId)) {
        this.#peers.delete(userId);
      }
    }
    for (const userId of seated) {
      const isHere = here.includes(userId);
      const peer = this.#peers.get(userId);
      if (peer === undefined) {
        this.#peers.set(userId, { isHere, since: this.#now(), attempts: 0 });
      } else {
        peer.isHere = isHere;
      }
    }
    this.#tune();
  }

  // Calls everybody who is here and has not called first: what a newcomer does, once.
  callAll() {
    for (const [userId, { isHere }] of this.#peers) {
      if (isHere && !this.#links.has(userId)) {
        this.#call(userId);
      }
    }
  }

  // Takes a signal that came from another participant.
  take(from, data) {
    const { link: id, description, candidate } = data ?? {};
    if (typeof id !== "string" || (description === undefined && candidate === undefined)) {
      return; // not one of ours
    }
    let link = this.#links.get(from);
    if (link?.id !== id) {
      if (description?.type !== "offer" || this.#insists(from, link)) {
        return;
      }
      link = this.#open(from, id, false);
    }
    link.take({ description, candidate });
  }

  // Sends this track to all from now on; null sends nothing. kind: "audio" or "video".
  setTrack(kind, track) {
    this.#tracks[kind] = track;
    for (const link of this.#links.values()) {
      link.setTrack(kind, track);
    }
  }

  // What comes from somebody: a MediaStream, which stays the same as long as their link.
  streamOf(userId) {
    return this.#streams.get(userId) ?? null;
  }

  // Whether media can flow from and to somebody.
  isConnected(userId) {
    return this.#links.get(userId)?.state === "connected";
  }

  // How loud each of the others speaks, from 0 to 1.
  levels() {
    return new Map([...this.#links].map(([userId, link]) => [userId, link.level()]));
  }

  // The watchdog: tries anew what has not worked for too long. Runs by itself.
  check() {
    if (!this.#isOnline()) {
      return;
    }
    const now = this.#now();
    for (const [userId, peer] of this.#peers) {
      const link = this.#links.get(userId);
      const since = link === undefined ? peer.since : link.unwellSince;
      if (since === null) {
        peer.attempts = 0;
      } else if (peer.isHere && now - since >= this.#patience(userId, link, peer.attempts)) {
        peer.attempts += 1;
        if (link?.isCaller && link.wasConnected && peer.attempts === 1) {
          link.restart(now);
        } else {
          this.#call(userId);
        }
      }
    }
  }

  close() {
    clearInterval(this.#timer);
    for (const userId of [...this.#links.keys()]) {
      this.#drop(userId);
    }
    this.#peers.clear();
  }

  #call(userId) {
    this.#open(userId, newId(), true);
  }

  #open(userId, id, isCaller) {
    this.#drop(userId);
    const stream = new MediaStream();
    const link = new Link({
      id,
      isCaller,
      isPolite: !this.#leads(userId),
      connection: this.#connect(),
      tracks: this.#tracks,
      send: (signal) => this.#send(userId, signal),
      changed: () => {
        for (const track of link.incoming) {
          stream.addTrack(track); // one that it has already is not added again
        }
        this.#changed();
      },
      now: this.#now,
    });
    this.#links.set(userId, link);
    this.#streams.set(userId, stream);
    this.#tune();
    return link;
  }

  #drop(userId) {
    this.#links.get(userId)?.close();
    this.#links.delete(userId);
    this.#streams.delete(userId);
  }

  // If two call each other at once, one of them must stay with its call: as long as it may still be answered.
  #insists(userId, link) {
    return (
      link?.isCaller === true &&
      !link.wasAnswered &&
      this.#leads(userId) &&
      this.#now() - link.startedAt < CALLER_PATIENCE_MS
    );
  }

  #leads(userId) {
    return this.#me > userId;
  }

  #patience(userId, link, attempts) {
    const leads = link === undefined ? this.#leads(userId) : link.isCaller;
    const first = link?.state === "failed" ? FAILED_PATIENCE_MS : CALLER_PATIENCE_MS;
    return (leads ? first : OTHER_PATIENCE_MS) * 2 ** Math.min(attempts, MOST_DOUBLINGS);
  }

  #tune() {
    const { encoding } = QUALITIES.find(({ upTo }) => this.#peers.size <= upTo);
    for (const link of this.#links.values()) {
      link.tune(encoding);
    }
  }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");
}
