// What both pages are built of: bars, banners, fields, dialogs, people's pictures, and what is said to screen readers.

import { html, signal, useEffect, useLayoutEffect, useRef } from "/static/vendor/preact.js";
import { LANGUAGES, language, setLanguage, t } from "./i18n.js";
import { Icon } from "./icons.js";

export { Icon };

const TOAST_MS = 7_000;
const AVATAR_COLOURS = 8;

let lastId = 0;

// An id for a label, a hint or a heading that something refers to.
function useId() {
  const id = useRef(null);
  id.current ??= `ui-${++lastId}`;
  return id.current;
}

// -- the frame of a page ----------------------------------------------------------------------------------------------

export function TopBar({ title, href = "#/", mark, children }) {
  return html`<header class="topbar">
    <a class="skip" href="#main" onClick=${skipToMain}>${t("skip")}</a>
    <a class="brand" href=${href}><img src="/static/icon.svg" alt="" width="28" height="28" />${title}</a>
    ${mark}
    <div class="topbar-end">
      ${children}
      <${LanguageSwitch} />
    </div>
  </header>`;
}

// The address of the page names the view, so the link must not change it.
function skipToMain(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}

export function LanguageSwitch() {
  const choose = (event) => setLanguage(event.currentTarget.value);
  return html`<label class="language-switch">
    <${Icon} name="globe" size="18" />
    <span class="visually-hidden">${t("language")}</span>
    <select value=${language.value} onChange=${choose}>
      ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} lang=${code}>${name}</option>`)}
    </select>
  </label>`;
}

// The heading of a view. It takes the focus when the view appears: where a keyboard and a screen reader go on.
export function Heading({ level = 1, className = "", children }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  const Tag = `h${level}`;
  return html`<${Tag} ref=${heading} class=${className} tabindex="-1">${children}<//>`;
}

// -- messages ---------------------------------------------------------------------------------------------------------

const ICONS = { info: "info", warn: "warning", alarm: "warning", good: "check" };

// tone: "info", "good", "warn" or "alarm". Said at once to screen readers if it is an alarm, else when there is time.
export function Banner({ tone = "info", icon, children, actions }) {
  return html`<div class="banner ${tone}" role=${tone === "alarm" ? "alert" : "status"}>
    <${Icon} name=${icon ?? ICONS[tone]} />
    <div class="banner-text">${children}</div>
    ${actions && html`<div class="banner-actions">${actions}</div>`}
  </div>`;
}

const toasts = signal([]);

// Says something that needs no answer; it goes away by itself.
export function notify(text, tone = "info") {
  const toast = { id: ++lastId, text, tone };
  toasts.value = [...toasts.value.slice(-2), toast];
  setTimeout(() => dismiss(toast.id), TOAST_MS);
}

function dismiss(id) {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

// Stands on the page once, from the beginning: screen readers tell what is added to a region that they know.
export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map(
      ({ id, text, tone }) => html`<div key=${id} class="toast ${tone}">
        <${Icon} name=${ICONS[tone]} />
        <span>${text}</span>
        <button class="quiet icon-only" type="button" onClick=${() => dismiss(id)} aria-label=${t("close")}>
          <${Icon} name="close" size="16" />
        </button>
      </div>`,
    )}
  </div>`;
}

// -- forms ------------------------------------------------------------------------------------------------------------

// onInput is given the text. Everything else goes to the <input>.
export function Field({ label, hint, problem, onInput, ...input }) {
  const id = useId();
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(" ");
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} ...${input} onInput=${(event) => onInput(event.currentTarget.value)}
      aria-describedby=${described || undefined} aria-invalid=${problem ? "true" : undefined} />
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    <p class="problem" id="${id}-problem" role="alert">${problem}</p>
  </div>`;
}

// options: [[value, words], …]. onChange is given the value.
export function Choice({ label, value, options, onChange, className = "" }) {
  const id = useId();
  return html`<div class="field ${className}">
    <label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([key, words]) => html`<option key=${key} value=${key}>${words}</option>`)}
    </select>
  </div>`;
}

// A button that cannot be used at the moment keeps the focus, which `disabled` would take away.
export function Button({ busy = false, onClick, className = "", children, ...more }) {
  return html`<button type="button" class=${className} aria-disabled=${busy ? "true" : undefined}
    onClick=${(event) => !busy && onClick(event)} ...${more}>${children}</button>`;
}

// -- dialogs ----------------------------------------------------------------------------------------------------------

// Modal while it is drawn. onClose: somebody wants it gone, by Escape or otherwise.
export function Dialog({ title, onClose, children, actions }) {
  const dialog = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus?.();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${dialog} aria-labelledby=${id} onCancel=${cancel}>
    <h2 id=${id}>${title}</h2>
    <div class="dialog-text stack">${children}</div>
    <div class="dialog-actions">${actions}</div>
  </dialog>`;
}

// -- people -----------------------------------------------------------------------------------------------------------

// A circle with somebody's initials. The name stands beside it, so it says nothing to screen readers.
export function Avatar({ name, className = "" }) {
  return html`<span class="avatar avatar-${colourOf(name)} ${className}" aria-hidden="true">${initialsOf(name)}</span>`;
}

// One thing about somebody, with its icon.
export function State({ icon, words }) {
  return html`<span class="state"><${Icon} name=${icon} size="16" />${words}</span>`;
}

function initialsOf(name) {
  const words = name.split(/[\s._@-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...name].slice(0, 2);
  return letters.join("").toUpperCase();
}

function colourOf(name) {
  let sum = 0;
  for (const char of name) {
    sum = (sum * 31 + char.codePointAt(0)) % 65_521;
  }
  return sum % AVATAR_COLOURS;
}
