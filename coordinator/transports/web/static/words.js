// What is said about events, states and errors, in plain words. Pure text: knows neither the page nor the connection.

const ERRORS = {
  unauthenticated: "Your access token is not valid, or not any more. Open the room with a fresh link.",
  forbidden: "This access token does not let you into rooms as a participant.",
  not_found: "There is no such session. Check the link.",
  invalid_request: "The server did not understand the request.",
  not_registered: "You are not registered for this session.",
  session_not_open: "This session has not been opened yet. Try again shortly before it starts.",
  session_ended: "This session has ended.",
  room_full: "All seats of this session are taken.",
  removed: "A moderator removed you from this session. You cannot join it again.",
  replaced: "You are in this session in another window or on another device now, so this one was disconnected.",
  not_in_session: "You are not in this session at the moment.",
  payload_too_large: "That was too large to be sent.",
  rate_limited: "That was too much at once. Wait a moment and try again.",
  unavailable: "The server cannot do this at the moment. Try again.",
  no_answer: "The server did not answer. Try again.",
  disconnected: "The server closed the connection.",
};

// Here the message of the server, or of the moderator, adds something.
const DETAILED = new Set(["invalid_request", "removed"]);

const END_REASONS = {
  completed: "the time is over",
  not_enough_participants: "not enough people came",
  empty: "nobody was there any more",
  ended_by_moderator: "a moderator ended it",
};

const PERMISSION_REASONS = {
  consent_granted: "recording was allowed",
  consent_revoked: "consent was withdrawn",
  recording_enabled: "recording was switched on",
  recording_disabled: "recording was switched off",
  session_started: "the session started",
  session_ended: "the session ended",
  joined: "joined",
  reconnected: "came back",
  disconnected: "connection lost",
  left: "left",
  removed: "removed",
};

export function errorWords(code, message) {
  const words = Object.hasOwn(ERRORS, code) ? ERRORS[code] : (message ?? "Something went wrong.");
  return DETAILED.has(code) && message ? `${words} (${message})` : words;
}

export function statusWords(session) {
  switch (session.status) {
    case "waiting":
      return "Waiting to start";
    case "active":
      return session.recordingEnabled ? "Running, recording is switched on" : "Running";
    default:
      return `Ended: ${reasonOf(END_REASONS, session.endReason)}`;
  }
}

export function countdownWords(session, now) {
  const left = (time) => Math.ceil((Date.parse(time) - now) / 1000);
  if (session.status === "waiting") {
    const seconds = left(session.scheduledStart);
    return seconds > 0 ? `starts in ${clock(seconds)}` : "as soon as enough people are here";
  }
  return session.status === "active" ? `ends in ${clock(Math.max(0, left(session.scheduledEnd)))}` : "";
}

function clock(seconds) {
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(seconds / 3600);
  return (hours > 0 ? [hours, ...parts] : parts).join(":");
}

export function timeWords(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function presenceWords(participant) {
  switch (participant.presence) {
    case "present":
      return "here";
    case "away":
      return `away, seat held until ${timeWords(participant.reconnectBy)}`;
    case "left":
      return "left";
    default:
      return "not here";
  }
}

// The sentence for one event. `me` is the user of this page.
export function sentence(event, me) {
  const { data } = event;
  const who = data.userId === me ? "You" : data.userId;
  const whom = data.userId === me ? "you" : data.userId;
  return Object.hasOwn(SENTENCES, event.type) ? SENTENCES[event.type]({ data, who, whom, event }) : event.type;
}

const SENTENCES = {
  session_opened: () => "The room opened.",
  session_started: () => "The session started.",
  session_ended: ({ data }) => `The session ended: ${reasonOf(END_REASONS, data.reason)}.`,
  participant_joined: ({ who }) => `${who} joined.`,
  participant_disconnected: ({ who }) => `${who} lost the connection.`,
  participant_reconnected: ({ who }) => `${who} came back.`,
  participant_left({ data, who, whom }) {
    switch (data.reason) {
      case "timeout":
        return `${who} did not come back in time; the seat is free.`;
      case "removed":
        return `A moderator removed ${whom}${data.message ? `: ${data.message}` : "."}`;
      case "session_ended":
        return `${who} left with the end of the session.`;
      default:
        return `${who} left.`;
    }
  },
  camera_changed: ({ data, who }) => `${who} turned the camera ${data.cameraEnabled ? "on" : "off"}.`,
  mic_changed({ data, who, whom, event }) {
    if (!data.micEnabled && event.actor.userId !== data.userId) {
      return `A moderator muted ${whom}.`;
    }
    return `${who} turned the microphone ${data.micEnabled ? "on" : "off"}.`;
  },
  recording_consent_granted: ({ who }) => `${who} allowed recording.`,
  recording_consent_revoked: ({ who }) => `${who} withdrew consent to be recorded.`,
  recording_enabled: () => "Recording was switched on for the session.",
  recording_disabled: () => "Recording was switched off for the session.",
  recording_permitted: ({ data, who }) => `${who} may be recorded now: ${reasonOf(PERMISSION_REASONS, data.reason)}.`,
  recording_withdrawn: ({ data, who }) =>
    `${who} may not be recorded any more: ${reasonOf(PERMISSION_REASONS, data.reason)}.`,
  recording_attached: ({ whom }) => `A recording of ${whom} was filed.`,
  user_erased: ({ who }) => `${who} was erased.`,
};

function reasonOf(words, reason) {
  return Object.hasOwn(words, reason) ? words[reason] : String(reason);
}
