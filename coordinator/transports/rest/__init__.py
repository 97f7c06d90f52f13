"""HTTP (SPEC section 4).

Reading order: `operations` (what an operation is), `time_slots` (what some look like), `dispatch` (how they are
served), `incoming`, `access`, `idempotency` and `problems` (the steps of that), `openapi` (how they are described),
`api` (all of them together).
"""
