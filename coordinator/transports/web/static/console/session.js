// One session: who is in it, what happens, and what steers it. Live ones are watched, ended ones are read.

import { html, signal, useEffect, useMemo, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { dateTimeWords, rangeWords, sessionWords, useNow } from "/static/shared/time.js";
import { Banner, Button, Heading, Icon, notify } from "/static/shared/ui.js";
import { Attendance } from "./attendance.js";
import { ConfirmEnd, ConfirmRemoval } from "./confirm.js";
import { countdown, RecordingBadge, StatusBadge } from "./labels.js";
import { Log } from "./log.js";
import { People } from "./people.js";
import { Timeline } from "./timeline.js";

const CLOCK_MS = 1_000;
const NOT_LIVE = new Set(["session_ended", "not_found"]);

// What is known of one session, as signals.
class View {
  #desk;
  #sessionId;
  #watched = null;
  #isOver = false;

  constructor(desk, sessionId) {
    this.#desk = desk;
    this.#sessionId = sessionId;
    this.log = new Log(desk.api, sessionId);
    this.session = signal(null);
    this.participants = signal([]);
    this.problem = signal(null);
  }

  async open() {
    try {
      await this.#watch();
    } catch (error) {
      if (NOT_LIVE.has(error.code)) {
        await this.#read();
      } else if (error.code !== "closed") {
        this.problem.value = error;
      }
    }
  }

  close() {
    this.#isOver = true;
    this.#watched?.unwatch();
  }

  async #watch() {
    const watched = await this.#desk.watch(this.#sessionId);
    if (this.#isOver) {
      watched.unwatch();
      return;
    }
    this.#watched = watched;
    const draw = () => {
      this.session.value = watched.session;
      this.participants.value = [...watched.participants.values()];
    };
    watched.on("change", draw);
    watched.on("event", (event) => this.log.add(event));
    watched.on("snapshot", () => this.log.reach(watched.seq));
    draw();
    await this.log.open(watched.seq);
  }

  async #read() {
    try {
      const { api } = this.#desk;
      const [session, { items }] = await Promise.all([
        api.get(`/sessions/${this.#sessionId}`),
        api.get(`/sessions/${this.#sessionId}/participants`),
      ]);
      this.session.value = session;
      this.participants.value = items.map((item) => ({ ...item, presence: "left", mayBeRecorded: false }));
      await this.log.open(session.seq);
    } catch (error) {
      this.problem.value = error;
    }
  }
}

export function Session({ desk, sessionId }) {
  const view = useMemo(() => new View(desk, sessionId), []);
  const [dialog, setDialog] = useState(null); // {kind: "end"}, {kind: "remove", userId}, or null
  useEffect(() => {
    view.open();
    return () => view.close();
  }, [view]);
  const session = view.session.value;
  const close = () => setDialog(null);
  const people = view.participants.value;
  return html`<main class="page" id="main" tabindex="-1">
    <a class="back" href=${session?.status === "ended" ? "#/history" : "#/"}>
      <${Icon} name="back" size="18" />${t(session?.status === "ended" ? "history.title" : "rooms.title")}</a>
    ${view.problem.value && html`<${Banner} tone="alarm">${errorWords(view.problem.value)}<//>`}
    ${session === null && !view.problem.value && html`<p class="muted" role="status">${t("loading")}</p>`}
    ${session !== null &&
    html`
      <${Head} desk=${desk} session=${session} sessionId=${sessionId} onEnd=${() => setDialog({ kind: "end" })} />
      <div class="session-body">
        <div class="session-people">
          <${People} desk=${desk} session=${session} sessionId=${sessionId} people=${people}
            onRemove=${(userId) => setDialog({ kind: "remove", userId })} />
          ${session.status === "ended" && html`<${Attendance} api=${desk.api} timeSlotId=${session.timeSlotId} />`}
        </div>
        <${Timeline} log=${view.log} />
      </div>
      <${Recordings} session=${session} />
    `}
    ${dialog?.kind === "end" &&
    html`<${ConfirmEnd} desk=${desk} sessionId=${sessionId} onClose=${close}
      present=${people.filter(({ presence }) => presence === "present").length} />`}
    ${dialog?.kind === "remove" &&
    html`<${ConfirmRemoval} desk=${desk} sessionId=${sessionId} userId=${dialog.userId} onClose=${close} />`}
  </main>`;
}

function Recordings({ session }) {
  const recordings = session.recordings ?? [];
  return (
    recordings.length > 0 &&
    html`<section class="card stack" aria-labelledby="recordings-title">
      <h2 id="recordings-title">${t("history.recordings", { count: recordings.length })}</h2>
      <ul class="people">
        ${recordings.map(
          ({ userId, url, startTime }) => html`<li key=${url} class="row">
            <strong>${userId}</strong> <span class="muted numbers">${dateTimeWords(startTime)}</span>
            <a href=${url} rel="noreferrer" target="_blank">${url}</a>
          </li>`,
        )}
      </ul>
    </section>`
  );
}

function Head({ desk, session, sessionId, onEnd }) {
  const now = useNow(CLOCK_MS, () => desk.now());
  const [isBusy, setBusy] = useState(false);
  const isLive = session.status !== "ended";
  const { value, label } = countdown(session, now);
  const switchRecording = async () => {
    setBusy(true);
    try {
      await desk.setRecording(sessionId, !session.recordingEnabled);
    } catch (error) {
      notify(errorWords(error), "alarm");
    }
    setBusy(false);
  };
  return html`<section class="card session-head">
    <div>
      <${Heading}>${sessionWords(session)}<//>
      <p class="row"><${StatusBadge} session=${session} /><${RecordingBadge} session=${session} />
        <span class="muted numbers">${rangeWords(session.scheduledStart, session.scheduledEnd)}</span></p>
      ${!isLive && html`<p class="muted small">${t("session.endedAt", { time: dateTimeWords(session.endedAt) })}</p>`}
    </div>
    ${isLive &&
    html`
      <p class="session-clock">${value && html`<span class="clock numbers">${value}</span>`}
        <span class="muted">${label}</span></p>
      <div class="row session-actions">
        <${Button} busy=${isBusy} onClick=${switchRecording}
          aria-pressed=${session.recordingEnabled ? "true" : "false"}>
          <${Icon} name="record" />${t(session.recordingEnabled ? "recording.turnOff" : "recording.turnOn")}<//>
        <${Button} className="danger" onClick=${onEnd}><${Icon} name="end" />${t("end.button")}<//>
      </div>
    `}
  </section>`;
}
