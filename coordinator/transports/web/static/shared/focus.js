// What has the focus may be taken away by what it did: a button that books, a banner that is done with. Browsers then
// leave the focus nowhere, and a screen reader begins at the top. Here it goes to what is nearest to where it was.

const FOCUSABLE = "a[href], button, input, select, textarea";

// root: the element that everything is drawn into.
export function keepFocus(root) {
  let path = []; // what has the focus and all that it stands in, from the inside out; empty if nothing ought to have it

  // Whoever clicks where nothing is wants nothing to have the focus. On a button, `focusin` follows.
  root.ownerDocument.addEventListener("pointerdown", () => (path = []));
  root.addEventListener("focusin", ({ target }) => (path = outwards(target, root)));

  const watch = new MutationObserver(() => {
    if (path.length > 0 && !path[0].isConnected && isNowhere(root.ownerDocument)) {
      (nearest(path) ?? headingIn(root))?.focus({ preventScroll: true });
    }
  });
  watch.observe(root, { childList: true, subtree: true });
}

function outwards(element, root) {
  const path = [];
  for (let at = element; at !== null && at !== root; at = at.parentElement) {
    path.push(at);
  }
  return path;
}

function isNowhere({ activeElement, body }) {
  return activeElement === null || activeElement === body;
}

// Within what is left of the view, or of the bar above it.
function nearest(path) {
  const left = path.filter((element) => element.isConnected && !element.matches("main, header"));
  return left.map((element) => element.querySelector(FOCUSABLE)).find((found) => found !== null);
}

// Also right when the whole view is another one: its heading takes the focus anyway.
function headingIn(root) {
  const main = root.querySelector("main");
  return main?.querySelector("h1[tabindex]") ?? main;
}
