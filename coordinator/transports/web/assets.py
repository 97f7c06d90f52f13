"""The files that browsers are given: read once, compressed once, and told apart by their content.

Owns bytes, content types, ETags and compression; must not know which page needs which file, nor HTTP routes.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
"""By suffix, whatever the system's own table says. A file of any other kind is not served."""


@dataclass(frozen=True)
class Asset:
    """One file.

    Attributes:
        content: Its bytes.
        content_type: The media type.
    """

    content: bytes
    content_type: str

    @cached_property
    def compressed(self) -> bytes:
        """The same, by gzip. Made when it is first asked for, without a time: equal content gives equal bytes."""
        return gzip.compress(self.content, compresslevel=9, mtime=0)

    @cached_property
    def etag(self) -> str:
        """Names the content; not quoted. What is compressed has another one, with `-gzip` at its end."""
        return hashlib.sha256(self.content).hexdigest()[:32]


def read_assets(directory: Path) -> dict[str, Asset]:
    """Read what may be served of a directory, by its path below it, with `/` on every system.

    Links are passed over, so nothing outside the directory can be reached.
    """
    return {
        path.relative_to(directory).as_posix(): Asset(path.read_bytes(), CONTENT_TYPES[path.suffix])
        for path in sorted(directory.rglob("*"))
        if path.suffix in CONTENT_TYPES and path.is_file() and not path.is_symlink()
    }
