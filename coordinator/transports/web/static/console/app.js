// The moderators' console: which view is shown for which address, and the one connection behind them.

import { html, render, signal, useEffect, useMemo } from "/static/vendor/preact.js";
import { keepFocus } from "/static/shared/focus.js";
import { addWords, errorWords, language, t } from "/static/shared/i18n.js";
import { Identity, credentialsIn } from "/static/shared/identity.js";
import { DemoMark, SignIn, SignedIn, loadSettings, useExpiry } from "/static/shared/sign-in.js";
import { Banner, Toasts, TopBar } from "/static/shared/ui.js";
import { Desk } from "./desk.js";
import { History } from "./history.js";
import { Rooms } from "./rooms.js";
import { Session } from "./session.js";
import en from "./words/en.js";
import es from "./words/es.js";
import fr from "./words/fr.js";

const SESSION_ID = /^[0-9a-f]{24}$/;

addWords({ en, fr, es });

const identity = new Identity("moderator");
const refusal = signal(null); // why the server has not taken the last token
const route = signal(takeRoute());

addEventListener("hashchange", () => {
  route.value = takeRoute();
});

// The view that the address names. A link with a token is taken, and does not stay in the address.
function takeRoute() {
  const { session, token } = credentialsIn(location.hash);
  if (token) {
    identity.take(token);
    history.replaceState(null, "", SESSION_ID.test(session) ? `#/session/${session}` : "#/");
  }
  const [, view = "", sessionId = ""] = location.hash.slice(1).split("/");
  if (view === "session" && SESSION_ID.test(sessionId)) {
    return { view, sessionId };
  }
  return { view: view === "history" ? view : "rooms" };
}

function App() {
  useExpiry(identity);
  useEffect(() => {
    document.title = t("title");
  }, [language.value]);
  const isIn = identity.current.value !== null;
  return html`
    <${TopBar} title=${t("title")} mark=${html`<${DemoMark} />`}>
      ${isIn && html`<${Places} view=${route.value.view} />`}
      <${SignedIn} identity=${identity} onSignOut=${() => (location.hash = "#/")} />
    <//>
    ${isIn ? html`<${Signed} key=${identity.token} />` : html`<${Entrance} />`}
    <${Toasts} />
  `;
}

function Places({ view }) {
  const place = (name, href) => html`<a href=${href} aria-current=${view === name ? "page" : undefined}>
    ${t(`${name}.title`)}</a>`;
  return html`<nav class="places" aria-label=${t("places")}>
    ${place("rooms", "#/")}${place("history", "#/history")}
  </nav>`;
}

function Entrance() {
  return html`<main id="main" class="page" tabindex="-1">
    ${refusal.value !== null && html`<${Banner} tone="alarm">${refusalWords(refusal.value)}<//>`}
    <${SignIn} identity=${identity} title=${t("signIn.title")} intro=${t("signIn.intro")} />
  </main>`;
}

function refusalWords(error) {
  return error.code === "forbidden" ? t("refused.role") : errorWords(error);
}

// Everything that needs the connection.
function Signed() {
  const desk = useMemo(() => {
    const refused = (error) => {
      refusal.value = error;
      identity.forget();
    };
    return new Desk(identity, refused);
  }, []);
  useEffect(() => {
    refusal.value = null;
    desk.open();
    return () => desk.close();
  }, [desk]);
  const { view, sessionId } = route.value;
  return html`
    <${Connection} desk=${desk} />
    ${view === "rooms" && html`<${Rooms} desk=${desk} />`}
    ${view === "session" && html`<${Session} key=${sessionId} desk=${desk} sessionId=${sessionId} />`}
    ${view === "history" && html`<${History} desk=${desk} />`}
  `;
}

function Connection({ desk }) {
  if (desk.phase.value === "reconnecting") {
    return html`<div class="connection"><${Banner} tone="warn" icon="reconnect">${t("connection.lost")}<//></div>`;
  }
  return (
    desk.problem.value !== null &&
    html`<div class="connection"><${Banner} tone="alarm"
      actions=${html`<button class="small" type="button" onClick=${() => location.reload()}>${t("tryAgain")}</button>`}>
      ${errorWords(desk.problem.value)}<//></div>`
  );
}

loadSettings();
keepFocus(document.getElementById("app"));
render(html`<${App} />`, document.getElementById("app"));
