// The room page: takes the credentials, shows what a visit tells, and sends on what the user switches.

import { Visit } from "./visit.js";
import { countdownWords, errorWords, presenceWords, sentence, statusWords, timeWords } from "./words.js";

const STORAGE_KEY = "conversation-room";
const LOG_LENGTH = 300;
const SESSION_ID = /^[0-9a-f]{24}$/;
// Names the text about recording on this page: what the user agrees to.
const POLICY_VERSION = "room-page-1";
// After these, a reload must not join again: it would be pointless, or against what the user wants.
const FINAL_CODES = new Set(["left", "unauthenticated", "forbidden", "removed", "replaced", "session_ended"]);
const PHASES = {
  connecting: "Connecting…",
  joined: "Connected",
  reconnecting: "Connection lost. Reconnecting… Your seat is held for a while.",
  over: "Not connected",
};

const $ = (id) => document.getElementById(id);

let visit;

// -- credentials: from the address fragment, which no browser sends to a server, or from the form ---------------------

function credentialsInAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const found = { session: fragment.get("session") ?? "", token: fragment.get("token") ?? "" };
  if (!found.session && !found.token) {
    return undefined;
  }
  history.replaceState(null, "", location.pathname + location.search);
  return found;
}

// The browser may forbid the storage; then a reload asks for the credentials again.
function remember(credentials) {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(credentials));
  } catch {}
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE_KEY)) ?? undefined;
  } catch {
    return undefined;
  }
}

function forget() {
  try {
    sessionStorage.removeItem(STORAGE_KEY);
  } catch {}
}

// -- coming and going -------------------------------------------------------------------------------------------------

function enter(credentials) {
  visit?.abandon();
  visit = undefined;
  $("session").value = credentials.session;
  $("token").value = credentials.token;
  if (SESSION_ID.test(credentials.session) && credentials.token) {
    remember(credentials);
    say("");
    $("log").replaceChildren();
    visit = new Visit(credentials, { changed: render, happened, ended });
    visit.start();
  } else {
    say("To join, the session and the access token are needed. Part of the link may be missing.");
  }
  render();
}

function happened(event) {
  addToLog(event);
  if (event.type === "session_ended") {
    forget();
  }
}

function ended(code, message) {
  if (FINAL_CODES.has(code)) {
    forget();
  }
  say(code === "left" ? "You have left the session." : errorWords(code, message));
  render();
  // What had the focus is gone; the message says what to do next.
  $("message").focus();
}

// -- the page ---------------------------------------------------------------------------------------------------------

function say(text) {
  setText($("message"), text);
}

// Leaves unchanged text alone, so that screen readers are not told twice.
function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function addToLog(event) {
  const time = make("time", "", timeWords(event.at));
  time.dateTime = event.at;
  const line = document.createElement("li");
  line.append(time, make("span", "seq", `#${event.seq}`), make("span", "sentence", sentence(event, visit.me)));
  const box = $("log-box");
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
  $("log").append(line);
  while ($("log").childElementCount > LOG_LENGTH) {
    $("log").firstElementChild.remove();
  }
  if (isAtEnd) {
    box.scrollTop = box.scrollHeight;
  }
}

function render() {
  const phase = visit?.phase ?? "over";
  const session = visit?.state.session;
  // What has ended stays to be read; any other room that the user is not in is not shown: it would be out of date.
  const isShown = Boolean(session) && (phase !== "over" || session.status === "ended");
  $("entry").hidden = phase !== "over";
  $("room").hidden = !isShown;
  setText($("connection"), isShown || phase === "over" ? PHASES[phase] : visit.notice || PHASES.connecting);
  if (isShown) {
    setText($("status"), statusWords(session));
    setText($("notice"), visit.notice);
    renderCountdown();
    renderControls();
    renderParticipants();
  }
}

function renderCountdown() {
  const session = visit?.state.session;
  if (session) {
    setText($("countdown"), countdownWords(session, Date.now() + visit.clockOffset));
  }
}

function renderControls() {
  const own = visit.own;
  renderButton("camera", "set_media", own?.cameraEnabled, "Turn camera off", "Turn camera on");
  renderButton("microphone", "set_media", own?.micEnabled, "Turn microphone off", "Turn microphone on");
  renderButton("consent", "set_recording_consent", own?.recordingConsent, "Withdraw consent", "Allow recording");
  $("leave").hidden = visit.phase === "over";
  // While the connection is lost the sign stays: the server may not have noticed yet.
  setText($("sign"), own?.mayBeRecorded && visit.phase !== "over" ? "● You may be recorded now" : "");
}

function renderButton(id, command, isOn, textWhenOn, textWhenOff) {
  const button = $(id);
  const isUsable = visit.isJoined && visit.state.session.status !== "ended" && !visit.isPending(command);
  setText(button, isOn ? textWhenOn : textWhenOff);
  button.classList.toggle("is-on", Boolean(isOn));
  // Not `disabled`: that would take the focus away from whoever has just pressed it.
  button.setAttribute("aria-disabled", String(!isUsable));
}

function renderParticipants() {
  const participants = [...visit.state.participants.values()];
  const here = participants.filter((participant) => participant.presence === "present");
  const others = participants.filter((participant) => participant.presence !== "present");
  setText($("count"), `(${here.length} here)`);
  $("participants").replaceChildren(...[...here, ...others].map(participantLine));
}

function participantLine(participant) {
  const line = document.createElement("li");
  line.dataset.user = participant.userId;
  line.dataset.presence = participant.presence;
  const name = participant.userId === visit.me ? `${participant.userId} (you)` : participant.userId;
  line.append(make("span", "name", name), " ", make("span", "hint", presenceWords(participant)));
  if (participant.presence === "present" || participant.presence === "away") {
    const badge = (isOn, textWhenOn, textWhenOff) =>
      line.append(" ", make("span", isOn ? "badge is-on" : "badge", isOn ? textWhenOn : textWhenOff));
    badge(participant.cameraEnabled, "camera on", "camera off");
    badge(participant.micEnabled, "microphone on", "microphone off");
    badge(participant.recordingConsent, "allows recording", "does not allow recording");
    if (participant.mayBeRecorded) {
      line.append(" ", make("span", "badge is-alarm", "may be recorded now"));
    }
  }
  return line;
}

// -- what the user does -----------------------------------------------------------------------------------------------

function whenUsable(id, action) {
  $(id).addEventListener("click", () => {
    if ($(id).getAttribute("aria-disabled") !== "true") {
      action(visit.own);
    }
  });
}

whenUsable("camera", (own) => visit.command("set_media", { cameraEnabled: !own?.cameraEnabled }));
whenUsable("microphone", (own) => visit.command("set_media", { micEnabled: !own?.micEnabled }));
whenUsable("consent", (own) =>
  visit.command("set_recording_consent", { granted: !own?.recordingConsent, policyVersion: POLICY_VERSION }),
);
$("leave").addEventListener("click", () => visit.leave());
$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  enter({ session: $("session").value.trim(), token: $("token").value.trim() });
});
// Another link opened in this window: only the fragment changes, so the page is not loaded again.
window.addEventListener("hashchange", () => {
  const found = credentialsInAddress();
  if (found) {
    enter(found);
  }
});
setInterval(renderCountdown, 1_000);

const credentials = credentialsInAddress() ?? remembered();
if (credentials) {
  enter(credentials);
} else {
  render();
}
