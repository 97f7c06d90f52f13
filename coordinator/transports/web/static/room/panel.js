// What opens beside the pictures, and closes by Escape.

import { html, useEffect } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { Button, Heading, Icon } from "/static/shared/ui.js";

export function Panel({ title, onClose, children }) {
  useEffect(() => {
    const close = (event) => event.key === "Escape" && document.querySelector("dialog") === null && onClose();
    addEventListener("keydown", close);
    return () => removeEventListener("keydown", close);
  }, [onClose]);
  return html`<aside class="panel stack" aria-label=${title}>
    <div class="panel-head">
      <${Heading} level="2">${title}<//>
      <${Button} className="quiet icon-only" aria-label=${t("close")} onClick=${onClose}><${Icon} name="close" /><//>
    </div>
    ${children}
  </aside>`;
}
