"""All JavaScript: ESLint is content, and no line is longer than those of Python."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BROWSER = ROOT / "tests" / "browser"
ESLINT = BROWSER / "node_modules" / "eslint" / "bin" / "eslint.js"
FOLDERS = ("config", "coordinator", "scripts", "tests")
LONGEST_LINE = 120
# What comes from elsewhere, and texts in several languages: each stands in one line beside its key.
OF_ANY_LENGTH = {"vendor", "words"}


def test_eslint_is_content() -> None:
    assert ESLINT.is_file(), "this test needs ESLint: scripts/test installs it"
    command = ["node", str(ESLINT), "-c", str(BROWSER / "eslint.config.mjs"), "--max-warnings", "0", *FOLDERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_line_is_too_long() -> None:
    command = ["git", "ls-files", "*.js", "*.mjs", "*.css", "*.html"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = [name for name in tracked if OF_ANY_LENGTH.isdisjoint(Path(name).parts)]
    assert files
    too_long = [
        f"{name}:{number}: {len(line)}"
        for name in files
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]
    assert too_long == []
