// After the room: why it is over, and what one can do now.

import { html, useEffect } from "/static/vendor/preact.js";
import { errorWords, hasWords, t } from "/static/shared/i18n.js";
import { Heading, Icon } from "/static/shared/ui.js";

const RETURNS = new Set(["left", "closed", "timeout", "unavailable", "disconnected"]);

export function Ended({ ended, sessionId, identity }) {
  const { code, message, endReason } = ended;
  useEffect(() => {
    if (code === "unauthenticated") {
      identity.expire();
    }
  }, [code]);
  return html`<section class="card narrow stack ended">
    <${Icon} name=${code === "left" || code === "session_ended" ? "check" : "warning"} size="40" />
    <${Heading}>${titleOf(code)}<//>
    <p>${textOf(code, message, endReason)}</p>
    ${code === "removed" && message && html`<blockquote class="reason">${message}</blockquote>`}
    <p class="row">
      <a class="button primary" href="#/">${t("ended.slots")}</a>
      ${RETURNS.has(code) && html`<a class="button" href="#/lobby/${sessionId}">${t("ended.back")}</a>`}
    </p>
  </section>`;
}

function titleOf(code) {
  const key = `ended.title.${code}`;
  return t(hasWords(key) ? key : "ended.title.other");
}

function textOf(code, message, endReason) {
  if (code === "session_ended" && endReason !== undefined && hasWords(`ended.reason.${endReason}`)) {
    return t(`ended.reason.${endReason}`);
  }
  const key = `ended.text.${code}`;
  return hasWords(key) ? t(key) : errorWords({ code, message });
}
