// One WebRTC connection to one other participant. Knows neither the page nor who else is there.
//
// Two transceivers, for sound and picture, are there from the beginning; what is switched on and off replaces their
// tracks, which needs no negotiation. Whoever calls makes the first offer. Later ones, after an ICE restart, follow the
// pattern of perfect negotiation: if both offer at once, the polite side gives way.

const KINDS = ["audio", "video"];

export class Link {
  #connection;
  #isPolite;
  #send;
  #changed;
  #tracks;
  #senders = new Map();
  #isOffering = false;
  #isIgnoring = false;
  #isClosed = false;
  #encoding = {};
  // Signals are taken one after another: a candidate must not overtake the description that it belongs to.
  #work = Promise.resolve();

  // tracks: {audio, video}, a track or null each, the ones that are sent. send(signal) relays to the other side.
  // changed() is called when `state` or what comes in has changed.
  constructor({ id, isCaller, isPolite, connection, tracks, send, changed, now = Date.now }) {
    this.id = id;
    this.isCaller = isCaller;
    this.wasAnswered = false;
    this.wasConnected = false;
    this.incoming = []; // tracks of the other side
    this.startedAt = now();
    this.unwellSince = this.startedAt; // null while media can flow
    this.#connection = connection;
    this.#isPolite = isPolite;
    this.#tracks = { ...tracks };
    this.#send = (signal) => this.#isClosed || send({ link: id, ...signal });
    this.#changed = changed;

    connection.addEventListener("track", ({ track }) => {
      this.incoming.push(track);
      changed();
    });
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate !== null) {
        this.#send({ candidate: candidate.toJSON() });
      }
    });
    connection.addEventListener("connectionstatechange", () => {
      if (this.state === "connected") {
        this.wasConnected = true;
        this.unwellSince = null;
      } else {
        this.unwellSince ??= now();
      }
      changed();
    });
    connection.addEventListener("negotiationneeded", () => this.#offer());
    if (isCaller) {
      for (const kind of KINDS) {
        this.#adopt(connection.addTransceiver(kind, { direction: "sendrecv" }));
      }
    }
  }

  // As RTCPeerConnection has it: "new", "connecting", "connected", "disconnected", "failed" or "closed".
  get state() {
    return this.#connection.connectionState;
  }

  // Sends this track from now on; null sends nothing.
  setTrack(kind, track) {
    this.#tracks[kind] = track;
    return this.#replace(kind);
  }

  // encoding: parts of RTCRtpEncodingParameters, for the picture.
  async tune(encoding) {
    this.#encoding = encoding;
    const sender = this.#senders.get("video");
    const parameters = sender?.getParameters();
    if (parameters?.encodings?.length > 0) {
      Object.assign(parameters.encodings[0], encoding);
      // A wish: whoever cannot fulfil it sends as before.
      await sender.setParameters(parameters).catch(() => {});
    }
  }

  // Takes what the other side has sent for this link.
  take(signal) {
    this.#work = this.#work
      .then(() => this.#isClosed || (signal.description ? this.#describe(signal.description) : this.#reach(signal)))
      // Whatever it was, the link now works or the watchdog will find that it does not.
      .catch((error) => this.#isClosed || console.warn("A signal could not be used:", error));
    return this.#work;
  }

  // Looks for another way to the other side, without losing the tracks.
  restart(now = Date.now()) {
    this.unwellSince = now;
    this.#connection.restartIce();
  }

  // How loud the other side speaks, from 0 to 1, as far as it is known.
  level() {
    const receivers = this.#connection.getReceivers?.() ?? [];
    const sources = receivers.flatMap((receiver) => receiver.getSynchronizationSources?.() ?? []);
    return Math.max(0, ...sources.map((source) => source.audioLevel ?? 0));
  }

  close() {
    this.#isClosed = true;
    this.#connection.close();
  }

  async #offer() {
    try {
      this.#isOffering = true;
      await this.#connection.setLocalDescription();
      this.#tellDescription();
    } catch (error) {
      if (!this.#isClosed) {
        console.warn("No offer could be made:", error);
      }
    } finally {
      this.#isOffering = false;
    }
  }

  async #describe(description) {
    const isOffer = description.type === "offer";
    const collides = isOffer && (this.#isOffering || this.#connection.signalingState !== "stable");
    this.#isIgnoring = collides && !this.#isPolite;
    if (this.#isIgnoring) {
      return;
    }
    await this.#connection.setRemoteDescription(description);
    this.wasAnswered = true;
    if (isOffer) {
      for (const transceiver of this.#connection.getTransceivers()) {
        if (!this.#senders.has(transceiver.receiver.track.kind)) {
          transceiver.direction = "sendrecv"; // without this, the answer would promise to send nothing
          this.#adopt(transceiver);
        }
      }
      await this.#connection.setLocalDescription();
      this.#tellDescription();
    }
  }

  async #reach({ candidate }) {
    try {
      await this.#connection.addIceCandidate(candidate);
    } catch (error) {
      if (!this.#isIgnoring) {
        throw error;
      }
    }
  }

  #tellDescription() {
    const { type, sdp } = this.#connection.localDescription;
    this.#send({ description: { type, sdp } });
    this.tune(this.#encoding);
    this.#changed();
  }

  #adopt(transceiver) {
    const { kind } = transceiver.receiver.track;
    this.#senders.set(kind, transceiver.sender);
    this.#replace(kind);
  }

  // A sender of a link that was closed meanwhile throws; nobody needs to know.
  async #replace(kind) {
    await this.#senders
      .get(kind)
      ?.replaceTrack(this.#tracks[kind])
      .catch(() => {});
  }
}
