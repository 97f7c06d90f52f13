// Everybody who is, or was, in a session: presence, camera, microphone, consent; muting and removing.

import { html, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { timeWords } from "/static/shared/time.js";
import { Avatar, Button, Icon, notify, State } from "/static/shared/ui.js";

const ORDER = { present: 0, away: 1, left: 2, absent: 2 };

export function People({ desk, session, sessionId, people, onRemove }) {
  const sorted = [...people].sort((one, other) => ORDER[one.presence] - ORDER[other.presence]);
  return html`<section class="card stack" aria-labelledby="people-title">
    <h2 id="people-title">${t("people.title")} <span class="muted numbers">(${people.length})</span></h2>
    ${people.length === 0 && html`<p class="muted">${t("rooms.nobody")}</p>`}
    <ul class="people">
      ${sorted.map(
        (person) => html`<${Person} key=${person.userId} desk=${desk} sessionId=${sessionId} person=${person}
          isLive=${session.status !== "ended"} onRemove=${onRemove} />`,
      )}
    </ul>
  </section>`;
}

function Person({ desk, sessionId, person, isLive, onRemove }) {
  const [isBusy, setBusy] = useState(false);
  const { userId, presence, cameraEnabled, micEnabled, recordingConsent, mayBeRecorded } = person;
  const isSeated = isLive && (presence === "present" || presence === "away");
  const mute = async () => {
    setBusy(true);
    try {
      await desk.mute(sessionId, userId);
    } catch (error) {
      notify(errorWords(error), "alarm");
    }
    setBusy(false);
  };
  return html`<li class="person ${isSeated ? "" : "is-out"}" data-user=${userId}>
    <${Avatar} name=${userId} />
    <div class="person-what">
      <p><strong>${userId}</strong> <span class="muted small">${isLive ? presenceWords(person) : ""}</span></p>
      <p class="row small">
        ${isSeated && html`
          <${State} icon=${cameraEnabled ? "camera" : "cameraOff"}
            words=${t(cameraEnabled ? "camera.on" : "camera.off")} />
          <${State} icon=${micEnabled ? "microphone" : "microphoneOff"} words=${t(micEnabled ? "mic.on" : "mic.off")} />
        `}
        <span class="badge ${recordingConsent ? "good" : ""}">
          ${t(recordingConsent ? "consent.yes" : "consent.no")}</span>
        ${mayBeRecorded && html`<span class="badge alarm">
          <${Icon} name="record" size="14" />${t("consent.now")}</span>`}
      </p>
    </div>
    ${isSeated &&
    html`<div class="person-actions">
      <${Button} className="small" busy=${isBusy || !micEnabled} onClick=${mute}>
        <${Icon} name="microphoneOff" size="18" />${t("mute.button")}
        <span class="visually-hidden">: ${userId}</span><//>
      <${Button} className="small" onClick=${() => onRemove(userId)}>
        ${t("remove.button")}<span class="visually-hidden">: ${userId}</span><//>
    </div>`}
  </li>`;
}

function presenceWords({ presence, reconnectBy }) {
  return presence === "away" && reconnectBy !== undefined
    ? t("presence.awayUntil", { time: timeWords(reconnectBy) })
    : t(`presence.${presence}`);
}
