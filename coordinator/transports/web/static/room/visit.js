// One visit to one room: the connection, the media and the own devices, kept in step with each other.
//
// Whose camera and microphone are on is what the events say. The own devices follow them: one that was switched off by
// a moderator is switched off here. Only switching off acts at once, before the server knows.

import { signal } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { notify } from "/static/shared/ui.js";
import { Mesh } from "./mesh.js";

// Names the text of the consent dialog: what the user agrees to.
export const POLICY_VERSION = "room-page-2";

const ICE_SERVERS_MS = 3_000;
const LEAVE_MS = 3_000;
const LISTEN_MS = 250;
const SPEAKING = 0.02;

const FLAGS = { video: "cameraEnabled", audio: "micEnabled" };

export class Visit {
  #api;
  #mesh;
  #listening;
  #removal; // what the moderator said

  // room: a Room of the client library. userId: the own. wants: {audio, video}, what is to be on from the beginning;
  // null on a return, when it is to be as it was.
  constructor({ room, userId, api, devices, wants }) {
    this.room = room;
    this.userId = userId;
    this.devices = devices;
    this.wants = wants;
    this.#api = api;
    this.version = signal(0); // whoever draws with this is drawn again when anything has changed
    this.phase = signal("joining"); // then "joined" and "reconnecting" in turn, at last "closed"
    this.pending = signal({}); // {audio, video, consent}: true while the server has not answered
    this.ended = signal(null); // {code, message, endReason} once it is over
    this.speaking = signal(new Set()); // user ids
    this.isDraining = signal(false);
    this.isSoundBlocked = signal(false);
  }

