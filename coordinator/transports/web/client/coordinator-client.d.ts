// Made by scripts/schemas from the coordinator's own types; what is changed here by hand is lost.

/** Say that everything up to `cursor` is done with. */
export type Ack = {
  cursor: string;
};

/** The ack of a command: its events are durable, and the last of them is `seq`. */
export type Acked = {
  ok: true;
  /** The last event of the session's log that is applied. */
  seq: number;
};

/** Who caused an event. */
export type Actor = {
  userId: string;
  role: Role;
};

/** Attach a recording of a participant, as over HTTP. */
export type AttachRecording = {
  /** A user: the `sub` of its token. */
  userId: string;
  /** Where the recording lies, on an allowed host. */
  url: string;
  /** When the recording begins; the user could be recorded then. Cut to milliseconds. */
  startTime: string;
  sessionId: string;
};

/** A camera was switched. */
export type CameraChanged = {
  userId: string;
  cameraEnabled: boolean;
};

/** Why a connection is gone. */
export type DisconnectReason = "connection_closed" | "connection_lost" | "ping_timeout" | "server_stopped" | "token_expired" | "too_slow";

/** The ack of what is not an event. */
export type Done = {
  ok: true;
};

/** The server is about to stop; come back after a while. */
export type DrainingNotice = {
  reconnectAfterMs: number;
};

/** Why a session ended. */
export type EndReason = "completed" | "empty" | "ended_by_moderator" | "not_enough_participants";

/** End a session now. */
export type EndSession = {
  /** 24 hexadecimal digits */
  sessionId: string;
};

/** The session ends soon. */
export type EndingNotice = {
  sessionId: string;
  secondsLeft: number;
};

/** An entry of a session's log. What stands in `data` depends on `type`. */
export type LogEntry = {
  sessionId: string;
  /** Its place in the session's order: dense, from 1. */
  seq: number;
  at: string;
  type: "camera_changed" | "mic_changed" | "participant_disconnected" | "participant_joined" | "participant_left" | "participant_reconnected" | "recording_attached" | "recording_consent_granted" | "recording_consent_revoked" | "recording_disabled" | "recording_enabled" | "recording_permitted" | "recording_withdrawn" | "session_ended" | "session_opened" | "session_started" | "user_erased";
  actor: Actor;
  data: Record<string, never>;
};

/** Take a seat, or come back to it; `after` is the last `seq` that the client has seen. */
export type Join = {
  /** 24 hexadecimal digits */
  sessionId: string;
  after?: number;
};

/** Languages that can be practised. */
export type Language = "en" | "es" | "fr";

/** Give the seat back. */
export type Leave = Record<string, unknown>;

/** Why a seat became free. */
export type LeftReason = "left" | "removed" | "session_ended" | "timeout";

/** CEFR levels. */
export type Level = "A1" | "A2" | "B1" | "B2" | "C1" | "C2";

/** A microphone was switched. */
export type MicChanged = {
  userId: string;
  micEnabled: boolean;
};

/** Switch a user's microphone off. */
export type Mute = {
  /** 24 hexadecimal digits */
  sessionId: string;
  userId: string;
};

/** The ack of `ack`: up to where the consumer will not be sent anything again, whatever happens. */
export type Noted = {
  ok: true;
  cursor: string;
};

/** A user's part in a session. */
export type ParticipantView = {
  id: string;
  sessionId: string;
  /** A user: the `sub` of its token. */
  userId: string;
  status: ParticipantStatus;
  cameraEnabled: boolean;
  micEnabled: boolean;
  recordingConsent: boolean;
  joinedAt: string;
  /** The last event of the session's log that is applied. */
  seq: number;
  leftAt?: string;
};

/** A present user's connection is gone; the seat is held until `reconnect_by`. */
export type ParticipantDisconnected = {
  userId: string;
  reason: DisconnectReason;
  reconnectBy: string;
};

