// What ESLint demands of all JavaScript of this repository. Run from its top, as tests/architecture does:
//
//   tests/browser/node_modules/.bin/eslint -c tests/browser/eslint.config.mjs config coordinator scripts tests

import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";

const readonly = (...names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

// Those that are used. All that a browser has would hide mistakes: `name`, `event` and `status` are among them.
const ANYWHERE = readonly(
  "AbortSignal", "Event", "EventTarget", "TextDecoder", "URL", "URLSearchParams", "atob", "clearInterval",
  "clearTimeout", "console", "crypto", "fetch", "performance", "queueMicrotask", "setInterval", "setTimeout",
);
const BROWSER = readonly(
  "AnalyserNode", "AudioContext", "MediaDevices", "MediaStream", "MutationObserver", "RTCPeerConnection",
  "addEventListener", "document", "history", "localStorage", "location", "navigator", "removeEventListener",
  "requestAnimationFrame", "sessionStorage", "window",
);
const NODE = readonly("Buffer", "process", "setImmediate");
const MONGO_SHELL = readonly("db", "rs", "sleep");

export default defineConfig([
  globalIgnores([
    "coordinator/transports/web/static/vendor/", // made elsewhere
    "tests/transports/node/readme-*", // examples of the README, there only while a test runs them
  ]),
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    // The newest syntax that browsers of some years ago and Node 18 know. The client library has no more than this.
    languageOptions: { ecmaVersion: 2022, globals: ANYWHERE },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "error",
      curly: "error",
      eqeqeq: "error",
      "logical-assignment-operators": "error",
      "no-duplicate-imports": "error",
      "no-else-return": "error",
      "no-implicit-globals": "error",
      "no-param-reassign": "error",
      "no-shadow": "error",
      "no-throw-literal": "error",
      // Only where it would fail: what is called later may stand later.
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-useless-rename": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-arrow-callback": "error",
      "prefer-const": "error",
      "prefer-promise-reject-errors": "error",
      "prefer-template": "error",
    },
  },
  { files: ["coordinator/transports/web/static/**"], languageOptions: { globals: BROWSER } },
  { files: ["**/*.mjs", "scripts/**"], languageOptions: { globals: NODE } },
  // Given to pages as text by person.py, which puts a number in the place of a name.
  {
    files: ["tests/browser/*.js"],
    languageOptions: { sourceType: "script", globals: { ...BROWSER, ...readonly("__PERSON__") } },
  },
  { files: ["config/deploy/*.js"], languageOptions: { sourceType: "script", globals: MONGO_SHELL } },
]);
