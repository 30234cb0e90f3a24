"""The wheel alone, in an empty environment outside the checkout, does what the checkout does."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pydicom.data
import pytest
from hatchling.build import build_wheel

ROOT = Path(__file__).parents[1]
SAMPLES = Path(pydicom.data.__path__[0]) / "test_files" / "dicomdirtests"
VOLUME = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"


def done(*command: object, cwd: Path, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    ran = subprocess.run(
        [*map(str, command)], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both distributions, the wheel made from the sdist alone."""
    out, unpacked = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("sdist")
    done(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=ROOT)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=source)
    return out


def test_what_is_in_a_wheel_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form: made in this process, without the sdist."""
    monkeypatch.chdir(ROOT)
    look_into(tmp_path / build_wheel(str(tmp_path)))


@pytest.mark.long("test_what_is_in_a_wheel_of_the_checkout")
def test_what_is_in_the_wheel_and_the_sdist(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    look_into(wheel)
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE", "README.md", "SECURITY.md", "CITATION.cff", "CHANGELOG.md", "Makefile",
        "pyproject.toml", "docs/licences.md", "locks/dev.txt", "tests/test_wheel.py",
    } <= inside  # fmt: skip


def look_into(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = archive.read(metadata).decode()
    top = {name.partition("/")[0] for name in names}
    assert {"warehouse", "pipelines"} == {name for name in top if not name.endswith(".dist-info")}
    sql = {path.relative_to(ROOT / "sql").as_posix() for path in (ROOT / "sql").rglob("*.sql")}
    assert {f"warehouse/_sql/{name}" for name in sql} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "\nLicense-Expression: Apache-2.0\n" in said


def used(python: Path, folder: Path) -> None:
    """Do with the installed package what people do first."""
    command = python.parent / "dicom-warehouse"
    where = done(python, "-c", "import warehouse; print(warehouse.__file__)", cwd=folder)
    assert "site-packages" in where
    assert not Path(where.strip()).is_relative_to(ROOT)
    said = done(command, "ingest", SAMPLES, "-w", "w", cwd=folder)
    assert "83 created" in said
    question = "select count(*) as n from series where Modality = 'MR'"
    assert '"n":7' in done(command, "sql", question, "-w", "w", "--format", "json", cwd=folder)
    assert "slice 5, row 16, column 16" in done(command, "volume", VOLUME, "-w", "w", cwd=folder)
    done(python.parent / "dagster", "definitions", "validate", "-m", "pipelines.definitions",
         cwd=folder, DAGSTER_HOME=str(folder))  # fmt: skip


@pytest.mark.long("test_what_is_in_a_wheel_of_the_checkout")
def test_the_wheel_works_beside_the_dependencies_of_the_tests(built: Path, tmp_path: Path) -> None:
    """The short form: an environment with the wheel, and the packages of this one behind it."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site-packages")
    told = """if True:
        import warehouse, pipelines.definitions as d, warehouse.sqlfiles as s
        print(warehouse.__file__, len(s.read_models()), bool(d.defs))
    """
    found = done(sys.executable, "-P", "-c", told, cwd=tmp_path,
                 PYTHONPATH=str(tmp_path / "site-packages"))  # fmt: skip
    path, models, defined = found.split()
    assert Path(path).is_relative_to(tmp_path)
    assert int(models) > 50
    assert defined == "True"


@pytest.mark.soak
def test_the_wheel_alone_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """Its dependencies come from the package index, in the versions of the lock."""
    (wheel,) = built.glob("*.whl")
    done(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    done(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile",
         "--disable-pip-version-check", f"{wheel}[pixels,pipelines]",
         "--constraint", constraints(tmp_path), cwd=tmp_path)  # fmt: skip
    used(python, tmp_path)


def constraints(folder: Path) -> Path:
    """The versions of the lock without hashes, which a wheel of ours cannot have."""
    lines = (ROOT / "locks" / "dev.txt").read_text(encoding="utf-8").splitlines()
    kept = [line.rstrip(" \\") for line in lines if line[:1].isalnum()]
    # extras are not allowed in constraints
    made = folder / "constraints.txt"
    made.write_text(
        "\n".join(
            line.replace(line[line.find("[") : line.find("]") + 1], "")
            if "[" in line.partition("=")[0]
            else line
            for line in kept
        )
    )
    return made