/** A user took a seat. Camera and microphone start switched off. */
export type ParticipantJoined = {
  userId: string;
  connectionId: string;
  cameraEnabled: boolean;
  micEnabled: boolean;
  recordingConsent: boolean;
};

/** A seat became free. */
export type ParticipantLeft = {
  userId: string;
  reason: LeftReason;
  message?: string;
};

/** A user with a seat is there on a new connection, after a loss or in place of an older one. */
export type ParticipantReconnected = {
  userId: string;
  connectionId: string;
};

/** Present in the lobby, present in the running session, or not present. */
export type ParticipantStatus = "connected" | "disconnected" | "waiting";

/** What made a user recordable, or no longer so. */
export type PermissionReason = "consent_granted" | "consent_revoked" | "disconnected" | "joined" | "left" | "reconnected" | "recording_disabled" | "recording_enabled" | "removed" | "session_ended" | "session_started";

/** A record of the feed; ack its cursor once it is dealt with. */
export type FeedRecord = {
  cursor: string;
  event: LogEntry;
};

/** A recording of one participant; its start synchronises it with the others. */
export type Recording = {
  /** A user: the `sub` of its token. */
  userId: string;
  /** Where the recording lies, on an allowed host. */
  url: string;
  startTime: string;
};

/** A recording of a user was attached. */
export type RecordingAttached = {
  userId: string;
  url: string;
  startTime: string;
};

/** A user agreed to be recorded, under a policy. */
export type RecordingConsentGranted = {
  userId: string;
  policyVersion?: string;
};

/** A user no longer agrees to be recorded. */
export type RecordingConsentRevoked = {
  userId: string;
  policyVersion?: string;
};

/** Recording was switched off for the session. */
export type RecordingDisabled = Record<string, never>;

/** Recording was switched on for the session. */
export type RecordingEnabled = Record<string, never>;

/** From now on this user may be recorded. */
export type RecordingPermitted = {
  userId: string;
  reason: PermissionReason;
};

/** From now on this user must not be recorded. */
export type RecordingWithdrawn = {
  userId: string;
  reason: PermissionReason;
};

/** Why nothing was done. */
export type Refusal = {
  code: "forbidden" | "invalid_request" | "not_found" | "not_in_session" | "not_registered" | "overlapping_registration" | "payload_too_large" | "rate_limited" | "recording_not_permitted" | "removed" | "room_full" | "session_ended" | "session_not_open" | "slot_full" | "slot_inactive" | "slot_over" | "unauthenticated" | "unavailable";
  /** What is wrong and what would be right, for people. */
  message: string;
  /** Whether the same message may succeed later. */
  retryable: boolean;
  /** The field that is wrong. */
  field?: string;
};

/** The ack of what was refused, and has changed nothing. */
export type Refused = {
  ok: false;
  error: Refusal;
};

/** Remove a user for the rest of the session; everybody in it sees the reason. */
export type Remove = {
  /** 24 hexadecimal digits */
  sessionId: string;
  userId: string;
  reason?: string;
};

/** A newer connection has taken this one's place; this one is closed. */
export type ReplacedNotice = {
  sessionId?: string;
  consumer?: string;
};

/** Who acts: the token's role, or the coordinator itself. */
export type Role = "admin" | "moderator" | "participant" | "recorder" | "system";

/** Somebody who holds a seat: present, or disconnected and expected back. */
export type SeatSummary = {
  /** A user: the `sub` of its token. */
  userId: string;
  status: ParticipantStatus;
  cameraEnabled: boolean;
  micEnabled: boolean;
  recordingConsent: boolean;
};

/** A session from here on: what was missed, or where too much was, a snapshot. Every later event follows. */
export type Seen = {
  ok: true;
  sessionId: string;
  /** The last event of the session's log that is applied. */
  seq: number;
  serverTime: string;
  /** Whether `events` holds all that was missed. */
  resumed: boolean;
  snapshot?: Snapshot;
  events?: Array<LogEntry>;
};

