// What cannot be undone is asked about first.

import { html, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { Banner, Button, Dialog, Field } from "/static/shared/ui.js";

const MAX_REASON = 500; // as the coordinator takes it

// act: () => Promise. The dialog stays until that has worked, and says what has not.
function Confirm({ title, confirm, act, onClose, children }) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);

  async function submit(event) {
    event?.preventDefault();
    if (isBusy) {
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      await act();
      onClose();
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  }

  // The way back comes first: it has the focus when the dialog asks for nothing else.
  const actions = html`
    <${Button} onClick=${onClose}>${t("cancel")}<//>
    <${Button} className="danger" busy=${isBusy} onClick=${submit}>${confirm}<//>`;
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${actions}>
    ${children}
    ${problem && html`<${Banner} tone="alarm">${errorWords(problem)}<//>`}
  <//>`;
}

export function ConfirmRemoval({ desk, sessionId, userId, onClose }) {
  const [reason, setReason] = useState("");
  const act = () => desk.remove(sessionId, userId, reason.trim() || undefined);
  return html`<${Confirm} title=${t("remove.title", { who: userId })} confirm=${t("remove.confirm", { who: userId })}
    act=${act} onClose=${onClose}>
    <p>${t("remove.text", { who: userId })}</p>
    <${Field} label=${t("remove.reason")} hint=${t("remove.hint")} value=${reason} onInput=${setReason}
      maxlength=${MAX_REASON} autocomplete="off" />
  <//>`;
}

export function ConfirmEnd({ desk, sessionId, present, onClose }) {
  return html`<${Confirm} title=${t("end.title")} confirm=${t("end.confirm")}
    act=${() => desk.endSession(sessionId)} onClose=${onClose}>
    <p>${present > 0 ? t("end.people", { count: present }) : t("end.nobody")}</p>
    <p>${t("end.text")}</p>
  <//>`;
}
