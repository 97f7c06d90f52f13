"""Whether a server may let people sign in by name: only where nobody but who started it can reach anything of worth."""

from coordinator.settings import Settings
from coordinator.transports.web.demo import is_loopback


def why_no_sign_in(settings: Settings) -> str | None:
    """Return why a demo started with these settings must not let anybody sign in by name; None if it may.

    There is no setting that says so: it takes `serve --demo`, and everything that tells a trial from a production
    set-up, so nobody leaves it on by accident. `settings` are those that were given, before a secret was made up.
    """
    server, auth = settings.server, settings.auth
    reasons = {
        "mongo.url is set": settings.mongo.url is not None,
        "redis.url is set": settings.redis.url is not None,
        "auth.secret is set": auth.secret is not None,
        "auth.jwks is set": auth.jwks is not None,
        "server.workers is above 1": server.workers > 1,
        f"server.host {server.host} can be reached from other machines": not is_loopback(server.host),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