/** What becomes of a time slot: the live conversation. */
export type SessionView = {
  id: string;
  timeSlotId: string;
  /** The language that is practised. */
  targetLanguageCode: Language;
  /** CEFR level. */
  level: Level;
  status: SessionStatus;
  recordingEnabled: boolean;
  createdAt: string;
  updatedAt: string;
  scheduledStart: string;
  scheduledEnd: string;
  /** The last event of the session's log that is applied. */
  seq: number;
  startedAt?: string;
  endedAt?: string;
  endReason?: EndReason;
  /** To a participant, only its own. */
  recordings: Array<Recording>;
  /** When the session changes by itself, unless something happens before. */
  nextDeadline?: string;
};

/** It is over; nothing but recordings can follow its consequences. */
export type SessionEnded = {
  reason: EndReason;
};

/** The lobby is open. Carries every rule of the session, so that a later change of settings cannot touch it. */
export type SessionOpened = {
  timeSlotId: string;
  targetLanguageCode: Language;
  level: Level;
  scheduledStart: string;
  scheduledEnd: string;
  noShowAt: string;
  minParticipants: number;
  maxParticipants: number;
  emptyTimeoutSeconds: number;
  reconnectGraceSeconds: number;
};

/** Enough were present at or after the scheduled start. */
export type SessionStarted = Record<string, never>;

/** Where a session stands; it only ever moves to the right. */
export type SessionStatus = "active" | "ended" | "waiting";

/** A session at a glance. */
export type SessionSummary = {
  sessionId: string;
  timeSlotId: string;
  /** The language that is practised. */
  targetLanguageCode: Language;
  /** CEFR level. */
  level: Level;
  status: SessionStatus;
  /** The last event of the session's log that is applied. */
  seq: number;
  scheduledStart: string;
  scheduledEnd: string;
  /** Until `scheduledEnd`, when this was sent; 0 once it has ended. */
  secondsLeft: number;
  recordingEnabled: boolean;
  /** Users who are there now. */
  presentCount: number;
  /** Seats. */
  maxParticipants: number;
  /** Of those who hold a seat, how many consent to be recorded. */
  consentCount: number;
  /** Users who may be recorded now. */
  recordableCount: number;
  endReason?: EndReason;
  /** Everyone who holds a seat. */
  participants: Array<SeatSummary>;
};

/** Switch camera or microphone, at least one of them. */
export type SetMedia = {
  cameraEnabled?: boolean;
  micEnabled?: boolean;
};

/** Switch recording of a session on or off. */
export type SetRecording = {
  /** 24 hexadecimal digits */
  sessionId: string;
  enabled: boolean;
};

/** Grant or revoke consent to be recorded. */
export type SetRecordingConsent = {
  granted: boolean;
  policyVersion?: string;
};

/** Relay a WebRTC offer, answer or candidate to another participant. */
export type Signal = {
  to: string;
  data: unknown;
};

/** What another participant has sent by `signal`. */
export type SignalNotice = {
  sessionId: string;
  /** A user: the `sub` of its token. */
  from: string;
  data: unknown;
};

/** A session as it is, with everybody who has ever been in it. */
export type Snapshot = {
  session: SessionView;
  participants: Array<ParticipantView>;
};

/** Read the feed under a name: from after what was acked last, or from after `after`: a cursor, or "beginning". */
export type Subscribe = {
  /** 1 to 64 letters, digits, `.`, `_` or `-`. */
  consumer: string;
  after?: string;
};

/** The ack of `subscribe`: after which record the feed goes on, and how many may be unacked. */
export type Subscribed = {
  ok: true;
  consumer: string;
  cursor: string | null;
  /** Why there: what was chosen, kept, or is the beginning. */
  from: string;
  window: number;
};

/** Ask for everything after `after` once more. */
export type Sync = {
  after: number;
};

/** Listen no more, to one session or to summaries of all. Either `sessionId` or `all` is given. */
export type Unwatch = {
  sessionId?: string;
  all?: boolean;
};

