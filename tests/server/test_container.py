"""The container recipe of docs/how-to/serve.md, by podman and runc, on this machine's Python instead of a base image.

What is fetched from elsewhere (FROM, RUN pip install) is left out; user, volume, ports, command and stop are those of the page.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse
from tests.programs import needed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
ASK = (
    "import json, urllib.request as u; "
    "r = u.Request('http://127.0.0.1:8042/api/v1/listeners', headers={'Authorization': 'Bearer ' + __import__('sys').argv[1]}); "
    "print(u.urlopen(r, timeout=20).read().decode())"
)


def podman(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        [needed("podman"), "--runtime", needed("runc"), *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout


def system_root() -> bytes:
    """Return a root file system with mount points for this machine's programs, and the user of the recipe."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def add(name: str, mode: int, owner: int = 0, content: bytes | None = None) -> None:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid = mode, owner, owner
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content) if content is not None else None)

        for name in ("usr", "etc", "proc", "sys", "dev", "run"):
            add(name, 0o755)
        add("tmp", 0o1777)
        add("home", 0o755)
        add("home/dicom", 0o755, 1000)
        add("data", 0o755, 1000)
        add(
            "etc/passwd",
            0o644,
            content=b"root:x:0:0::/:/bin/sh\ndicom:x:1000:1000::/home/dicom:/bin/sh\n",
        )
        add("etc/group", 0o644, content=b"root:x:0:\ndicom:x:1000:\n")
        for name in ("bin", "lib", "lib64", "sbin"):
            place = Path("/") / name
            if place.is_symlink():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(info)
    return out.getvalue()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of the recipe's metadata; the name of it."""
    if not Path("/bin").is_symlink():
        pytest.skip("the system has no merged /usr")
    (text,) = re.findall(r"```dockerfile\n(.*?)```", PAGE, re.DOTALL)
    assert "useradd --create-home --uid 1000 dicom" in text
    assert "'dicom-warehouse[server,dimse]'" in text
    kept = re.sub(r"^(FROM|RUN) .*\n", "", text, flags=re.MULTILINE)
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "root.tar").write_bytes(system_root())
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nADD root.tar /\nENV PATH={Path(sys.executable).parent}:/usr/bin:/bin\n{kept}"
    )
    name = f"dicom-warehouse-test-{uuid.uuid4().hex[:12]}"
    podman("build", "--network", "none", "-t", name, str(folder))
    yield name
    podman("rmi", "-f", name)


@pytest.mark.slow
def test_the_recipe_serves_and_stops(recipe: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    inside = {Path("/usr"), ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve()}
    mounts = [
        word for place in sorted(inside) if not any(place != other and place.is_relative_to(other) for other in inside)
        for word in ("-v", f"{place}:{place}:ro")
    ]  # fmt: skip
    # The limits of podman itself are more than a container within a container may set.
    bounds = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    given = ("--network", "none", *bounds, *mounts, "-v", f"{data}:/data", "--pull", "never")
    add = ("dicom-warehouse", "token", "add", "viewer", "--tokens", "/data/tokens.json")
    assert " ".join(add) in PAGE
    secret = podman("run", "--rm", *given, recipe, *add).strip()
    podman("run", "-d", "--name", recipe, *given, recipe)
    try:
        for _ in range(200):
            told = subprocess.run(
                [needed("podman"), "--runtime", needed("runc"), "exec", recipe, sys.executable, "-c", ASK, secret],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            if told.returncode == 0:
                break
            time.sleep(0.2)
        else:
            pytest.fail(podman("logs", recipe))
        (state,) = json.loads(told.stdout)
        assert (state["aet"], state["port"], state["is_running"]) == ("WAREHOUSE", 11112, True)
        podman("stop", "-t", "30", recipe)
        code = podman("inspect", "--format", "{{.State.ExitCode}}", recipe).strip()
        assert code in {"0", "143"}
    finally:
        podman("rm", "-f", recipe)
    owner = (data / "archive" / "warehouse.json").stat()
    assert owner.st_uid != 0
    assert warehouse.open(data / "archive").sql("select count(*) from files").fetchall() == [(0,)]
