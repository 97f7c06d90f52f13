// The own camera and microphone: opening and releasing them, which ones, and why one cannot be had.
//
// A device is in use only while its track is here: a camera that is switched off is released, and its light goes out.

import { signal } from "/static/vendor/preact.js";

const STORAGE_KEY = "coordinator.devices";
const CONSTRAINTS = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 24 }, facingMode: "user" },
};
const PROBLEMS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

export class Devices {
  #chosen = remembered();
  #opening = { audio: 0, video: 0 };
  #onChange = () => this.#list();

  constructor() {
    this.audio = signal(null); // the open track, or null
    this.video = signal(null);
    this.problems = signal({}); // {audio, video}: "denied", "missing", "busy", "insecure" or "failed"
    this.choices = signal({ audio: [], video: [] }); // [{id, label}]
    this.onLost = () => {}; // called with the kind of a device that went away by itself
    navigator.mediaDevices?.addEventListener("devicechange", this.#onChange);
  }

  // Opens a device, which may ask the user. Returns its track, or null; `problems` then says why.
  async open(kind) {
    const turn = ++this.#opening[kind];
    this.#report(kind, undefined);
    let track;
    try {
      track = await this.#get(kind);
    } catch (error) {
      this.#report(kind, PROBLEMS[error.name] ?? (navigator.mediaDevices ? "failed" : "insecure"));
      return null;
    }
    if (turn !== this.#opening[kind]) {
      track.stop(); // switched off, or opened again, while the user was asked
      return null;
    }
    this[kind].value?.stop();
    this[kind].value = track;
    track.addEventListener("ended", () => this.#lost(kind, track));
    await this.#list();
    return track;
  }

  // Releases a device.
  close(kind) {
    this.#opening[kind] += 1;
    this[kind].value?.stop();
    this[kind].value = null;
  }

  closeAll() {
    this.close("audio");
    this.close("video");
    this.#report("audio", undefined);
    this.#report("video", undefined);
  }

  // The id of the device that is used, or will be.
  chosen(kind) {
    return this[kind].value?.getSettings().deviceId ?? this.#chosen[kind] ?? "";
  }

  // Uses this device from now on. Returns its track if it was opened.
  async choose(kind, id) {
    this.#chosen[kind] = id;
    remember(this.#chosen);
    return this[kind].value === null ? null : this.open(kind);
  }

  async #get(kind) {
    const constraints = { ...CONSTRAINTS[kind] };
    if (this.#chosen[kind]) {
      // A wish: a device that is no longer there must not keep another from being used.
      constraints.deviceId = { ideal: this.#chosen[kind] };
    }
    const stream = await navigator.mediaDevices.getUserMedia({ [kind]: constraints });
    return stream.getTracks()[0];
  }

  #lost(kind, track) {
    if (this[kind].value === track) {
      this.close(kind);
      this.#report(kind, "missing");
      this.onLost(kind);
    }
  }

  #report(kind, problem) {
    this.problems.value = { ...this.problems.value, [kind]: problem };
  }

  // Browsers tell names only once something has been allowed.
  async #list() {
    const found = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    const named = (kind) =>
      found
        .filter((device) => device.kind === kind && device.deviceId && device.label)
        .map((device) => ({ id: device.deviceId, label: device.label }));
    this.choices.value = { audio: named("audioinput"), video: named("videoinput") };
  }
}

function remembered() {
  try {
    return { ...JSON.parse(localStorage.getItem(STORAGE_KEY)) };
  } catch {
    return {};
  }
}

function remember(chosen) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(chosen));
  } catch {
    // The browser forbids the storage: next time the system's own choice is used.
  }
}
