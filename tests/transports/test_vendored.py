"""What comes from elsewhere: exactly the recorded files, of the pinned versions, with their licences, without eval."""

import asyncio
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ROOT / "coordinator" / "transports" / "web" / "static" / "vendor"
MANIFEST: dict[str, dict[str, Any]] = json.loads((VENDORED / "manifest.json").read_text(encoding="utf-8"))
PINNED: dict[str, str] = json.loads((ROOT / "scripts" / "vendoring" / "package.json").read_text())["dependencies"]
# The pages' scripts count on these.
EXPORTS = {
    *("h", "render", "Fragment", "createContext", "html"),
    *("useState", "useEffect", "useLayoutEffect", "useRef", "useMemo", "useCallback", "useContext", "useReducer"),
    *("signal", "computed", "effect", "batch", "useSignal", "useComputed"),
}
SHOW_EXPORTS = """
const module = await import(process.argv[1]);
const { html, h } = module;
const element = html`<p class=${"a"}>b</p>`;
console.log(JSON.stringify({ names: Object.keys(module), type: element.type, props: element.props }));
"""


def text(name: str) -> str:
    return (VENDORED / name).read_text(encoding="utf-8")


def test_every_file_is_recorded_as_it_is() -> None:
    found = {
        path.relative_to(VENDORED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDORED.rglob("*")
        if path.is_file()
    }
    by_hand = {"LICENSES.md", "manifest.json"}
    assert found.keys() - by_hand == MANIFEST.keys()
    assert {name: found[name] for name in MANIFEST} == {name: entry["sha256"] for name, entry in MANIFEST.items()}


def test_the_recorded_versions_are_the_pinned_ones() -> None:
    recorded = {package: version for entry in MANIFEST.values() for package, version in entry["from"].items()}
    assert recorded == {name: version for name, version in PINNED.items() if name != "esbuild"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in PINNED.values())


@pytest.mark.parametrize("package", sorted({name for entry in MANIFEST.values() for name in entry["from"]}))
def test_the_licences_name_every_package_with_its_version(package: str) -> None:
    assert f"{package} {PINNED[package]}" in text("LICENSES.md")


def test_what_our_pages_load_needs_no_eval_and_stands_alone() -> None:
    # What is called where there is neither `self` nor `window`, which is in no browser.
    client = text("socket.io.esm.min.js").replace('"undefined"!=typeof window?window:Function("return this")()', "")
    for script in (text("preact.js"), client):
        assert re.findall(r"\beval\(|Function\(|sourceMappingURL|\bimport\b", script) == []


async def test_the_bundle_exports_what_the_pages_import() -> None:
    node = shutil.which("node")
    assert node is not None, "scripts/test installs it"
    process = await asyncio.create_subprocess_exec(
        *(node, "--disallow-code-generation-from-strings", "--input-type=module"),
        *("--eval", SHOW_EXPORTS, str(VENDORED / "preact.js")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # older ones say there that they had to guess that it is a module
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    shown = json.loads(out)
    assert set(shown["names"]) == EXPORTS
    assert (shown["type"], shown["props"]) == ("p", {"class": "a", "children": "b"})
