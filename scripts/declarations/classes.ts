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