  async start() {
    const { room } = this;
    const iceServers = await this.#iceServers();
    if (this.ended.value !== null) {
      return; // somebody has gone back already
    }
    this.#mesh = new Mesh({
      me: this.userId,
      iceServers,
      send: (userId, data) => room.signal(userId, data).catch(() => {}), // the watchdog tries again
      changed: () => this.#touch(),
      isOnline: () => room.phase === "joined",
    });
    room.on("change", () => this.#follow());
    room.on("signal", ({ from, data }) => this.#mesh.take(from, data));
    room.on("joined", ({ first }) => this.#joined(first));
    room.on("phase", (phase) => this.#setPhase(phase));
    room.on("event", (event) => this.#tell(event));
    room.on("ending", ({ secondsLeft }) => notify(t("live.ending", { count: Math.round(secondsLeft / 60) }), "warn"));
    room.on("draining", () => (this.isDraining.value = true));
    room.on("closed", ({ code, message }) => this.#end(code, message));
    this.devices.onLost = (kind) => this.#lost(kind);
    this.#listening = setInterval(() => this.#listen(), LISTEN_MS);
    try {
      await room.join();
    } catch (error) {
      this.#end(error.code ?? "unknown", error.message);
      room.close();
    }
  }

  streamOf(userId) {
    return this.#mesh?.streamOf(userId) ?? null;
  }

  isConnectedTo(userId) {
    return this.#mesh?.isConnected(userId) ?? false;
  }

  // Switches the own camera ("video") or microphone ("audio").
  async toggle(kind) {
    const isOn = this.room.me?.[FLAGS[kind]] ?? false;
    await this.#during(kind, () => (isOn ? this.#switchOff(kind) : this.#switchOn(kind)));
  }

  // Uses another camera or microphone from now on.
  async choose(kind, id) {
    const track = await this.devices.choose(kind, id);
    if (track !== null) {
      this.#publish(kind);
    }
  }

  // The browser plays no sound before somebody has clicked.
  blockSound() {
    this.isSoundBlocked.value = true;
  }

  unblockSound() {
    this.isSoundBlocked.value = false;
  }

  async setConsent(isGranted) {
    await this.#during("consent", () => this.room.setConsent(isGranted, POLICY_VERSION));
  }

  // Gives the seat back.
  async leave() {
    this.#release();
    const patience = new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
    await Promise.race([this.room.leave().catch(() => {}), patience]);
    this.#end("left");
    this.room.close();
  }

  // Goes without leaving: the seat is held for a while.
  abandon() {
    this.#end("closed");
    this.room.close();
  }

  async #iceServers() {
    try {
      const { iceServers } = await this.#api.get("/ice-servers", {}, { signal: AbortSignal.timeout(ICE_SERVERS_MS) });
      return iceServers;
    } catch {
      return []; // within one network it works without
    }
  }

  #setPhase(phase) {
    this.phase.value = phase;
    if (phase === "joined") {
      this.isDraining.value = false;
    }
  }

  async #joined(isFirst) {
    this.#setPhase("joined");
    this.#follow();
    if (isFirst) {
      this.#mesh.callAll();
      await this.#begin();
    } else {
      // What was switched off without the server knowing.
      for (const kind of ["audio", "video"]) {
        if (this.room.me?.[FLAGS[kind]] && this.devices[kind].value === null && !this.pending.value[kind]) {
          await this.#during(kind, () => this.#switchOff(kind));
        }
      }
    }
  }

  // Switches on what the user wants, or what was on before the page was loaded again.
  async #begin() {
    const { me } = this.room;
    const wants = this.wants ?? { audio: me?.micEnabled, video: me?.cameraEnabled };
    for (const kind of ["audio", "video"]) {
      await this.#during(kind, async () => {
        if (wants[kind]) {
          await this.#switchOn(kind);
        } else if (this.room.me?.[FLAGS[kind]]) {
          await this.#switchOff(kind);
        }
      });
    }
  }

  async #switchOn(kind) {
    const track = this.devices[kind].value ?? (await this.devices.open(kind));
    try {
      if (track === null) {
        this.#explain(kind);
        await this.#switchOff(kind);
      } else {
        await this.room.setMedia({ [FLAGS[kind]]: true });
        this.#publish(kind);
      }
    } catch (error) {
      if (kind === "video") {
        this.devices.close(kind);
      }
      throw error;
    }
  }

  async #switchOff(kind) {
    this.#silence(kind);
    if (this.room.me?.[FLAGS[kind]] ?? true) {
      await this.room.setMedia({ [FLAGS[kind]]: false });
    }
  }

  // A camera is released. A microphone is kept, silent, so that somebody who wants to speak need not wait for it.
  #silence(kind) {
    if (kind === "video") {
      this.devices.close(kind);
      this.#mesh.setTrack(kind, null);
    } else if (this.devices.audio.value !== null) {
      this.devices.audio.value.enabled = false;
    }
  }

  #publish(kind) {
    const track = this.devices[kind].value;
    if (track !== null) {
      track.enabled = true;
    }
    this.#mesh.setTrack(kind, track);
    this.#touch();
  }

  #lost(kind) {
    this.#mesh.setTrack(kind, null);
    if (this.room.me?.[FLAGS[kind]]) {
      notify(t(`devices.lost.${kind}`), "warn");
      this.#during(kind, () => this.#switchOff(kind));
    }
  }

  #explain(kind) {
    notify(t(`devices.${this.devices.problems.value[kind] ?? "failed"}.${kind}`), "warn");
  }

  // Does something with the server, one of a kind at a time, and says what failed.
  async #during(name, action) {
    if (this.pending.value[name] || this.ended.value !== null) {
      return;
    }
    this.pending.value = { ...this.pending.value, [name]: true };
    try {
      await action();
    } catch (error) {
      if (this.ended.value === null) {
        notify(errorWords(error), "warn");
      }
    } finally {
      this.pending.value = { ...this.pending.value, [name]: false };
      this.#follow();
    }
  }

  // Brings media and devices in step with what the events say.
  #follow() {
    if (this.ended.value !== null) {
      return;
    }
    const { me, participants } = this.room;
    const others = [...participants.values()].filter(({ userId }) => userId !== this.userId);
    const idsWith = (presence) => others.filter((other) => other.presence === presence).map((other) => other.userId);
    this.#mesh.setPeers(idsWith("present"), idsWith("away"));
    for (const kind of ["audio", "video"]) {
      if (me?.[FLAGS[kind]] === false && !this.pending.value[kind]) {
        this.#silence(kind);
      }
    }
    this.#touch();
  }

  #touch() {
    this.version.value += 1;
  }

  // Says what others did.
  #tell({ type, data, actor }) {
    const isMine = data.userId === this.userId;
    if (type === "participant_left" && isMine && data.reason === "removed") {
      this.#removal = data.message;
    } else if (type === "mic_changed" && isMine && !data.micEnabled && actor.userId !== this.userId) {
      notify(t("live.muted"), "warn");
    } else if (type === "session_started") {
      notify(t("live.started"), "good");
    } else if (type === "participant_joined" && !isMine) {
      notify(t("live.joined", { name: data.userId }));
    } else if (type === "participant_left" && !isMine && data.reason !== "session_ended") {
      notify(t("live.hasLeft", { name: data.userId }));
    }
  }

  #listen() {
    const speaking = new Set();
    for (const [userId, level] of this.#mesh.levels()) {
      if (level > SPEAKING && this.room.participants.get(userId)?.micEnabled) {
        speaking.add(userId);
      }
    }
    const before = this.speaking.value;
    if (speaking.size !== before.size || [...speaking].some((userId) => !before.has(userId))) {
      this.speaking.value = speaking;
    }
  }

  #end(code, message) {
    if (this.ended.value !== null) {
      return;
    }
    const said = code === "removed" ? this.#removal : message;
    this.#release();
    this.phase.value = "closed";
    this.ended.value = { code, message: said, endReason: this.room.session?.endReason };
  }

  #release() {
    clearInterval(this.#listening);
    this.#mesh?.close();
    this.devices.onLost = () => {};
    this.devices.closeAll();
  }
}
