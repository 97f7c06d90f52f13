"""The secret that signs tokens where nobody has set one: made once, kept in the data directory.

For development only; must not be made where a database was named.
"""

import os
import secrets
from pathlib import Path

_FILE = "development-secret"


def read_or_make_secret(data_dir: Path) -> str:
    """Return the data directory's secret, making one that only its owner can read if there is none.

    Raises:
        OSError: The directory cannot be read or written.
    """
    path = data_dir / _FILE
    known = read_secret(data_dir)
    if known is not None:
        return known
    data_dir.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(48)
    draft = data_dir / f".{_FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(made + "\n", encoding="utf-8")
    try:
        # A link, unlike a rename, fails where another process was faster; then theirs is the secret.
        path.hardlink_to(draft)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    finally:
        draft.unlink()
    return made


def read_secret(data_dir: Path) -> str | None:
    """Return the data directory's secret, None if it has none."""
    path = data_dir / _FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else None
