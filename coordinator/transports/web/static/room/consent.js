// What somebody agrees to who allows to be recorded, in plain words. Its text is named by POLICY_VERSION: whoever
// changes what it says changes that too.

import { html } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { Button, Dialog } from "/static/shared/ui.js";

const POINTS = ["what", "when", "who", "undo", "choice"];

export function ConsentDialog({ visit, onClose }) {
  const allow = () => {
    onClose();
    return visit.setConsent(true);
  };
  const actions = html`
    <${Button} onClick=${onClose}>${t("consent.no")}<//>
    <${Button} className="primary" busy=${visit.pending.value.consent} onClick=${allow}>${t("consent.yes")}<//>`;
  return html`<${Dialog} title=${t("consent.title")} onClose=${onClose} actions=${actions}>
    <p>${t("consent.intro")}</p>
    <dl class="consent">
      ${POINTS.map(
        (point) => html`<div key=${point}>
          <dt>${t(`consent.${point}`)}</dt>
          <dd>${t(`consent.${point}Text`)}</dd>
        </div>`,
      )}
    </dl>
  <//>`;
}
