"""The wheel: who installs it has all that is in the repository, and runs it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest

from tests.processes.server import ServerProcess

_ROOT = Path(__file__).resolve().parents[2]
_PATHS = [
    *("/", "/console", "/docs", "/docs/messages"),
    *("/static/room/app.js", "/static/shared/ui.js", "/static/vendor/preact.js", "/client/coordinator-client.d.ts"),
    *("/openapi.json", "/asyncapi.json"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory], cwd=_ROOT, check=True)
    (path,) = directory.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    package = (path for path in (_ROOT / "coordinator").rglob("*") if path.is_file() and path.suffix != ".pyc")
    held = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(held) == sorted(path.relative_to(_ROOT).as_posix() for path in package)


def test_it_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    described = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "coordinator = coordinator.cli:main" in wheel.read(described["entry_points.txt"]).decode()
    assert wheel.read(described["licenses/LICENSE"]) == (_ROOT / "LICENSE").read_bytes()


@pytest.fixture
def alone(wheel: zipfile.ZipFile, tmp_path: Path) -> dict[str, str]:
    """Variables with which Python finds the package of the wheel, and not that of the repository."""
    installed = tmp_path / "installed"
    wheel.extractall(installed)
    # Without the second one, the working directory would go first.
    variables = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    where = [sys.executable, "-c", "import coordinator; print(coordinator.__file__)"]
    found = subprocess.run(where, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(installed)
    return variables


async def test_it_runs_on_its_own(alone: dict[str, str], tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", None, **alone)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as http:
            statuses = {path: (await http.get(path)).status for path in _PATHS}
    finally:
        await server.stop()
    assert statuses == dict.fromkeys(_PATHS, 200)
