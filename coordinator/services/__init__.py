"""What the coordinator does, in terms of the domain and the ports only.

Reading order: `room` (a session in memory), `committer` (group commit: decide, write, tell), `rooms` (the registry),
`participation` (what participants may ask), `projector` (documents behind the journal), `openings` and `recovery` (what
happens by itself), `reader` (reads over HTTP), `verifier` (proof).
"""
