// Switches and choices for camera and microphone, for the lobby and the room alike.

import { html, useEffect, useState } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { Button, Choice, Icon } from "/static/shared/ui.js";
import { listen } from "./level.js";

const BARS = 8;
const ICONS = { audio: ["microphone", "microphoneOff"], video: ["camera", "cameraOff"] };

// A button that says what it switches, and by its state whether it is on.
export function Switch({ kind, isOn, busy, onClick }) {
  const [on, off] = ICONS[kind];
  return html`<${Button} className="switch ${isOn ? "is-on" : ""}" busy=${busy} onClick=${onClick}
    aria-pressed=${isOn ? "true" : "false"} title=${t(`devices.${isOn ? "off" : "on"}.${kind}`)}>
    <${Icon} name=${isOn ? on : off} size="24" /><span class="switch-text">${t(`devices.${kind}`)}</span>
  <//>`;
}

export function DeviceChoice({ devices, kind, onChoose }) {
  const choices = devices.choices.value[kind];
  return (
    choices.length > 0 &&
    html`<${Choice} label=${t(`devices.${kind}`)} value=${devices.chosen(kind)}
      options=${choices.map(({ id, label }) => [id, label])} onChange=${(id) => onChoose(kind, id)} />`
  );
}

// For eyes only: it changes too often to be told.
export function LevelMeter({ track }) {
  const [level, setLevel] = useState(0);
  useEffect(() => listen(track, setLevel), [track]);
  const lit = Math.round(level * BARS);
  return html`<span class="level" aria-hidden="true" title=${t("devices.level")}>
    ${Array.from({ length: BARS }, (_, bar) => html`<i key=${bar} class=${bar < lit ? "is-lit" : ""}></i>`)}
  </span>`;
}
