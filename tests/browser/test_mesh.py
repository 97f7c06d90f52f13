"""Who calls whom in a room: the page's own modules under Node's test runner, with pretended connections."""

import asyncio
import shutil
from pathlib import Path

HERE = Path(__file__).parent
ROOM = HERE.parents[1] / "coordinator" / "transports" / "web" / "static" / "room"


async def test_the_mesh(tmp_path: Path) -> None:
    for file in (ROOM / "mesh.js", ROOM / "link.js", HERE / "mesh.test.mjs"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    process = await asyncio.create_subprocess_exec(
        "node",
        "--test",
        "mesh.test.mjs",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert "# pass 16\n" in out.decode()
