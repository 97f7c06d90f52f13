// Sessions that are over.

import { html, signal, useEffect, useRef, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { LANGUAGE_CODES, dateTimeWords, languageWords, sessionWords } from "/static/shared/time.js";
import { Banner, Button, Choice, Heading } from "/static/shared/ui.js";
import { StatusBadge } from "./labels.js";

const PAGE = 25;

// Kept while one looks into a session and comes back.
const wanted = signal("");

export function History({ desk }) {
  const language = wanted.value;
  const asked = useRef(0); // an answer that comes late must not take the place of a newer one
  const [pages, setPages] = useState({ items: null, next: undefined });
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);

  const load = async (cursor, before) => {
    const turn = ++asked.current;
    setBusy(true);
    try {
      const found = await desk.api.get("/sessions", {
        status: "ended",
        targetLanguageCode: language,
        limit: PAGE,
        cursor,
      });
      if (turn !== asked.current) {
        return;
      }
      setPages({ items: [...before, ...found.items], next: found.next });
      setProblem(null);
    } catch (error) {
      if (turn !== asked.current) {
        return;
      }
      setProblem(error);
    }
    setBusy(false);
  };
  useEffect(() => {
    load(undefined, []);
  }, [language]);

  const languages = [["", t("filter.all")], ...LANGUAGE_CODES.map((code) => [code, languageWords(code)])];
  return html`<main class="page" id="main" tabindex="-1">
    <${Heading}>${t("history.title")}<//>
    <div class="filters" role="search">
      <${Choice} label=${t("filter.language")} value=${language} options=${languages}
        onChange=${(code) => (wanted.value = code)} />
    </div>
    ${problem && html`<${Banner} tone="alarm" actions=${html`<${Button} className="small"
      onClick=${() => load(undefined, [])}>${t("tryAgain")}<//>`}>${errorWords(problem)}<//>`}
    ${pages.items === null && !problem && html`<p class="muted" role="status">${t("loading")}</p>`}
    ${pages.items?.length === 0 && html`<p class="muted">${t("history.none")}</p>`}
    <ul class="history" aria-label=${t("history.title")}>
      ${pages.items?.map(
        (session) => html`<li key=${session.id} class="card history-line">
          <h2><a href="#/session/${session.id}">${sessionWords(session)}</a></h2>
          <p class="muted numbers">${dateTimeWords(session.scheduledStart)}</p>
          <p><${StatusBadge} session=${session} /></p>
          <p class="muted small">${t("history.recordings", { count: session.recordings.length })}</p>
        </li>`,
      )}
    </ul>
    ${pages.next && html`<p><${Button} busy=${isBusy} onClick=${() => load(pages.next, pages.items)}>
      ${t("history.more")}<//></p>`}
  </main>`;
}