/** A user was erased from a session that is over: from then on its log names a pseudonym. */
export type UserErased = {
  userId: string;
};

/** Listen to one session, from `after` on, or to summaries of all. Either `sessionId` or `all` is given. */
export type Watch = {
  sessionId?: string;
  after?: number;
  all?: boolean;
};

/** The ack of `watch`: of one session as of `join`, of all with their summaries. */
export type Watching = {
  ok: true;
  sessionId?: string;
  /** The last event of the session's log that is applied. */
  seq?: number;
  serverTime: string;
  resumed?: boolean;
  snapshot?: Snapshot;
  events?: Array<LogEntry>;
  sessions?: Array<SessionSummary>;
};

/** Why something was refused, or is over: the server's codes, and the library's own. */
export type ErrorCode =
  | "forbidden"
  | "invalid_request"
  | "not_found"
  | "not_in_session"
  | "not_registered"
  | "overlapping_registration"
  | "payload_too_large"
  | "rate_limited"
  | "recording_not_permitted"
  | "removed"
  | "room_full"
  | "session_ended"
  | "session_not_open"
  | "slot_full"
  | "slot_inactive"
  | "slot_over"
  | "unauthenticated"
  | "unavailable"
  | "timeout"
  | "disconnected"
  | "closed"
  | "left"
  | "replaced"
  | "listener_failed"
  | "unknown";

/** A persisted event; `type` tells which `data` it has. */
export type SessionEvent =
  | Envelope<"camera_changed", CameraChanged>
  | Envelope<"mic_changed", MicChanged>
  | Envelope<"participant_disconnected", ParticipantDisconnected>
  | Envelope<"participant_joined", ParticipantJoined>
  | Envelope<"participant_left", ParticipantLeft>
  | Envelope<"participant_reconnected", ParticipantReconnected>
  | Envelope<"recording_attached", RecordingAttached>
  | Envelope<"recording_consent_granted", RecordingConsentGranted>
  | Envelope<"recording_consent_revoked", RecordingConsentRevoked>
  | Envelope<"recording_disabled", RecordingDisabled>
  | Envelope<"recording_enabled", RecordingEnabled>
  | Envelope<"recording_permitted", RecordingPermitted>
  | Envelope<"recording_withdrawn", RecordingWithdrawn>
  | Envelope<"session_ended", SessionEnded>
  | Envelope<"session_opened", SessionOpened>
  | Envelope<"session_started", SessionStarted>
  | Envelope<"user_erased", UserErased>;

/** What all persisted events have. */
export interface Envelope<Type extends string, Data> {
  type: Type;
  sessionId: string;
  /** Its place in the session's order: dense, from 1. */
  seq: number;
  /** RFC 3339, UTC. */
  at: string;
  actor: Actor;
  data: Data;
}

export type EventType = SessionEvent["type"];
export type EventOf<Type extends EventType> = Extract<SessionEvent, { type: Type }>;

/** Somebody in a session, as the events add up. */
export interface RoomParticipant {
  readonly userId: string;
  /** "away": the connection is lost, the seat is held until `reconnectBy`; "absent": not here when one came. */
  readonly presence: "present" | "away" | "left" | "absent";
  readonly cameraEnabled: boolean;
  readonly micEnabled: boolean;
  readonly recordingConsent: boolean;
  readonly mayBeRecorded: boolean;
  readonly joinedAt: string;
  readonly reconnectBy?: string;
}

export type Phase = "idle" | "joining" | "joined" | "reconnecting" | "closed";

export interface Closed {
  code: ErrorCode;
  message?: string;
}

export class CoordinatorError extends Error {
  readonly code: ErrorCode;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** What is wrong, where the server names it. */
  readonly field?: string;
  constructor(error: { code: ErrorCode; message?: string; retryable?: boolean; field?: string });
}

