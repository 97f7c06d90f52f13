// Times and lengths in words, in the language of the page and the zone of whoever looks at it.

import { useEffect, useState } from "/static/vendor/preact.js";
import { language } from "./i18n.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

// Draws again so often, and on time: `every` in milliseconds. `now` gives the time; the device's own unless told.
export function useNow(every, now = Date.now) {
  const [moment, setMoment] = useState(now);
  useEffect(() => {
    const timer = setInterval(() => setMoment(now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return moment;
}

export function timeWords(instant) {
  return format({ hour: "2-digit", minute: "2-digit" }).format(new Date(instant));
}

export function preciseTimeWords(instant) {
  return format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(instant));
}

export function dateTimeWords(instant) {
  return format({ dateStyle: "medium", timeStyle: "short" }).format(new Date(instant));
}

export function rangeWords(start, end) {
  return format({ hour: "2-digit", minute: "2-digit" }).formatRange(new Date(start), new Date(end));
}

// "Today", "Tomorrow", or the weekday and the date.
export function dayWords(instant, now = Date.now()) {
  const days = Math.round((midnight(instant) - midnight(now)) / DAY_MS); // a day may have 23 or 25 hours
  if (days === 0 || days === 1) {
    return capitalised(new Intl.RelativeTimeFormat(language.value, { numeric: "auto" }).format(days, "day"));
  }
  return capitalised(format({ weekday: "long", day: "numeric", month: "long" }).format(new Date(instant)));
}

// "in 3 minutes", "2 hours ago": as exact as it matters.
export function distanceWords(instant, now = Date.now()) {
  const distance = Date.parse(instant) - now;
  const relative = new Intl.RelativeTimeFormat(language.value, { numeric: "auto" });
  const size = Math.abs(distance);
  if (size < 2 * HOUR_MS) {
    return relative.format(Math.round(distance / MINUTE_MS), "minute");
  }
  return size < 2 * DAY_MS
    ? relative.format(Math.round(distance / HOUR_MS), "hour")
    : relative.format(Math.round(distance / DAY_MS), "day");
}

export function minutesWords(count) {
  return new Intl.NumberFormat(language.value, { style: "unit", unit: "minute" }).format(count);
}

// As on a stopwatch: 4:05, 1:04:05. Never below zero.
export function clockWords(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const pad = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

export function zoneWords() {
  const parts = format({ timeZoneName: "longGeneric" }).formatToParts(new Date());
  const { value } = parts.find((part) => part.type === "timeZoneName");
  return /^(GMT|UTC)\+00/.test(value) ? "UTC" : value;
}

// The languages that can be practised, whatever the pages themselves speak.
export const LANGUAGE_CODES = ["en", "fr", "es"];

export function languageWords(code) {
  return capitalised(new Intl.DisplayNames(language.value, { type: "language" }).of(code));
}

// What a session, or a slot, is called.
export function sessionWords({ targetLanguageCode, level }) {
  return `${languageWords(targetLanguageCode)} ${level}`;
}

export function listWords(items) {
  return new Intl.ListFormat(language.value).format(items);
}

function format(options) {
  return new Intl.DateTimeFormat(locale(), options);
}

// As people write times where they are: in English, 18:00 for some and 6:00 PM for others.
function locale() {
  return navigator.languages.find((tag) => tag.split("-")[0].toLowerCase() === language.value) ?? language.value;
}

function midnight(instant) {
  return new Date(instant).setHours(0, 0, 0, 0);
}

function capitalised(text) {
  const [first = "", ...rest] = text;
  return first.toLocaleUpperCase(language.value) + rest.join("");
}
