// Small parts that several views have: the state of a session, and times that run.

import { html } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { clockWords } from "/static/shared/time.js";
import { Icon } from "/static/shared/ui.js";
import { reasonWords } from "./sentences.js";

export function StatusBadge({ session }) {
  const { status, endReason } = session;
  if (status === "ended") {
    return html`<span class="badge">${reasonWords("end", endReason)}</span>`;
  }
  return html`<span class="badge ${status === "active" ? "good" : "accent"}">
    ${status === "active" && html`<span class="dot"></span>`}${t(`status.${status}`)}</span>`;
}

export function RecordingBadge({ session }) {
  return (
    session.recordingEnabled &&
    session.status !== "ended" &&
    html`<span class="badge alarm"><${Icon} name="record" size="14" />${t("recording.on")}</span>`
  );
}

// What the clock of a session counts: {value, label}; a value only where something is counted.
export function countdown(session, now) {
  if (session.status === "active") {
    return { value: clockWords(Date.parse(session.scheduledEnd) - now), label: t("time.left") };
  }
  const untilStart = Date.parse(session.scheduledStart) - now;
  return untilStart > 0
    ? { value: clockWords(untilStart), label: t("time.toStart") }
    : { value: "", label: t("time.waiting") };
}

// How much of a running session is over, from 0 to 1.
export function partOver({ status, scheduledStart, scheduledEnd }, now) {
  const [start, end] = [Date.parse(scheduledStart), Date.parse(scheduledEnd)];
  return status === "active" ? Math.min(1, Math.max(0, (now - start) / (end - start))) : 0;
}

// An icon with a number or a word; `label` says it in full, to screen readers and under the pointer.
export function Fact({ icon, label, tone = "", children }) {
  return html`<li class="fact ${tone}" title=${label}>
    <${Icon} name=${icon} size="18" /><span aria-hidden="true">${children}</span>
    <span class="visually-hidden">${label}</span>
  </li>`;
}
