"""The pages and the client library: what a browser is given, without a build step (SPEC section 4, outside `/api/v1`).

Reading order: `assets` (files), `pages` (what is served and how), `demo` (signing in by name), then `client/` (the
library that hides connections) and `static/`: `shared/` is used by all pages, `room/` is the one at `/`, `console/` the
moderators'.
"""
