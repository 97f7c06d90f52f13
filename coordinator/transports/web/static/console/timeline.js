// What has happened in a session, as it happens: one line for each event, the newest at the end.

import { html, useLayoutEffect, useRef, useState } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import { preciseTimeWords } from "/static/shared/time.js";
import { Banner, Button, Icon, notify } from "/static/shared/ui.js";
import { actorWords, KINDS, lookOf, sentence } from "./sentences.js";

const NEAR_END_PX = 24;

export function Timeline({ log }) {
  const [kinds, setKinds] = useState(new Set(KINDS));
  const box = useRef(null);
  const isAtEnd = useRef(true);
  const events = log.events.value.filter((event) => kinds.has(lookOf(event).kind));
  // Whoever has scrolled up to read is left there.
  const follow = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  };
  useLayoutEffect(() => {
    if (isAtEnd.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [events.length]);
  const toggle = (kind) => {
    const next = new Set(kinds);
    if (!next.delete(kind)) {
      next.add(kind);
    }
    setKinds(next);
  };
  // Whoever reads on upwards keeps the place.
  const earlier = async () => {
    const { scrollHeight } = box.current;
    try {
      await log.earlier();
      requestAnimationFrame(() => (box.current.scrollTop += box.current.scrollHeight - scrollHeight));
    } catch (error) {
      notify(errorWords(error), "alarm");
    }
  };
  return html`<section class="card stack timeline" aria-labelledby="timeline-title">
    <div class="timeline-head">
      <h2 id="timeline-title">${t("timeline.title")}</h2>
      <div class="row" role="group" aria-label=${t("timeline.show")}>
        ${KINDS.map(
          (kind) => html`<${Button} key=${kind} className="small kind ${kinds.has(kind) ? "is-on" : ""}"
            aria-pressed=${kinds.has(kind) ? "true" : "false"} onClick=${() => toggle(kind)}>${t(`kind.${kind}`)}<//>`,
        )}
      </div>
    </div>
    ${log.problem.value &&
    html`<${Banner} tone="alarm" actions=${html`<${Button} className="small" onClick=${() => log.reach()}>
      ${t("tryAgain")}<//>`}>${errorWords(log.problem.value)}<//>`}
    <div ref=${box} class="log" role="log" aria-labelledby="timeline-title" tabindex="0"
      aria-busy=${log.isLoading.value ? "true" : "false"} onScroll=${follow}>
      ${log.first > 1 && html`<p><${Button} className="small" onClick=${earlier}>${t("timeline.earlier")}<//></p>`}
      <ol class="events">${events.map((event) => html`<${Line} key=${event.seq} event=${event} />`)}</ol>
    </div>
  </section>`;
}

function Line({ event }) {
  const { icon, tone } = lookOf(event);
  const byAnother = event.actor.userId !== event.data.userId;
  return html`<li class="event ${tone}" data-seq=${event.seq} data-type=${event.type}>
    <time class="numbers muted" datetime=${event.at}>${preciseTimeWords(event.at)}</time>
    <span class="event-icon"><${Icon} name=${icon} size="18" /></span>
    <span>${sentence(event)}${byAnother && html` <span class="muted small">${actorWords(event.actor)}</span>`}</span>
    <span class="seq numbers muted small" title=${t("timeline.seq")}>#${event.seq}</span>
  </li>`;
}