export interface ClientOptions {
  /** Where the server is; in a page, by default the page's own origin. */
  url?: string;
  /** A token, or what gives one: then it is asked for every connection, and one that ends is replaced. */
  token: string | (() => string | Promise<string>);
  /** How long a command may take in all, reconnections included; in milliseconds, 15 000 by default. */
  timeoutMs?: number;
  /** As in socket.io-client; WebSocket first by default. */
  transports?: string[];
}

export class CoordinatorClient {
  constructor(options: ClientOptions);
  /** Whose token it is; undefined until a function that gives tokens was asked. */
  readonly userId: string | undefined;
  room(sessionId: string): Room;
  moderation(): Moderation;
  recording(options: { consumer: string; after?: string }): RecordingFeed;
}

type Off = () => void;

interface FollowedEvents {
  change: undefined;
  snapshot: undefined;
  event: SessionEvent;
  closed: Closed;
}

interface RoomEvents extends FollowedEvents {
  joined: { resumed: boolean; first: boolean };
  phase: Phase;
  signal: { from: string; data: unknown };
  ending: { secondsLeft: number };
  draining: { reconnectAfterMs: number };
}

/** A session as it is followed. */
interface Followed<Events> {
  readonly sessionId: string;
  readonly session: SessionView | null;
  readonly participants: ReadonlyMap<string, RoomParticipant>;
  /** The last event that is applied. */
  readonly seq: number;
  /** Milliseconds since 1970 by the server's clock. */
  serverNow(): number;
  on<Name extends keyof Events>(name: Name, listener: (payload: Events[Name]) => void): Off;
  on<Type extends EventType>(name: Type, listener: (event: EventOf<Type>) => void): Off;
}

/** A participant's place in one session. */
export interface Room extends Followed<RoomEvents> {
  readonly phase: Phase;
  readonly me: RoomParticipant | undefined;
  join(): Promise<void>;
  setMedia(media: { cameraEnabled?: boolean; micEnabled?: boolean }): Promise<{ seq: number }>;
  setConsent(granted: boolean, policyVersion?: string): Promise<{ seq: number }>;
  signal(userId: string, data: unknown): Promise<void>;
  /** Gives the seat back. */
  leave(): Promise<void>;
  /** Closes the connection; the seat is held for a while. */
  close(): void;
}

export interface WatchedSession extends Followed<FollowedEvents> {
  unwatch(): Promise<void>;
}

interface ModerationEvents {
  change: undefined;
  phase: Phase;
  summary: SessionSummary;
  draining: { reconnectAfterMs: number };
  closed: Closed;
}

/** A moderator's connection. */
export interface Moderation {
  readonly phase: Phase;
  readonly summaries: ReadonlyMap<string, SessionSummary>;
  serverNow(): number;
  connect(): Promise<void>;
  watchAll(): Promise<void>;
  unwatchAll(): Promise<void>;
  watch(sessionId: string): Promise<WatchedSession>;
  mute(sessionId: string, userId: string): Promise<{ seq: number }>;
  remove(sessionId: string, userId: string, reason?: string): Promise<{ seq: number }>;
  endSession(sessionId: string): Promise<{ seq: number }>;
  setRecording(sessionId: string, enabled: boolean): Promise<{ seq: number }>;
  close(): void;
  on<Name extends keyof ModerationEvents>(name: Name, listener: (payload: ModerationEvents[Name]) => void): Off;
}

interface FeedEvents {
  phase: Phase;
  draining: { reconnectAfterMs: number };
  closed: Closed;
}

/** A named consumer of the recording feed. */
export interface RecordingFeed {
  readonly phase: Phase;
  subscribe(): Promise<{ cursor: string | null; window: number }>;
  attachRecording(recording: {
    sessionId: string;
    userId: string;
    url: string;
    startTime: string;
  }): Promise<{ seq: number }>;
  close(): void;
  /** The record is acked once what the listener returns has resolved. */
  on(name: "record", listener: (record: { cursor: string; event: SessionEvent }) => void | Promise<void>): Off;
  on<Name extends keyof FeedEvents>(name: Name, listener: (payload: FeedEvents[Name]) => void): Off;
}
