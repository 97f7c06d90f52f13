// The language of the page: which it is, and the words in it. Knows no page; pages add their own words.
//
// Words are strings with {places}, or one string for each plural form, chosen by the value `count`.

import { effect, signal } from "/static/vendor/preact.js";
import en from "./words/en.js";
import es from "./words/es.js";
import fr from "./words/fr.js";

const STORAGE_KEY = "coordinator.language";
const WORDS = { en: { ...en }, fr: { ...fr }, es: { ...es } };

// In their own words, for the switch.
export const LANGUAGES = { en: "English", fr: "Français", es: "Español" };

export const language = signal(remembered() ?? preferred());

effect(() => {
  document.documentElement.lang = language.value;
});

// more: {en: {key: words}, fr: …, es: …}. Called once, before the first words are asked for.
export function addWords(more) {
  for (const [code, words] of Object.entries(more)) {
    Object.assign(WORDS[code], words);
  }
}

export function setLanguage(code) {
  language.value = code;
  try {
    localStorage.setItem(STORAGE_KEY, code);
  } catch {
    // The browser forbids the storage: the choice lasts as long as the page.
  }
}

// Whoever draws with this is drawn anew when the language changes.
export function t(key, values = {}) {
  const code = language.value;
  const found = WORDS[code][key];
  if (found === undefined) {
    return key;
  }
  const words = typeof found === "string" ? found : (found[pluralForm(code, values.count)] ?? found.other);
  return words.replace(/\{(\w+)\}/g, (place, name) => (name in values ? shown(code, values[name]) : place));
}

export function hasWords(key) {
  return WORDS[language.value][key] !== undefined;
}

// Words for an error by its code; what the server says about it where there are none.
export function errorWords(error) {
  const key = `error.${error.code}`;
  return hasWords(key) ? t(key) : error.message || t("error.unknown");
}

function shown(code, value) {
  return typeof value === "number" ? new Intl.NumberFormat(code).format(value) : String(value);
}

function pluralForm(code, count) {
  return new Intl.PluralRules(code).select(count);
}

function remembered() {
  try {
    const code = localStorage.getItem(STORAGE_KEY);
    return code in LANGUAGES ? code : undefined;
  } catch {
    return undefined;
  }
}

function preferred() {
  const codes = navigator.languages.map((tag) => tag.split("-")[0].toLowerCase());
  return codes.find((code) => code in LANGUAGES) ?? "en";
}
