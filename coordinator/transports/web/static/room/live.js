// The room while one is in it: who is there, what they show, what one has switched on, and how long it lasts.

import { html, useState } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { clockWords, listWords, sessionWords, useNow } from "/static/shared/time.js";
import { Banner, Button, Heading, Icon, LanguageSwitch } from "/static/shared/ui.js";
import { ConsentDialog } from "./consent.js";
import { DeviceChoice, Switch } from "./device-controls.js";
import { Panel } from "./panel.js";
import { People } from "./people.js";
import { Tiles } from "./tiles.js";

const CLOCK_MS = 1_000;
const LAST_MINUTES_MS = 5 * 60_000;

export function Live({ visit }) {
  // Read, so that this is drawn again whenever anything has changed.
  visit.version.value;
  const [panel, setPanel] = useState(null); // "people", "settings", or null
  const [isAsking, setAsking] = useState(false);
  const { session, me } = visit.room;
  const toggle = (name) => setPanel(panel === name ? null : name);
  if (session === null) {
    return html`<main id="main" class="page" tabindex="-1">
      <${Heading}>${t("live.joining")}<//>
      <p class="muted" role="status">${t(visit.phase.value === "joining" ? "loading" : "live.reconnecting")}</p>
      <p><${Button} onClick=${() => visit.leave()}>${t("cancel")}<//></p>
    </main>`;
  }
  return html`<div class="live">
    <header class="live-bar">
      <${Heading} className="live-title">${sessionWords(session)}<//>
      <${TimeLeft} visit=${visit} session=${session} />
      <div class="topbar-end"><${LanguageSwitch} /></div>
    </header>
    <${Signs} visit=${visit} session=${session} me=${me} onAsk=${() => setAsking(true)} />
    <main id="main" class="live-main ${panel ? "has-panel" : ""}" tabindex="-1">
      <${Tiles} visit=${visit} />
      ${panel === "people" && html`<${People} visit=${visit} onClose=${() => setPanel(null)} />`}
      ${panel === "settings" && html`<${Settings} visit=${visit} onClose=${() => setPanel(null)} />`}
    </main>
    <${Controls} visit=${visit} me=${me} panel=${panel} onPanel=${toggle} onAsk=${() => setAsking(true)} />
    ${isAsking && html`<${ConsentDialog} visit=${visit} onClose=${() => setAsking(false)} />`}
  </div>`;
}

function TimeLeft({ visit, session }) {
  const now = useNow(CLOCK_MS, () => visit.room.serverNow());
  const start = Date.parse(session.scheduledStart);
  const end = Date.parse(session.scheduledEnd);
  if (session.status === "active") {
    const isShort = end - now < LAST_MINUTES_MS;
    return html`<p class="badge ${isShort ? "warn" : "good"} numbers"><${Icon} name="clock" size="14" />
      ${t("live.left", { time: clockWords(end - now) })}</p>`;
  }
  const words = now < start ? t("live.startsIn", { time: clockWords(start - now) }) : t("live.waiting");
  return html`<p class="badge accent numbers"><${Icon} name="clock" size="14" />${words}</p>`;
}

// What nobody must miss: a lost connection, and whether one may be recorded.
function Signs({ visit, session, me, onAsk }) {
  const isBusy = visit.pending.value.consent;
  const revoke = html`<${Button} className="small" busy=${isBusy} onClick=${() => visit.setConsent(false)}>
    ${t("consent.revoke")}<//>`;
  return html`<div class="signs">
    ${visit.phase.value === "reconnecting" &&
    html`<${Banner} tone="warn" icon="reconnect">
      ${t(visit.isDraining.value ? "live.restarting" : "live.reconnecting")}<//>`}
    ${visit.isSoundBlocked.value &&
    html`<${Banner} tone="info" icon="soundOff" actions=${html`<${Button} className="small"
      onClick=${() => visit.unblockSound()}>${t("live.soundOn")}<//>`}>${t("live.soundBlocked")}<//>`}
    ${me?.mayBeRecorded &&
    html`<div class="sign is-recorded" role="status">
      <span class="sign-dot" aria-hidden="true"></span><strong>${t("consent.mayBeRecorded")}</strong>
      <span class="sign-end">${revoke}</span>
    </div>`}
    ${!me?.mayBeRecorded && me?.recordingConsent &&
    html`<div class="sign" role="status">
      <span>${t("consent.grantedIdle")}</span><span class="sign-end">${revoke}</span>
    </div>`}
    ${!me?.recordingConsent && session.recordingEnabled && session.status === "active" &&
    html`<div class="sign" role="status">
      <span>${t("consent.recordingOn")}</span>
      <span class="sign-end"><${Button} className="small" onClick=${onAsk}>${t("consent.decide")}<//></span>
    </div>`}
    <${Recorded} visit=${visit} />
  </div>`;
}

// Who else may be recorded at this moment.
function Recorded({ visit }) {
  visit.version.value;
  const others = [...visit.room.participants.values()].filter(
    ({ userId, mayBeRecorded }) => mayBeRecorded && userId !== visit.userId,
  );
  const names = listWords(others.map(({ userId }) => userId));
  return others.length > 0 && html`<p class="small muted">${t("consent.others", { names, count: others.length })}</p>`;
}

function Controls({ visit, me, panel, onPanel, onAsk }) {
  visit.version.value;
  const { audio, video, consent } = visit.pending.value;
  const isLost = visit.phase.value !== "joined";
  const consents = me?.recordingConsent ?? false;
  const present = [...visit.room.participants.values()].filter(({ presence }) => presence === "present").length;
  return html`<footer><div class="controls" role="group" aria-label=${t("live.controls")}>
    <${Switch} kind="audio" isOn=${me?.micEnabled} busy=${audio || isLost} onClick=${() => visit.toggle("audio")} />
    <${Switch} kind="video" isOn=${me?.cameraEnabled} busy=${video || isLost} onClick=${() => visit.toggle("video")} />
    <${Button} className="switch ${consents ? "is-recording" : ""}" busy=${consent || isLost}
      aria-pressed=${consents ? "true" : "false"} title=${t(consents ? "consent.revoke" : "consent.allow")}
      onClick=${() => (consents ? visit.setConsent(false) : onAsk())}>
      <${Icon} name="record" size="24" /><span class="switch-text">${t("consent.button")}</span>
    <//>
    <${Button} className="switch" aria-expanded=${panel === "people" ? "true" : "false"}
      onClick=${() => onPanel("people")}>
      <${Icon} name="people" size="24" /><span class="switch-text">${t("live.people", { count: present })}</span>
    <//>
    <${Button} className="switch" aria-expanded=${panel === "settings" ? "true" : "false"}
      onClick=${() => onPanel("settings")}>
      <${Icon} name="settings" size="24" /><span class="switch-text">${t("live.settings")}</span>
    <//>
    <${Button} className="switch danger" onClick=${() => visit.leave()}>
      <${Icon} name="leave" size="24" /><span class="switch-text">${t("live.leave")}</span>
    <//>
  </div></footer>`;
}

function Settings({ visit, onClose }) {
  const { devices } = visit;
  const choose = (kind, id) => visit.choose(kind, id);
  const has = devices.choices.value.video.length + devices.choices.value.audio.length > 0;
  return html`<${Panel} title=${t("live.settings")} onClose=${onClose}>
    <${DeviceChoice} devices=${devices} kind="video" onChoose=${choose} />
    <${DeviceChoice} devices=${devices} kind="audio" onChoose=${choose} />
    ${!has && html`<p class="muted">${t("live.noDevices")}</p>`}
  <//>`;
}
