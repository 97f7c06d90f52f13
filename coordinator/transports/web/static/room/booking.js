// What can be booked and what is booked: read from the HTTP API, and read again while somebody looks at it.

import { signal } from "/static/vendor/preact.js";

const PAGE = 50;
const MOST = 200;
const POLL_MS = 5_000;

export class Booking {
  #api;
  #identity;
  #timer;
  #reading = 0;
  #shown = PAGE;
  #onVisible = () => document.visibilityState === "visible" && this.load();

  constructor({ api, identity }) {
    this.#api = api;
    this.#identity = identity;
    this.filter = signal({ targetLanguageCode: "", level: "" });
    this.slots = signal(null); // null until they are known
    this.hasMore = signal(false);
    this.booked = signal(new Set()); // ids of slots
    this.ended = signal(new Set()); // ids of booked slots whose session has ended before its time
    this.problem = signal(null); // why the last reading failed
    this.busy = signal(new Set()); // ids of slots that something is being done with
  }

  start() {
    this.load();
    this.#timer = setInterval(this.#onVisible, POLL_MS);
    document.addEventListener("visibilitychange", this.#onVisible);
  }

  stop() {
    this.#reading += 1;
    clearInterval(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisible);
  }

  setFilter(changes) {
    this.filter.value = { ...this.filter.value, ...changes };
    return this.load();
  }

  showMore() {
    this.#shown = Math.min(MOST, this.#shown + PAGE);
    return this.load();
  }

  async load() {
    const reading = ++this.#reading;
    try {
      const registrations = `/users/${encodeURIComponent(this.#identity.userId)}/registrations`;
      const [slots, bookings] = await Promise.all([
        this.#api.get("/time-slots", { ...this.filter.value, isActive: true, limit: this.#shown }),
        this.#api.get(registrations, { status: "registered", limit: MOST }),
      ]);
      const booked = new Set(bookings.items.map((booking) => booking.timeSlotId));
      const ended = await this.#endedOf(slots.items.filter((slot) => slot.sessionId && booked.has(slot.id)));
      if (reading === this.#reading) {
        const now = Date.now();
        this.slots.value = slots.items.filter((slot) => endOf(slot) > now);
        this.hasMore.value = slots.next !== undefined && this.#shown < MOST;
        this.booked.value = booked;
        this.ended.value = ended;
        this.problem.value = null;
      }
    } catch (error) {
      if (reading === this.#reading) {
        this.problem.value = error;
        if (error.code === "unauthenticated") {
          this.#identity.expire();
        }
      }
    }
  }

  book(slot) {
    return this.#during(slot, () => this.#api.post(`/time-slots/${slot.id}/registrations`, {}));
  }

  cancel(slot) {
    const userId = encodeURIComponent(this.#identity.userId);
    return this.#during(slot, () => this.#api.delete(`/time-slots/${slot.id}/registrations/${userId}`));
  }

  async #endedOf(slots) {
    const sessions = await Promise.all(slots.map((slot) => this.#api.get(`/sessions/${slot.sessionId}`)));
    return new Set(sessions.filter(({ status }) => status === "ended").map((session) => session.timeSlotId));
  }

  async #during(slot, action) {
    this.busy.value = new Set([...this.busy.value, slot.id]);
    try {
      await action();
    } finally {
      await this.load();
      this.busy.value = new Set([...this.busy.value].filter((id) => id !== slot.id));
    }
  }
}

export function endOf(slot) {
  return Date.parse(slot.startTime) + slot.durationMinutes * 60_000;
}
