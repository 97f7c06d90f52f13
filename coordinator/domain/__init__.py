"""The rules of sessions and of the slots that they come from, as pure functions: no I/O, no clock, no randomness.

Reading order: `model` (the data), `events` and `commands` (the words), `transitions` (the table), `state` and `evolve`
(what the words do), `decide` and `deadlines` (which words may be said), `pseudonyms` and `ledger` (how they are written
down), `erasure` (how a user is taken out again). Beside them: `slots`, `recurrence` and `series` (what is offered, and
how it repeats).
"""
