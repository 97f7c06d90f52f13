"""The shape of the house: layers, strict tools, generated texts, small modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LONGEST_MODULE = 450

MODULES = sorted((ROOT / "coordinator").rglob("*.py"))
OTHERS = sorted(
    path for top in ("scripts", "tests") for path in (ROOT / top).rglob("*.py") if "node_modules" not in path.parts
)


@pytest.mark.parametrize(
    "command",
    [
        ["lint-imports"],
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_the_strict_tools_are_content(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_generated_parts_of_the_map_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/diagrams.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_small(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module says what it owns"
    assert text.count("\n") <= LONGEST_MODULE


def test_tests_and_scripts_stay_small_too() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in OTHERS}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}


def test_the_map_names_every_package() -> None:
    text = (ROOT / "coordinator" / "README.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in MODULES if path.name == "__init__.py"} - {"coordinator"}
    assert {name for name in packages if f"{name}/" not in text} == set()


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.fail("this test looks at what git tracks; run it in a git checkout")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    allowed = {"pyproject.toml", "coordinator", "tests", "config", "scripts", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} <= allowed
