// Who is in the room, in words: what the pictures show, for everybody who does not see them.

import { html } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { timeWords } from "/static/shared/time.js";
import { Avatar, Icon, State } from "/static/shared/ui.js";
import { Panel } from "./panel.js";

const ORDER = { present: 0, away: 1, left: 2, absent: 2 };

export function People({ visit, onClose }) {
  visit.version.value;
  const { participants } = visit.room;
  const people = [...participants.values()].sort((one, other) => ORDER[one.presence] - ORDER[other.presence]);
  return html`<${Panel} title=${t("people.title")} onClose=${onClose}>
    <ul class="people">
      ${people.map(
        (person) => html`<${Person} key=${person.userId} person=${person} isMe=${person.userId === visit.userId} />`,
      )}
    </ul>
  <//>`;
}

function Person({ person, isMe }) {
  const { userId, presence, cameraEnabled, micEnabled, recordingConsent, mayBeRecorded } = person;
  const isHere = presence === "present";
  return html`<li class="person ${isHere ? "" : "is-out"}">
    <${Avatar} name=${userId} />
    <div>
      <p><strong>${userId}</strong>${isMe && html` <span class="muted">(${t("you")})</span>`}</p>
      <p class="small muted">${presenceWords(person)}</p>
      ${(isHere || presence === "away") &&
      html`<p class="row small">
        <${State} icon=${cameraEnabled ? "camera" : "cameraOff"}
          words=${t(cameraEnabled ? "people.camera" : "people.noCamera")} />
        <${State} icon=${micEnabled ? "microphone" : "microphoneOff"}
          words=${t(micEnabled ? "people.mic" : "people.noMic")} />
        ${recordingConsent && html`<${State} icon="check" words=${t("people.consents")} />`}
        ${mayBeRecorded && html`<span class="badge alarm">
          <${Icon} name="record" size="14" />${t("people.recorded")}</span>`}
      </p>`}
    </div>
  </li>`;
}

function presenceWords({ presence, reconnectBy }) {
  return presence === "away" && reconnectBy !== undefined
    ? t("people.awayUntil", { time: timeWords(reconnectBy) })
    : t(`people.${presence}`);
}
