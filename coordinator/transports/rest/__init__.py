"""HTTP (SPEC section 4): what can be read of sessions, and whether the process is healthy.

Reading order: `problems` (errors), `access` (who asks), `sessions`, `health`.
"""
