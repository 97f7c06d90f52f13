// What is live, at a glance.

import { html, signal } from "/static/vendor/preact.js";
import { t } from "/static/shared/i18n.js";
import { LANGUAGE_CODES, languageWords, rangeWords, sessionWords, useNow } from "/static/shared/time.js";
import { Avatar, Choice, Field, Heading, Icon } from "/static/shared/ui.js";
import { countdown, Fact, partOver, RecordingBadge, StatusBadge } from "./labels.js";

const CLOCK_MS = 1_000;

// Kept while one looks into a room and comes back.
const wanted = signal({ language: "", person: "" });

export function Rooms({ desk }) {
  const rooms = desk.rooms.value;
  return html`<main class="page" id="main" tabindex="-1">
    <div class="view-head">
      <${Heading}>${t("rooms.title")}<//>
      ${rooms?.length > 0 && html`<${Totals} rooms=${rooms} />`}
    </div>
    ${rooms === null && html`<p class="muted" role="status">${t("loading")}</p>`}
    ${rooms?.length === 0 && html`<${Nothing} />`}
    ${rooms?.length > 0 && html`<${Found} rooms=${rooms} desk=${desk} />`}
  </main>`;
}

function Totals({ rooms }) {
  const sum = (of) => rooms.reduce((total, room) => total + of(room), 0);
  return html`<p class="muted">
    ${t("rooms.count", { count: rooms.length })} · ${t("rooms.people", { count: sum((room) => room.presentCount) })} ·
    ${" "}${t("rooms.recording", { count: sum((room) => (room.recordingEnabled ? 1 : 0)) })}
  </p>`;
}

function Nothing() {
  return html`<div class="empty card">
    <${Icon} name="people" size="40" />
    <h2>${t("rooms.empty")}</h2>
    <p class="muted">${t("rooms.emptyHint")}</p>
    <a class="button" href="#/history">${t("history.title")}</a>
  </div>`;
}

function Found({ rooms, desk }) {
  const now = useNow(CLOCK_MS, () => desk.now());
  const { language, person } = wanted.value;
  const text = person.trim().toLocaleLowerCase();
  const found = rooms.filter(
    (room) =>
      (language === "" || room.targetLanguageCode === language) &&
      (text === "" || room.participants.some(({ userId }) => userId.toLocaleLowerCase().includes(text))),
  );
  const want = (change) => (wanted.value = { ...wanted.value, ...change });
  const languages = [["", t("filter.all")], ...LANGUAGE_CODES.map((code) => [code, languageWords(code)])];
  return html`
    <div class="filters" role="search">
      <${Choice} label=${t("filter.language")} value=${language} options=${languages}
        onChange=${(code) => want({ language: code })} />
      <${Field} label=${t("filter.person")} value=${person} onInput=${(name) => want({ person: name })} type="search"
        autocomplete="off" autocapitalize="none" spellcheck="false" />
    </div>
    <p class="visually-hidden" role="status">
      ${found.length < rooms.length ? t("rooms.found", { count: found.length }) : ""}
    </p>
    ${found.length === 0 && html`<p class="muted">${t("rooms.found", { count: 0 })}</p>`}
    <ul class="rooms" aria-label=${t("rooms.title")}>
      ${found.map((room) => html`<${RoomCard} key=${room.sessionId} room=${room} now=${now} />`)}
    </ul>`;
}

function RoomCard({ room, now }) {
  const { value, label } = countdown(room, now);
  return html`<li class="card room-card">
    <div class="room-top">
      <h2><a href="#/session/${room.sessionId}">${sessionWords(room)}</a></h2>
      <p class="row"><${StatusBadge} session=${room} /><${RecordingBadge} session=${room} /></p>
    </div>
    <p class="room-time">
      ${value && html`<span class="clock numbers">${value}</span>`} <span class="muted">${label}</span>
      <span class="room-range muted small numbers">${rangeWords(room.scheduledStart, room.scheduledEnd)}</span>
    </p>
    <div class="passed" aria-hidden="true"><div style=${{ width: `${100 * partOver(room, now)}%` }}></div></div>
    <${Seats} room=${room} />
    <${Facts} room=${room} />
  </li>`;
}

function Seats({ room }) {
  if (room.participants.length === 0) {
    return html`<p class="muted seats">${t("rooms.nobody")}</p>`;
  }
  return html`<ul class="seats" aria-label=${t("people.title")}>
    ${room.participants.map(
      ({ userId, status }) => html`<li key=${userId} class=${status === "disconnected" ? "is-away" : ""}>
        <${Avatar} name=${userId} />
        <span class="seat-name">${userId}</span>
        ${status === "disconnected" && html`<span class="visually-hidden">, ${t("presence.away")}</span>`}
      </li>`,
    )}
  </ul>`;
}

function Facts({ room }) {
  const seated = room.participants;
  const cameras = seated.filter(({ cameraEnabled }) => cameraEnabled).length;
  const microphones = seated.filter(({ micEnabled }) => micEnabled).length;
  const away = seated.length - room.presentCount;
  const people = { count: room.presentCount, max: room.maxParticipants };
  const consents = { count: room.consentCount, of: seated.length };
  return html`<ul class="facts numbers">
    <${Fact} icon="people" label=${t("fact.people", people)}>${people.count}/${people.max}<//>
    <${Fact} icon="camera" label=${t("fact.cameras", { count: cameras })}>${cameras}<//>
    <${Fact} icon="microphone" label=${t("fact.microphones", { count: microphones })}>${microphones}<//>
    <${Fact} icon="check" label=${t("fact.consents", consents)}>${consents.count}/${consents.of}<//>
    ${
      room.recordableCount > 0 &&
      html`<${Fact} icon="record" tone="alarm" label=${t("fact.recordable", { count: room.recordableCount })}>
        ${room.recordableCount}<//>`
    }
    ${
      away > 0 &&
      html`<${Fact} icon="warning" tone="warn" label=${t("fact.away", { count: away })}>${away}<//>`
    }
  </ul>`;
}
