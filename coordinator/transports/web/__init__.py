"""The page at `/`: the room in the browser, without a build step (SPEC section 4, outside `/api/v1`).

Reading order: `pages` (what is served and how), then `static/`: `index.html`, `room.js` (the page), `visit.js` (the
connection), `state.js` (what the events add up to), `words.js` (what is said about them).
"""
