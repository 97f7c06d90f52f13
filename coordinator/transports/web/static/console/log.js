// A session's log as this page has it: one stretch without a gap, growing at its end and, when asked, at its beginning.
//
// Events come from the connection as they happen; whatever lies before or between is read over HTTP.

import { signal } from "/static/vendor/preact.js";

const PAGE = 200;

export class Log {
  #api;
  #path;
  #early = new Map();
  #goal = 0;
  #filling = null;

  constructor(api, sessionId) {
    this.#api = api;
    this.#path = `/sessions/${sessionId}/events`;
    this.events = signal([]); // in the order of seq
    this.first = 1; // the seq with which the stretch begins
    this.last = 0;
    this.problem = signal(null);
    this.isLoading = signal(true);
  }

  // Begins with the newest page before `seq`, and with that.
  async open(seq) {
    this.last = Math.max(0, seq - PAGE);
    this.first = this.last + 1;
    await this.reach(seq);
  }

  // Takes an event, whenever it comes.
  add(event) {
    if (event.seq > this.last) {
      this.#early.set(event.seq, event);
      this.#drain();
      if (this.#early.size > 0) {
        this.reach(event.seq);
      }
    }
  }

  // Reads what is missing up to `seq`. May be called again whenever it has failed.
  async reach(seq = this.#goal) {
    this.#goal = Math.max(this.#goal, seq);
    this.#filling ??= this.#fill();
    await this.#filling;
  }

  async earlier() {
    const after = Math.max(0, this.first - 1 - PAGE);
    const { items } = await this.#read(after, this.first - 1 - after);
    // Whoever asked twice gets it once.
    const before = items.filter((event) => event.seq < this.first);
    if (before.length > 0) {
      this.first = before[0].seq;
      this.events.value = [...before, ...this.events.value];
    }
  }

  async #fill() {
    this.isLoading.value = true;
    this.problem.value = null;
    try {
      while (this.last < this.#goal) {
        const { items } = await this.#read(this.last, PAGE);
        if (items.length === 0) {
          break;
        }
        items.forEach((event) => event.seq > this.last && this.#early.set(event.seq, event));
        this.#drain();
      }
    } catch (error) {
      this.problem.value = error;
    } finally {
      this.#filling = null;
      this.isLoading.value = false;
    }
  }

  #read(after, limit) {
    return this.#api.get(this.#path, { after, limit });
  }

  #drain() {
    const next = [];
    for (let event; (event = this.#early.get(this.last + 1)); this.last += 1) {
      this.#early.delete(event.seq);
      next.push(event);
    }
    for (const seq of this.#early.keys()) {
      if (seq <= this.last) {
        this.#early.delete(seq);
      }
    }
    if (next.length > 0) {
      this.events.value = [...this.events.value, ...next];
    }
  }
}
