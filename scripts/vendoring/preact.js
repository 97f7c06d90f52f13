// What the pages use of preact and its companions, as one module. `scripts/vendor` makes static/vendor/preact.js of it.

import htm from "htm";
import { h } from "preact";

export { Fragment, createContext, h, render } from "preact";
export {
  useCallback, useContext, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "preact/hooks";
export { batch, computed, effect, signal, useComputed, useSignal } from "@preact/signals";
export const html = htm.bind(h);
