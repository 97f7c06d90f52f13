"""What the coordinator does, in terms of the domain and the ports only.

Reading order: `room` (a session in memory), `committer` (group commit: decide, write, tell), `rooms` (the registry),
`participation`, `moderation` and `recordings` (what may be asked of a session), `projector` (documents behind the
journal), `reader` (reads), `recovery` (what happens by itself), `verifier` (proof). Around the sessions: `offering` and
`occurrences` (slots, with `slot_writer`), `booking` (seats, with `counting`), `openings` and `settlement` (what becomes
of them).
"""
