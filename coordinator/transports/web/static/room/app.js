// The room page: which view is shown for which address, and what the views share.

import { html, render, signal, useEffect, useMemo } from "/static/vendor/preact.js";
import { CoordinatorClient } from "/client/coordinator-client.js";
import { Api } from "/static/shared/api.js";
import { keepFocus } from "/static/shared/focus.js";
import { addWords, language, t } from "/static/shared/i18n.js";
import { Identity, credentialsIn } from "/static/shared/identity.js";
import { DemoMark, SignIn, SignedIn, loadSettings, useExpiry } from "/static/shared/sign-in.js";
import { Toasts, TopBar } from "/static/shared/ui.js";
import { Devices } from "./devices.js";
import { Ended } from "./ended.js";
import { Live } from "./live.js";
import { Lobby } from "./lobby.js";
import { Slots } from "./slots.js";
import { Visit } from "./visit.js";
import en from "./words/en.js";
import es from "./words/es.js";
import fr from "./words/fr.js";

const STORAGE_KEY = "coordinator.room";
const SESSION_ID = /^[0-9a-f]{24}$/;

addWords({ en, fr, es });

const identity = new Identity("participant");
const api = new Api(() => identity.token);
const devices = new Devices();

// What was chosen in the lobby; null after a reload, when everything is to be as it was.
let entering = null;

const route = signal(takeRoute());

addEventListener("hashchange", () => {
  route.value = takeRoute();
});

// The view that the address names. A link with a token is taken, and does not stay in the address.
function takeRoute() {
  const { session, token } = credentialsIn(location.hash);
  if (session || token) {
    identity.take(token);
    history.replaceState(null, "", SESSION_ID.test(session) ? `#/lobby/${session}` : "#/");
  }
  const [, view, sessionId = ""] = location.hash.slice(1).split("/");
  if (!SESSION_ID.test(sessionId)) {
    return { view: "slots" };
  }
  if (view === "room" && entering === null && remembered() !== sessionId) {
    history.replaceState(null, "", `#/lobby/${sessionId}`); // nobody falls into a room without having asked for it
    return { view: "lobby", sessionId };
  }
  return { view: view === "room" ? "room" : "lobby", sessionId };
}

function go(address) {
  location.hash = address;
}

// Where a reload goes on.
function remembered() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

function remember(sessionId) {
  try {
    if (sessionId === null) {
      sessionStorage.removeItem(STORAGE_KEY);
    } else {
      sessionStorage.setItem(STORAGE_KEY, sessionId);
    }
  } catch {
    // The browser forbids the storage: a reload goes back to the lobby.
  }
}

function Room({ sessionId }) {
  const visit = useMemo(() => {
    const client = new CoordinatorClient({ token: identity.token });
    const wants = entering;
    entering = null;
    return new Visit({ room: client.room(sessionId), userId: identity.userId, api, devices, wants });
  }, [sessionId]);
  useEffect(() => {
    remember(sessionId);
    visit.start();
    // Going elsewhere on this page is going out; when the page itself is left or loaded again, nothing runs here.
    return () => {
      remember(null);
      visit.abandon();
    };
  }, [visit]);
  const isOver = visit.ended.value !== null;
  useEffect(() => {
    if (isOver) {
      remember(null);
    }
  }, [isOver]);
  return isOver
    ? html`<${Frame}><${Ended} ended=${visit.ended.value} sessionId=${sessionId} identity=${identity} /><//>`
    : html`<${Live} visit=${visit} />`;
}

function Frame({ children }) {
  return html`
    <${TopBar} title=${t("title")} mark=${html`<${DemoMark} />`}>
      <${SignedIn} identity=${identity} onSignOut=${() => go("#/")} />
    <//>
    <main id="main" class="page" tabindex="-1">${children}</main>
  `;
}

function App() {
  useExpiry(identity);
  useEffect(() => {
    document.title = t("title");
  }, [language.value]);
  const { view, sessionId } = route.value;
  if (view === "room" && identity.current.value !== null) {
    return html`<${Room} key=${sessionId} sessionId=${sessionId} /><${Toasts} />`;
  }
  return html`<${Frame}>${content(view, sessionId)}<//><${Toasts} />`;
}

function content(view, sessionId) {
  if (identity.current.value === null) {
    const goOn = (session) => SESSION_ID.test(session) && go(`#/lobby/${session}`);
    return html`<${SignIn} identity=${identity} title=${t("signIn.title")} intro=${t("signIn.intro")}
      onLink=${goOn} />`;
  }
  if (view === "slots") {
    return html`<${Slots} key=${identity.userId} api=${api} identity=${identity} />`;
  }
  const enter = (wants) => {
    entering = wants;
    go(`#/room/${sessionId}`);
  };
  return html`<${Lobby} key=${sessionId} sessionId=${sessionId} api=${api} identity=${identity} devices=${devices}
    onEnter=${enter} />`;
}

loadSettings();
keepFocus(document.getElementById("app"));
render(html`<${App} />`, document.getElementById("app"));
