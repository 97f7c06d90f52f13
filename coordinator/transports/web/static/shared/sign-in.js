// Signing in: by name where the server is a demo, else with the link or the token that somebody was given.

import { html, signal, useEffect, useState } from "/static/vendor/preact.js";
import { request } from "./api.js";
import { errorWords, t } from "./i18n.js";
import { credentialsIn } from "./identity.js";
import { Banner, Field, Heading, Icon } from "./ui.js";

// Whether the server lets people sign in by name; null until it is known.
const isDemo = signal(null);

// Asked once, at the start. A server that does not answer is no demo: the token form then says what fails.
export async function loadSettings() {
  try {
    isDemo.value = (await request("GET", "/web/settings.json")).demoSignIn === true;
  } catch {
    isDemo.value = false;
  }
}

// A mark that nobody can take for the real thing.
export function DemoMark() {
  return isDemo.value && html`<span class="badge warn" title=${t("signIn.demoHint")}>${t("signIn.demo")}</span>`;
}

// identity: an Identity. onLink: called with the session of a link, where the link named one.
export function SignIn({ identity, title, intro, onLink = () => {} }) {
  return html`<section class="card narrow stack sign-in">
    <${Heading}>${title}<//>
    ${intro && html`<p class="muted">${intro}</p>`}
    ${identity.hasExpired.value && html`<${Banner} tone="warn">${t("signIn.expired")}<//>`}
    ${isDemo.value === true && html`<${NameForm} identity=${identity} />`}
    ${isDemo.value === false && html`<${TokenForm} identity=${identity} onLink=${onLink} />`}
    ${isDemo.value === null && html`<p class="muted" role="status">${t("loading")}</p>`}
  </section>`;
}

function NameForm({ identity }) {
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const userId = name.trim();
    if (userId === "") {
      setProblem(t("signIn.nameMissing"));
    } else if (!isBusy) {
      setBusy(true);
      try {
        identity.take((await request("POST", "/demo/sign-in", { userId, role: identity.role })).token);
      } catch (error) {
        setProblem(errorWords(error));
        setBusy(false);
      }
    }
  }

  return html`<form class="stack" onSubmit=${submit} novalidate>
    <p><span class="badge warn">${t("signIn.demo")}</span> <span class="muted small">${t("signIn.demoHint")}</span></p>
    <${Field} label=${t("signIn.name")} problem=${problem} value=${name} onInput=${setName} maxlength="40"
      autocomplete="nickname" autocapitalize="none" spellcheck="false" name="name" />
    <button class="primary" type="submit" aria-disabled=${isBusy}>${t("signIn.submit")}</button>
  </form>`;
}

function TokenForm({ identity, onLink }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");

  function submit(event) {
    event.preventDefault();
    const given = text.trim();
    const { session, token } = given.includes("#") ? credentialsIn(given) : { session: "", token: given };
    if (identity.take(token)) {
      onLink(session);
    } else {
      setProblem(t(given === "" ? "signIn.tokenMissing" : "signIn.tokenWrong"));
    }
  }

  return html`<form class="stack" onSubmit=${submit} novalidate>
    <p>${t("signIn.openLink")}</p>
    <${Field} label=${t("signIn.token")} hint=${t("signIn.tokenHint")} problem=${problem} value=${text}
      onInput=${setText} type="password" autocomplete="off" name="token" />
    <button class="primary" type="submit">${t("signIn.submit")}</button>
  </form>`;
}

// Who is signed in, and the way out.
export function SignedIn({ identity, onSignOut }) {
  const userId = identity.current.value?.userId;
  const signOut = () => {
    identity.forget();
    onSignOut?.();
  };
  return (
    userId !== undefined &&
    html`<span class="signed-in">
      <span class="signed-in-name"><span class="visually-hidden">${t("signIn.as")} </span>${userId}</span>
      <button class="quiet icon-only" type="button" onClick=${signOut} aria-label=${t("signIn.out")}
        title=${t("signIn.out")}><${Icon} name="leave" /></button>
    </span>`
  );
}

// Tells when the token ends, so that nobody has to find out by an error.
export function useExpiry(identity) {
  const expiresAt = identity.current.value?.expiresAt ?? Infinity;
  useEffect(() => {
    const left = expiresAt - Date.now();
    if (!Number.isFinite(left) || left > 2 ** 31 - 1) {
      return undefined; // timers reach no further than 24 days
    }
    const timer = setTimeout(() => identity.expire(), Math.max(0, left));
    return () => clearTimeout(timer);
  }, [identity, expiresAt]);
}
