"""The vendored files are those that their manifest names, and the pages' licences name the same versions."""

import hashlib
import json
import re
from pathlib import Path

from coordinator.transports.web import pages

VENDOR = Path(pages.__file__).parent / "static" / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))


def test_every_file_is_as_it_was_made() -> None:
    kept = {"LICENSES.md", "manifest.json"}
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert there - kept == set(MANIFEST)
    for name, made in MANIFEST.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == made["sha256"], name


def test_the_licences_name_what_is_there() -> None:
    licences = (VENDOR / "LICENSES.md").read_text(encoding="utf-8")
    for made in MANIFEST.values():
        for package, version in made["from"].items():
            assert re.search(rf"^## .*{re.escape(package)} {re.escape(version)}\b", licences, re.MULTILINE), package


def test_nothing_is_made_of_text_while_it_runs() -> None:
    assert not re.search(r"\beval\(|new Function\(", (VENDOR / "preact.js").read_text(encoding="utf-8"))
