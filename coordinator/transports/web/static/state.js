// What a session's events add up to. Pure: knows neither the page nor the connection.
//
// Events are applied in the order of `seq`, each once, without a gap. One that comes too early is kept until what is
// missing before it has come.

export class RoomState {
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
    // An event that this page does not know changes nothing that it shows.
    if (Object.hasOwn(EFFECTS, event.type)) {
      EFFECTS[event.type](this, event, event.data);
    }
  }
}

const EFFECTS = {
  session_started(state, event) {
    Object.assign(state.session, { status: "active", startedAt: event.at });
  },
  session_ended(state, event, data) {
    Object.assign(state.session, { status: "ended", endedAt: event.at, endReason: data.reason });
  },
  participant_joined(state, _event, data) {
    state.participants.set(data.userId, {
      userId: data.userId,
      presence: "present",
      cameraEnabled: data.cameraEnabled,
      micEnabled: data.micEnabled,
      recordingConsent: data.recordingConsent,
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
    state.session.recordingEnabled = true;
  },
  recording_disabled(state) {
    state.session.recordingEnabled = false;
  },
};

function change(state, data, changes) {
  const participant = state.participants.get(data.userId);
  if (participant !== undefined) {
    Object.assign(participant, changes);
  }
}
