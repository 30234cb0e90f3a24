"""What images, archives and reports from outside try: nothing outside changes, nothing is mixed up."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, CT2, function
from tests.algorithms.running import found, modes, ready
from tests.algorithms.tiny_images import archive
from warehouse.algorithms import container, output_folder, sessions
from warehouse.algorithms.archives import read_archive
from warehouse.algorithms.bubblewrap import Bubblewrap
from warehouse.algorithms.container import MAX_OUTPUT_DEPTH, exceeded_limit
from warehouse.algorithms.scratch import clear_folder
from warehouse.algorithms.submitting import signature_of
from warehouse.components.values import Given
from warehouse.errors import AlgorithmError, ArchiveRefused, OutputRefused


def links(*pairs: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, target in pairs:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def test_links_of_a_model_change_nothing_outside(tiny: warehouse.Warehouse, tmp_path: Path) -> None:
    ready("bwrap")
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.write_text("x")
    folder.mkdir()
    secret.chmod(0o600)
    folder.chmod(0o700)
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as tar:
        for name, target in (("weights.bin", secret), ("more", folder)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, str(target)
            tar.addfile(member)
    parts = tiny.algorithms
    weights = parts.add_model(tmp_path / "m.tar.gz", parent="linked").artifact_id
    image = parts.find("look-exec").image_id
    parts.create("linked", "mode -> look", image=image, model=weights, requires_memory_gb=4)
    modes(tiny, "s", "look")
    parts.run("linked", of_set="s", runner="bwrap", seconds=60)
    assert sorted(found(tiny, "look")["model"]) == ["more", "weights.bin"]
    assert [path.stat().st_mode & 0o777 for path in (secret, folder)] == [0o600, 0o700]


def test_links_of_an_image_make_nothing_outside(tmp_path: Path) -> None:
    ready("bwrap")
    (tmp_path / "host").mkdir()
    layer = links(("var", str(tmp_path / "host")), ("opt", "../../../../host"), ("home", "/var"))
    path = archive(tmp_path / "i.tar", layer=layer)
    image = read_archive(path)
    Bubblewrap(tmp_path / "images").load(path, image)
    assert list((tmp_path / "host").iterdir()) == []
    assert (tmp_path / "images" / image.sha256 / "root" / "host" / "ml" / "model").is_dir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("input"))
    path = archive(tmp_path / "j.tar", layer=buffer.getvalue())
    with pytest.raises(ArchiveRefused, match="files where folders are needed"):
        Bubblewrap(tmp_path / "images").load(path, read_archive(path))


def test_what_a_living_process_wrote_is_copied_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "images").mkdir(parents=True)
    target.mkdir()
    with (source / "images" / "hole.mha").open("wb") as file:
        file.truncate(8 << 30)
    (source / "a.json").write_text("123")
    (source / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe.json")
    monkeypatch.setattr(output_folder, "MAX_BYTES", 4 << 30)
    sessions._copy_outputs(source, target)
    copied = (target / "images" / "hole.mha").stat()
    assert (copied.st_size, copied.st_blocks) == (8 << 30, 0)  # its size is what is refused
    assert sorted(path.name for path in target.iterdir()) == ["a.json", "images", "link.json"]
    assert (target / "link.json").is_symlink()
    # One that grows is copied as long as it was when it was looked at.
    growing = io.BytesIO(b"x" * 100)
    copy = io.BytesIO()
    sessions._copy_bytes(growing, copy, 40)
    assert copy.getvalue() == b"x" * 40


def test_folders_deeper_than_python_recurses_are_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a lower limit of recursion, so that pytest can remove what a failure would leave."""
    task, outside = tmp_path / "task", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (task / "output").mkdir(parents=True)
    (task / "link").symlink_to(outside)
    current = os.open(task / "output", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("a", dir_fd=current)
        inner = os.open("a", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.fchmod(current, 0)
    os.close(current)
    (task / "locked" / "inner").mkdir(parents=True)
    (task / "locked").chmod(0)
    levels = f"The outputs have more than {MAX_OUTPUT_DEPTH} levels of folders"
    (tmp_path / "copy").mkdir()
    limit, frame, frames = sys.getrecursionlimit(), sys._getframe(), 0
    while frame := frame.f_back:
        frames += 1
    try:
        sys.setrecursionlimit(frames + 200)
        assert exceeded_limit(task / "output") == levels
        with pytest.raises(AlgorithmError, match=levels):
            sessions._copy_outputs(task / "output", tmp_path / "copy")
        clear_folder(task)
    finally:
        sys.setrecursionlimit(limit)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "outside"]
    assert (outside / "kept").exists()
    monkeypatch.setattr(container, "MAX_OUTPUT_FILES", 2)
    for name in ("b", "c", "d"):
        (outside / name).mkdir()
    assert exceeded_limit(outside) == "The outputs exceed the limit of files or bytes"


@pytest.mark.parametrize("runner", ["bwrap"])
def test_what_a_case_left_is_no_output_of_the_next(
    tiny: warehouse.Warehouse, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rootless engines map users: a folder of a case may not be ours to empty."""
    ready(runner)
    monkeypatch.setattr(sessions, "clear_folder", lambda folder: None)
    remove = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "look.json" and "session" in str(path):
            raise PermissionError
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    tiny.components.create_socket(title="Number", kind="INT", relative_path="number.json")
    image = tiny.algorithms.find("look-invoke").image_id
    tiny.algorithms.create("many", "mode, number -> look", image=image, requires_memory_gb=4)
    parts = tiny.components
    mode = parts.add_value("mode", "count").value_id
    for number in range(2):
        value = parts.add_value("number", number).value_id
        parts.put("s", f"{number}", {"mode": mode, "number": value})
    assert tiny.algorithms.run("many", of_set="s", runner=runner, workers=1).succeeded == 2
    looked = [found(tiny, f"{n}") for n in range(2)]
    # Another process, in folders that are empty.
    assert [each["cases"] for each in looked] == [1, 1]


def test_a_report_that_is_malformed_is_refused(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("away", "ct -> voxel-count", api_method="external")
    spec = parts.submit("away", {}, series={"ct": CT})
    parts.claim(spec.job_id)
    good = {"pk": spec.job_id, "return_code": 0}

    def report(body: bytes, signature: str | None = None) -> None:
        parts.report(spec.job_id, body, signature or signature_of(body, spec.signing_key), tmp_path)

    for change in (
        {"return_code": "none"}, {"return_code": True}, {"return_code": 1e400},
        {"return_code": 1 << 70}, {"exec_duration": "long"}, {"invoke_duration": float("nan")},
        {"invoke_duration": -1}, {"exec_duration": 10**400},
    ):  # fmt: skip
        with pytest.raises(OutputRefused, match=next(iter(change))):
            report(json.dumps(good | change).encode())
    for body in (b"[" * 100_000, b"\xff", b"null"):
        with pytest.raises(OutputRefused, match="not a JSON object of this job"):
            report(body)
    with pytest.raises(OutputRefused, match="signature"):
        report(json.dumps(good).encode(), "é" * 64)
    (tmp_path / "count.json").write_text("3")
    report(json.dumps(good | {"exec_duration": 2}).encode())
    assert wh.sql("select label, exec_seconds from jobs").fetchall() == [("Succeeded", 2.0)]


METHODS = "warehouse.algorithms.methods"
INTERFACE = "predictions-json-file -> metrics-json-file"


def test_an_evaluation_names_what_is_missing(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """The short form of both that follow: one case, whose newest version has not been run."""
    parts = wh.algorithms
    code = tmp_path / "measure.py"
    code.write_text("def run(case):\n    return {'mean-value': 1.5, 'voxel-count': 60}\n")
    parts.create("measure", "ct -> mean-value, voxel-count", function=f"{code}:run")
    parts.create("right", INTERFACE, kind="evaluation", function=f"{METHODS}:classification")
    parts.run("measure", [CT], workers=0)
    wh.components.add_values([
        Given(slug, value, about="series", about_key=CT, added_by="both")
        for slug, value in (("voxel-count", 60), ("mean-value", 1.5))
    ])  # fmt: skip
    report = parts.evaluate("right", "measure", truth="both")
    assert (report.succeeded, report.failed) == (0, 1)
    assert "is of mean-value, voxel-count" in next(iter(report.failures.values()))
    code.write_text("def run(case):\n    return {'mean-value': 2.5, 'voxel-count': 60}\n")
    parts.create("measure", "ct -> mean-value, voxel-count", function=f"{code}:run")
    with pytest.raises(AlgorithmError, match="1 of 1 cases.*by version 1, not 2.*measure@1"):
        parts.evaluate("right", "measure", truth="both")


@pytest.mark.long("test_an_evaluation_names_what_is_missing")
def test_an_evaluation_compares_one_output_of_every_case(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    parts = wh.algorithms
    parts.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    for name in ("classification", "segmentation"):
        parts.create(name, INTERFACE, kind="evaluation", function=f"{METHODS}:{name}")
    parts.run("measure", [CT, CT2], workers=0)

    def refused(method: str, truth: str) -> str:
        report = parts.evaluate(method, "measure", truth=truth)
        assert (report.succeeded, report.failed) == (0, 1)
        return next(iter(report.failures.values()))

    said = [
        (slug, value, series, by)
        for series in (CT, CT2)
        for slug, value, by in (
            ("voxel-count", 60, "all"),
            ("voxel-count", 60, "both"),
            ("mean-value", 1.5, "both"),
        )
    ]
    said += [("voxel-count", 60, CT, "half"), ("mean-value", 1.5, CT2, "half")]
    wh.components.add_values([
        Given(slug, value, about="series", about_key=series, added_by=by) for slug, value, series, by in said
    ])  # fmt: skip
    assert parts.evaluate("classification", "measure", truth="all").succeeded == 1
    assert "is of mean-value, voxel-count" in refused("classification", "both")
    assert "is of mean-value, voxel-count" in refused("classification", "half")
    assert "that is an image; it is of none" in refused("segmentation", "all")


@pytest.mark.long("test_an_evaluation_names_what_is_missing")
def test_an_evaluation_is_of_one_version(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    parts = wh.algorithms
    for number in (1, 2):
        code.write_text(f"def run(case):\n    return {{'voxel-count': {number}}}\n")
        parts.create("mine", "ct -> voxel-count", function=f"{code}:run")
        if number == 1:
            parts.run("mine", [CT, CT2], workers=0)
    parts.create("right", INTERFACE, kind="evaluation", function=f"{METHODS}:classification")
    for series in (CT, CT2):
        wh.add_value("voxel-count", 1, series=series, by="reader")
    # The newest version has not been run: its name would be on what the other found.
    with pytest.raises(AlgorithmError, match="2 of 2 cases.*by version 1, not 2.*mine@1"):
        parts.evaluate("right", "mine", truth="reader")
    assert parts.evaluate("right", "mine@1", truth="reader").succeeded == 1
    parts.run("mine", [CT], workers=0)
    for name in ("mine", "mine@1"):
        with pytest.raises(AlgorithmError, match="1 of 2 cases"):
            parts.evaluate("right", name, truth="reader")
    parts.run("mine", [CT2], workers=0)
    assert parts.evaluate("right", "mine", truth="reader").succeeded == 1
    # A leaderboard: the places of two, of which one is wrong in every case; and of equals.
    board = wh.sql("""
        select item, cast(value -> '$.aggregates.accuracy' as double) as accuracy,
            rank() over (order by accuracy desc nulls last) as place
        from jobs join job_outputs using (job_id) where kind = 'evaluation' order by place, item
    """).fetchall()
    assert board == [("mine@1", 1.0, 1), ("mine@2", 0.0, 2)]


def test_an_image_that_is_not_compared_is_told(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    code = tmp_path / "four.py"
    code.write_text(
        "import numpy as np\n\n\ndef run(case):\n"
        "    return {'mask': np.zeros((1, *case['ct'].shape), 'u1')}\n"
    )
    wh.algorithms.create("four", "ct -> mask", function=f"{code}:run")
    assert wh.algorithms.run("four", [CT], workers=0).succeeded == 1
    ((said,),) = wh.sql("select detailed_error_message from jobs").fetchall()
    assert json.loads(said)["Mask"].startswith("it was not compared with the input series")


CANCELS = """
import warehouse

def run(case):
    wh = warehouse.open({root!r})
    ((job_id,),) = wh.sql("select job_id from jobs where series_key = $1", [case.series_key]).fetchall()
    wh.algorithms.cancel(job_id, by="me")
    return {{"voxel-count": 1}}
"""


def test_a_job_that_is_cancelled_while_it_runs_brings_nothing(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    code = tmp_path / "cancels.py"
    code.write_text(CANCELS.format(root=str(wh.root)))
    wh.algorithms.create("cancels", "ct -> voxel-count", function=f"{code}:run")
    report = wh.algorithms.run("cancels", [CT], workers=0)
    assert (report.succeeded, report.failed, report.cancelled) == (0, 0, 1)
    assert wh.sql("select count(*) from job_outputs").fetchall() == [(0,)]


@pytest.mark.long("test_a_job_that_is_cancelled_while_it_runs_brings_nothing")
def test_a_job_that_is_cancelled_brings_nothing(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    code = tmp_path / "cancels.py"
    code.write_text(CANCELS.format(root=str(wh.root)))
    parts = wh.algorithms
    parts.create("cancels", "ct -> voxel-count", function=f"{code}:run")
    # Before it is executed: no run takes it up, unless it is asked for again.
    parts.queue("cancels", [CT])
    ((first,),) = wh.sql("select job_id from jobs").fetchall()
    parts.cancel(first)
    assert parts.run("cancels", [CT], workers=0).done_before == 1
    # While it is executed: its outputs are not kept, whatever it returns.
    report = parts.run("cancels", [CT2], workers=0)
    assert (report.succeeded, report.failed, report.cancelled) == (0, 0, 1)
    rows = "select status, voxel_count, why_not from outputs('cancels')"
    assert wh.sql(rows).fetchall() == [("Cancelled", None, "the job is in state Cancelled")] * 2
    assert wh.sql("select count(*) from job_outputs").fetchall() == [(0,)]
    code.write_text("def run(case):\n    return {'voxel-count': 1}\n")
    parts.create("cancels", "ct -> voxel-count", function=f"{code}:run")
    assert parts.run("cancels", [CT, CT2], workers=0).succeeded == 2


@pytest.mark.long("test_an_evaluation_names_what_is_missing")
def test_an_evaluation_waits_until_it_is_replaced(wh: warehouse.Warehouse) -> None:
    """A waiting evaluation is active, so those that nobody continues would reach the limit."""
    parts = wh.algorithms
    parts.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    parts.create("right", INTERFACE, kind="evaluation", function=f"{METHODS}:classification")
    parts.queue("measure", [CT, CT2])
    with pytest.raises(AlgorithmError, match="2 jobs of measure must end"):
        parts.evaluate("right", "measure", truth="reader")
    parts.run("measure", [CT], workers=0)
    with pytest.raises(AlgorithmError, match="1 job of measure must end"):
        parts.evaluate("right", "measure", truth="reader")
    labels = "select label from jobs where kind = 'evaluation' order by created_at"
    wh.refresh()
    assert wh.sql(labels).fetchall() == [("Cancelled",), ("Executing Algorithm",)]
    parts.run("measure", [CT2], workers=0)
    for series in (CT, CT2):
        wh.add_value("voxel-count", 1, series=series, by="reader")
    assert parts.evaluate("right", "measure", truth="reader").succeeded == 1
    wh.refresh()
    assert wh.sql(labels).fetchall() == [("Cancelled",), ("Cancelled",), ("Succeeded",)]
