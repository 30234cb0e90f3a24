"""Files are read while others are still being listed, and it is as if all had been listed first."""

from __future__ import annotations

import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.content import content
from tests.dicom_files import write
from warehouse import parallel_listing, survey
from warehouse.errors import BucketUnreachable
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.dicom.scan import Met

OUTCOMES = ("created", "replaced", "existing", "duplicate", "rejected", "moved", "files")
SETTINGS = IngestSettings(workers=1, chunk_files=2, batch_files=5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of one file, then three."""
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 2)
    monkeypatch.setattr(survey, "FIRST_PORTION", 1)
    monkeypatch.setattr(survey, "LARGE_PORTION", 3)


def both(tmp_path: Path, *sources: Path) -> tuple[int, ...]:
    """Ingest in portions and at once; hold the warehouses equal; return what became of the files."""
    with ThreadPoolExecutor(1) as pool:
        portions = ingest(tmp_path / "portions", sources, SETTINGS, executor=pool)
    whole = ingest(tmp_path / "whole", sources, SETTINGS)
    assert content(tmp_path / "portions") == content(tmp_path / "whole")
    assert portions.rejects == whole.rejects
    found, expected = ([getattr(one, name) for name in OUTCOMES] for one in (portions, whole))
    assert found == expected
    return tuple(expected)


def thirteen_files(folder: Path) -> Path:
    """Make folders, copies, links, other files and an archive."""
    source = folder / "in"
    for number in range(5):
        write(source / "a" / f"{number}", uid=f"1.{number}")
    # By its path this comes before the folder, by name after it.
    write(source / "a-b" / "copy", uid="1.0")
    write(source / "a.b", uid="1.1")
    (source / "b").mkdir()
    (source / "b" / "text").write_text("no DICOM")
    (source / "b" / "link").symlink_to("nowhere")
    with zipfile.ZipFile(source / "c.zip", "w") as archive:
        for number in (3, 1, 2):
            archive.write(source / "a" / f"{number}", f"z/{number}")
        archive.write(write(folder / "member", uid="2.1"), "in/side")
    return source


@pytest.mark.usefixtures("small")
def test_portions_change_nothing_of_a_first_ingest(tmp_path: Path) -> None:
    assert both(tmp_path, thirteen_files(tmp_path)) == (6, 0, 0, 5, 2, 0, 13)


@pytest.mark.long("test_portions_change_nothing_of_a_first_ingest")
@pytest.mark.usefixtures("small")
def test_portions_change_nothing(tmp_path: Path) -> None:
    source = thirteen_files(tmp_path)
    assert both(tmp_path, source) == (6, 0, 0, 5, 2, 0, 13)
    write(source / "0", uid="1.4")
    write(source / "zz", uid="5.1")
    write(source / "a" / "3", uid="1.3", PatientName="longer than it was before")
    (source / "a" / "2").write_text("changed")
    created, replaced, existing, *_ = both(tmp_path, source)
    assert (created, replaced, existing) == (1, 1, 4)
    assert both(tmp_path, source)[2:] == (7, 5, 3, 0, 15)
    # Sources that overlap: a file counts once.
    assert both(tmp_path, source / "a", source, source / "zz")[-1] == 15


@pytest.mark.usefixtures("small")
def test_files_that_moved_are_known_where_they_lie_now(tmp_path: Path) -> None:
    """Known are name, size and time; the same of a file that is listed later is another one."""
    source = tmp_path / "in"
    for folder, uid in (("m", "1.1"), ("n", "1.2"), ("o", "1.3")):
        write(source / folder / "1", uid=uid)
        os.utime(source / folder / "1", (1_000_000, 1_000_000))
    ingest(tmp_path / "whole", [source], SETTINGS)
    shutil.copytree(tmp_path / "whole", tmp_path / "portions")
    (source / "a").mkdir()
    (source / "n" / "1").rename(source / "a" / "1")
    (source / "b").mkdir()
    (source / "b" / "1").write_bytes((source / "o" / "1").read_bytes())
    os.utime(source / "b" / "1", (1_000_000, 1_000_000))
    created, _, existing, duplicate, _, moved, files = both(tmp_path, source)
    assert (created, existing, duplicate, moved, files) == (0, 2, 1, 1, 4)


def test_files_are_read_while_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "FIRST_PORTION", 2)
    monkeypatch.setattr(survey, "LARGE_PORTION", 2)
    monkeypatch.setattr(survey, "FIRST_FILES", 2)
    source = tmp_path / "in"
    for number in range(10):
        write(source / f"{number}", uid=f"1.{number}")
    told = list[tuple[str, int]]()

    class Watch:
        def listed(self, files: int) -> None:
            told.append(("listed", files))

        def planned(self, files: int) -> None:
            told.append(("planned", files))

        def read(self, files: int, rejected: int) -> None:
            told.append(("read", files))

    with ThreadPoolExecutor(1) as pool:
        ingest(tmp_path / "w", [source], SETTINGS, progress=Watch(), executor=pool)
    steps = [what for what, _ in told]
    assert steps.index("read") < len(steps) - 1 - steps[::-1].index("listed")
    assert [files for what, files in told if what == "planned"] == [2, 4, 6, 8, 10]
    assert sum(files for what, files in told if what == "read") == 10


@pytest.mark.parametrize(
    "workers",
    [
        1,
        pytest.param(
            2,
            marks=pytest.mark.long("test_what_is_committed_stays_when_the_rest_cannot_be_listed"),
        ),
    ],
)
def test_what_is_committed_stays_when_the_rest_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(parallel_listing, "RUN_FILES", 2)
    monkeypatch.setattr(survey, "FIRST_PORTION", 2)
    monkeypatch.setattr(survey, "LARGE_PORTION", 2)
    monkeypatch.setattr(survey, "FIRST_FILES", 2)
    for number in range(10):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    listed = survey.walk

    def cut(*given: object, **named: object) -> Iterator[Met]:
        for number, file in enumerate(listed(*given, **named)):  # type: ignore[arg-type]
            if number == 9:
                raise BucketUnreachable("s3://b", "gone")
            yield file

    monkeypatch.setattr(survey, "walk", cut)
    with ThreadPoolExecutor(workers) as pool, pytest.raises(BucketUnreachable):
        ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS, executor=pool)
    monkeypatch.setattr(survey, "walk", listed)
    kept = len(content(tmp_path / "w")["instances"])
    assert 0 < kept < 9
    assert ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS).created == 10 - kept
    ingest(tmp_path / "clean", [tmp_path / "in"], SETTINGS)
    assert content(tmp_path / "w") == content(tmp_path / "clean")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_warehouse_made_during_the_walk_is_left_out(tmp_path: Path, workers: int) -> None:
    """Files before it are listed while it is created (docs/decisions/0024, point 17)."""
    for number in range(5):
        write(tmp_path / "in" / "a" / f"{number}", uid=f"1.{number}")
    (tmp_path / "in" / "b").mkdir()
    with ThreadPoolExecutor(workers) as pool:
        done = ingest(tmp_path / "in" / "b" / "w", [tmp_path / "in"], SETTINGS, executor=pool)
    assert (done.created, done.rejected, done.files) == (5, 0, 5)
