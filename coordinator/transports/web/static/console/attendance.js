// Who of those that had registered took part in a session that is over: what the server has recorded, not a guess.

import { html, signal, useEffect, useMemo } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { Avatar, Banner } from "/static/shared/ui.js";

const PAGE = 200;
const AGAIN_MS = 1_000;

// Attendance is recorded a moment after the end; until then registrations are what they were before.
class Register {
  #api;
  #timeSlotId;
  #timer;
  #isOver = false;

  constructor(api, timeSlotId) {
    this.#api = api;
    this.#timeSlotId = timeSlotId;
    this.registrations = signal(null); // null until all of them are settled
    this.problem = signal(null);
  }

  async open() {
    try {
      const found = (await this.#read()).filter(({ status }) => status !== "cancelled");
      if (this.#isOver) {
        return;
      }
      this.problem.value = null;
      if (found.some(({ status }) => status === "registered")) {
        this.#timer = setTimeout(() => this.open(), AGAIN_MS);
      } else {
        this.registrations.value = found;
      }
    } catch (error) {
      this.problem.value = error;
    }
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async #read() {
    const all = [];
    let cursor;
    do {
      const page = await this.#api.get(`/time-slots/${this.#timeSlotId}/registrations`, { limit: PAGE, cursor });
      all.push(...page.items);
      cursor = page.next;
    } while (cursor !== undefined);
    return all;
  }
}

export function Attendance({ api, timeSlotId }) {
  const register = useMemo(() => new Register(api, timeSlotId), [timeSlotId]);
  useEffect(() => {
    register.open();
    return () => register.close();
  }, [register]);
  const registrations = register.registrations.value;
  const attended = registrations?.filter(({ status }) => status === "attended") ?? [];
  const missing = registrations?.filter(({ status }) => status === "noshow") ?? [];
  return html`<section class="card stack" aria-labelledby="attendance-title">
    <h2 id="attendance-title">${t("attendance.title")}</h2>
    ${register.problem.value && html`<${Banner} tone="alarm">${errorWords(register.problem.value)}<//>`}
    ${registrations === null && !register.problem.value && html`<p class="muted" role="status">${t("loading")}</p>`}
    ${registrations && html`<p class="muted">
      ${t("attendance.count", { count: registrations.length, attended: attended.length })}
    </p>`}
    <ul class="people">
      ${[...attended, ...missing].map(
        ({ userId, status }) => html`<li key=${userId} class="person">
          <${Avatar} name=${userId} />
          <p class="person-what"><strong>${userId}</strong></p>
          <span class="badge ${status === "attended" ? "good" : "warn"}">${t(`attendance.${status}`)}</span>
        </li>`,
      )}
    </ul>
  </section>`;
}
