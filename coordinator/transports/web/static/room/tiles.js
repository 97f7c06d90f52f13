// The pictures: one tile for everybody who holds a seat, in a grid that fits their number.

import { html, useMemo } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { Avatar, Icon } from "/static/shared/ui.js";
import { Video } from "./video.js";

export function Tiles({ visit }) {
  visit.version.value;
  const seated = [...visit.room.participants.values()].filter(
    ({ userId, presence }) => userId !== visit.userId && (presence === "present" || presence === "away"),
  );
  const { me } = visit.room;
  const count = seated.length + (me ? 1 : 0);
  return html`<ul class="tiles tiles-${Math.min(count, 9)}" aria-label=${t("people.title")}>
    ${me && html`<${OwnTile} key=${me.userId} visit=${visit} me=${me} />`}
    ${seated.map((person) => html`<${Tile} key=${person.userId} visit=${visit} person=${person} />`)}
    ${seated.length === 0 && html`<li class="tile tile-alone"><p class="muted">${t("live.alone")}</p></li>`}
  </ul>`;
}

function OwnTile({ visit, me }) {
  const track = visit.devices.video.value;
  const stream = useMemo(() => track && new MediaStream([track]), [track]);
  return html`<${Frame} person=${me} isSpeaking=${false} note=${t("you")}>
    ${me.cameraEnabled && stream
      ? html`<${Video} stream=${stream} isMuted isMirrored />`
      : html`<${Avatar} name=${me.userId} />`}
  <//>`;
}

function Tile({ visit, person }) {
  visit.version.value;
  const { userId, presence, cameraEnabled } = person;
  const stream = visit.streamOf(userId);
  const isAway = presence === "away";
  const isConnected = visit.isConnectedTo(userId);
  const note = isAway ? t("people.away") : !isConnected && t("live.connecting");
  // Without a picture the element stays, hidden: it carries the sound.
  return html`<${Frame} person=${person} isSpeaking=${visit.speaking.value.has(userId)} note=${note}>
    ${stream && html`<${Video} stream=${stream} isHidden=${!cameraEnabled} onBlocked=${() => visit.blockSound()}
      isMuted=${visit.isSoundBlocked.value} />`}
    ${!(cameraEnabled && stream) && html`<${Avatar} name=${userId} />`}
  <//>`;
}

function Frame({ person, isSpeaking, note, children }) {
  const { userId, micEnabled, cameraEnabled, mayBeRecorded, presence } = person;
  const words = [
    t(cameraEnabled ? "people.camera" : "people.noCamera"),
    t(micEnabled ? "people.mic" : "people.noMic"),
    mayBeRecorded && t("people.recorded"),
  ].filter(Boolean);
  return html`<li class="tile ${isSpeaking ? "is-speaking" : ""} ${presence === "away" ? "is-away" : ""}"
    data-user=${userId}>
    ${children}
    <p class="tile-name">
      <${Icon} name=${micEnabled ? "microphone" : "microphoneOff"} size="16" />
      <span class="tile-user">${userId}</span>
      ${note && html`<span class="tile-note">${note}</span>`}
      <span class="visually-hidden">: ${words.join(", ")}</span>
      ${mayBeRecorded && html`<span class="tile-recorded" aria-hidden="true"></span>`}
    </p>
  </li>`;
}
