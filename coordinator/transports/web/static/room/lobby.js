// Before the room: what it is about, how one looks and sounds, and with what on one goes in.

import { html, useEffect, useMemo, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { clockWords, rangeWords, sessionWords, useNow } from "/static/shared/time.js";
import { Avatar, Banner, Button, Heading, Icon } from "/static/shared/ui.js";
import { DeviceChoice, LevelMeter, Switch } from "./device-controls.js";
import { Video } from "./video.js";

const POLL_MS = 5_000;

export function Lobby({ sessionId, api, identity, devices, onEnter }) {
  const [session, problem] = useSession(api, sessionId, identity);
  // What goes into the room stays open; leaving the lobby otherwise releases it.
  const passage = useMemo(() => ({ isEntering: false }), []);
  useEffect(() => () => passage.isEntering || devices.closeAll(), []);
  const enter = () => {
    passage.isEntering = true;
    onEnter({ audio: devices.audio.value !== null, video: devices.video.value !== null });
  };
  const choose = (kind, id) => devices.choose(kind, id);
  return html`<div class="lobby">
    <div class="stack">
      <a class="back" href="#/"><${Icon} name="back" size="18" />${t("lobby.back")}</a>
      <${Preview} devices=${devices} name=${identity.userId ?? ""} />
    </div>
    <section class="card stack">
      <${Heading}>${session ? sessionWords(session) : t("lobby.title")}<//>
      ${session && html`<${When} session=${session} />`}
      ${problem && html`<${Banner} tone="alarm">${errorWords(problem)}<//>`}
      <${Problems} devices=${devices} />
      <${DeviceChoice} devices=${devices} kind="video" onChoose=${choose} />
      <${DeviceChoice} devices=${devices} kind="audio" onChoose=${choose} />
      <p class="hint">${t("lobby.hint")}</p>
      ${session?.status === "ended"
        ? html`<${Banner} tone="info">${errorWords({ code: "session_ended" })}<//>`
        : html`<${Button} className="primary" onClick=${enter}>${t("lobby.join")}<//>`}
      <p class="hint">${t("lobby.recording")}</p>
    </section>
  </div>`;
}

function Preview({ devices, name }) {
  const audio = devices.audio.value;
  const video = devices.video.value;
  const [asking, setAsking] = useState(false);
  const stream = useMemo(() => video && new MediaStream([video]), [video]);
  const toggle = (kind) => (devices[kind].value === null ? devices.open(kind) : devices.close(kind));
  const both = async () => {
    setAsking(true);
    await devices.open("video");
    await devices.open("audio");
    setAsking(false);
  };
  return html`<div class="preview">
    <div class="tile" role="group" aria-label=${t("lobby.preview")}>
      ${stream ? html`<${Video} stream=${stream} isMuted isMirrored />` : html`<${Avatar} name=${name} />`}
      ${!audio && !video && html`<${Button} className="preview-ask" busy=${asking} onClick=${both}>
        ${t("lobby.ask")}<//>`}
      ${audio && html`<${LevelMeter} track=${audio} />`}
    </div>
    <div class="preview-switches" role="group" aria-label=${t("live.controls")}>
      <${Switch} kind="audio" isOn=${audio !== null} busy=${asking} onClick=${() => toggle("audio")} />
      <${Switch} kind="video" isOn=${video !== null} busy=${asking} onClick=${() => toggle("video")} />
    </div>
  </div>`;
}

// Why a device cannot be had, and what would help.
function Problems({ devices }) {
  const { audio, video } = devices.problems.value;
  const shown = audio === "insecure" ? [["audio", audio]] : Object.entries({ video, audio }).filter(([, why]) => why);
  return shown.map(
    ([kind, why]) => html`<${Banner} key=${kind} tone="warn">
      <strong>${t(`devices.${why}.${kind}`)}</strong> ${t(`devices.help.${why}`)}
    <//>`,
  );
}

function When({ session }) {
  const now = useNow(1_000);
  const start = Date.parse(session.scheduledStart);
  const words =
    now < start
      ? t("live.startsIn", { time: clockWords(start - now) })
      : t(session.status === "active" ? "slots.running" : "live.waiting");
  return html`<p class="row numbers">
    <span>${rangeWords(session.scheduledStart, session.scheduledEnd)}</span>
    ${session.status !== "ended" && html`<span class="badge accent"><${Icon} name="clock" size="14" />${words}</span>`}
  </p>`;
}

function useSession(api, sessionId, identity) {
  const [state, setState] = useState([null, null]);
  useEffect(() => {
    let isCurrent = true;
    const load = async () => {
      try {
        const session = await api.get(`/sessions/${sessionId}`);
        isCurrent && setState([session, null]);
      } catch (error) {
        if (isCurrent && error.code === "unauthenticated") {
          identity.expire();
        } else if (isCurrent) {
          setState(([session]) => [session, error]);
        }
      }
    };
    load();
    const timer = setInterval(() => document.visibilityState === "visible" && load(), POLL_MS);
    return () => {
      isCurrent = false;
      clearInterval(timer);
    };
  }, [api, sessionId]);
  return state;
}
