// The list of sessions: finding one, booking a seat, going in.

import { html, useEffect, useMemo } from "/static/vendor/preact.js";
import { errorWords, t } from "/static/shared/i18n.js";
import {
  LANGUAGE_CODES, dayWords, distanceWords, languageWords, minutesWords, rangeWords, sessionWords, useNow,
  zoneWords,
} from "/static/shared/time.js";
import { Banner, Button, Choice, Heading, Icon, notify } from "/static/shared/ui.js";
import { Booking, endOf } from "./booking.js";

const LEVELS = ["A1", "A2", "B1", "B2", "C1", "C2"];

export function Slots({ api, identity }) {
  const booking = useMemo(() => new Booking({ api, identity }), []);
  useEffect(() => {
    booking.start();
    return () => booking.stop();
  }, [booking]);
  const now = useNow(10_000);
  const slots = booking.slots.value;
  const booked = booking.booked.value;
  return html`
    <div class="stack">
      <${Heading}>${t("slots.title")}<//>
      <p class="muted">${t("slots.intro", { zone: zoneWords() })}</p>
      <${Filters} booking=${booking} />
    </div>
    ${booking.problem.value && html`<${Banner} tone="alarm">${errorWords(booking.problem.value)}<//>`}
    ${slots === null && !booking.problem.value && html`<p class="muted" role="status">${t("loading")}</p>`}
    ${slots?.length === 0 && html`<${Nothing} booking=${booking} />`}
    ${slots && daysOf(slots, now).map(
      ([day, ofDay]) => html`<section key=${day} class="day" aria-label=${day}>
        <h2>${day}</h2>
        <ul class="slots">
          ${ofDay.map((slot) => html`<${Slot} key=${slot.id} slot=${slot} booking=${booking} now=${now}
            isBooked=${booked.has(slot.id)} />`)}
        </ul>
      </section>`,
    )}
    ${booking.hasMore.value && html`<p><${Button} onClick=${() => booking.showMore()}>${t("slots.more")}<//></p>`}
  `;
}

function Filters({ booking }) {
  const { targetLanguageCode, level } = booking.filter.value;
  return html`<form class="filters" onSubmit=${(event) => event.preventDefault()}>
    <${Choice} label=${t("slots.language")} value=${targetLanguageCode}
      options=${[["", t("slots.anyLanguage")], ...LANGUAGE_CODES.map((code) => [code, languageWords(code)])]}
      onChange=${(value) => booking.setFilter({ targetLanguageCode: value })} />
    <${Choice} label=${t("slots.level")} value=${level}
      options=${[["", t("slots.anyLevel")], ...LEVELS.map((code) => [code, code])]}
      onChange=${(value) => booking.setFilter({ level: value })} />
  </form>`;
}

function Nothing({ booking }) {
  const { targetLanguageCode, level } = booking.filter.value;
  const all = () => booking.setFilter({ targetLanguageCode: "", level: "" });
  return html`<div class="card empty stack" role="status">
    <p class="muted">${t("slots.none")}</p>
    ${(targetLanguageCode || level) && html`<p><${Button} onClick=${all}>${t("slots.showAll")}<//></p>`}
  </div>`;
}

function Slot({ slot, booking, isBooked, now }) {
  const seats = slot.maxParticipants - slot.registeredCount;
  const hasBegun = Date.parse(slot.startTime) <= now;
  const hasEnded = booking.ended.value.has(slot.id);
  const isOpen = slot.sessionId !== undefined && !hasEnded;
  const title = sessionWords(slot);
  return html`<li class="slot card ${isBooked ? "is-booked" : ""}" aria-label=${title}>
    <p class="slot-time numbers">
      <strong>${rangeWords(slot.startTime, endOf(slot))}</strong>
      <span class="muted small">${minutesWords(slot.durationMinutes)} · ${distanceWords(slot.startTime, now)}</span>
    </p>
    <div class="slot-what">
      <h3>${languageWords(slot.targetLanguageCode)} <span class="badge accent">${slot.level}</span></h3>
      <p class="slot-facts small">
        ${isBooked && html`<span class="badge good"><${Icon} name="check" size="14" />${t("slots.booked")}</span>`}
        ${isOpen && html`<span class="badge warn">${t(hasBegun ? "slots.running" : "slots.open")}</span>`}
        <span class="muted">${t(seats > 0 ? "slots.seats" : "slots.full", { count: seats })}</span>
      </p>
      ${isBooked && !isOpen && html`<p class="muted small">
        ${t(hasEnded ? "slots.hasEnded" : "slots.opensLater")}
      </p>`}
    </div>
    <${Actions} slot=${slot} booking=${booking} isBooked=${isBooked} isOpen=${isOpen} isFull=${seats <= 0}
      hasEnded=${hasEnded} title=${title} />
  </li>`;
}

// The name of a button begins with what stands on it, and says of which session it is.
function Actions({ slot, booking, isBooked, isOpen, isFull, hasEnded, title }) {
  const busy = booking.busy.value.has(slot.id);
  const act = (action, words) => async () => {
    try {
      await action();
      notify(t(words, { title, day: dayWords(slot.startTime) }), "good");
    } catch (error) {
      notify(errorWords(error), "alarm");
    }
  };
  const of = html`<span class="visually-hidden">: ${title}, ${dayWords(slot.startTime)}</span>`;
  const book = act(() => booking.book(slot), "slots.didBook");
  const cancel = act(() => booking.cancel(slot), "slots.didCancel");
  return html`<div class="slot-actions">
    ${isBooked && isOpen && html`<a class="button primary" href="#/lobby/${slot.sessionId}">
      ${t("slots.enter")}${of}</a>`}
    ${isBooked && !hasEnded && html`<${Button} className="quiet" busy=${busy} onClick=${cancel}>
      ${t("slots.cancel")}${of}<//>`}
    ${!isBooked && !isFull && html`<${Button} className="primary" busy=${busy} onClick=${book}>
      ${t("slots.book")}${of}<//>`}
  </div>`;
}

function daysOf(slots, now) {
  const days = new Map();
  for (const slot of slots) {
    const day = dayWords(slot.startTime, now);
    days.set(day, [...(days.get(day) ?? []), slot]);
  }
  return [...days];
}
