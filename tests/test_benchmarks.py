"""The benchmarks: their files are what they claim, and the runner works. Nothing is timed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

import warehouse
from benchmarks import corpus

ROOT = Path(__file__).parents[1]


def digest_of(folder):
    """Digest names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.dcm")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "files"
    return folder, corpus.make_corpus(folder, 300)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few") / "files"
    return folder, corpus.make_corpus(folder, 60)


def test_the_same_seed_gives_the_same_bytes(few, tmp_path):
    folder, statistics = few
    again = corpus.make_corpus(tmp_path / "again", 60)
    other = corpus.make_corpus(tmp_path / "other", 60, seed=2)
    assert again.digest == statistics.digest != other.digest
    assert digest_of(folder) == digest_of(tmp_path / "again") != digest_of(tmp_path / "other")


def test_the_number_of_files_is_the_one_asked_for(made):
    folder, statistics = made
    assert statistics.files == len(list(folder.rglob("*.dcm"))) == 300
    assert statistics.total_bytes == sum(path.stat().st_size for path in folder.rglob("*.dcm"))


@pytest.mark.parametrize(
    "which",
    [
        "few",
        pytest.param(
            "made", marks=pytest.mark.long("test_every_file_is_valid_and_of_its_own_instance")
        ),
    ],
)
def test_every_file_is_valid_and_of_its_own_instance(request, which):
    folder, statistics = request.getfixturevalue(which)
    uids, series = set(), {}
    elements = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert len(dataset.PixelData) == dataset.Rows * dataset.Columns * 2
        assert pydicom.uid.UID(dataset.SOPInstanceUID).is_valid
        assert len(dataset.ImagePositionPatient) == 3 if "ImagePositionPatient" in dataset else True
        uids.add(dataset.SOPInstanceUID)
        # One encoding and one study for each series.
        kind = (dataset.file_meta.TransferSyntaxUID, dataset.StudyInstanceUID, dataset.PatientID)
        assert series.setdefault(dataset.SeriesInstanceUID, kind) == kind
        without_pixels = sum(1 for element in dataset.iterall() if element.tag != 0x7FE00010)
        elements.append(without_pixels + len(dataset.file_meta))
    assert len(uids) == statistics.files == {"few": 60, "made": 300}[which]
    assert len(series) == statistics.series
    # Icons have pixel data too, which are left out here and not there.
    assert sum(statistics.per_file("elements")) == pytest.approx(sum(elements), rel=0.01)
    assert 100 <= min(elements) <= max(elements) <= 250


def test_a_fifth_of_the_series_is_implicit(made):
    _, statistics = made
    assert statistics.implicit_series / statistics.series == pytest.approx(0.2, abs=0.03)
    assert statistics.implicit_files / statistics.files == pytest.approx(0.2, abs=0.1)


def test_every_template_occurs(made):
    _, statistics = made
    assert {name for name, _ in statistics.uses} == {
        path.rpartition("/")[2] for _, path in corpus.PACKAGED
    }


def test_own_files_can_be_templates(tmp_path):
    samples = Path(pydicom.data.__path__[0]) / "test_files"
    statistics = corpus.make_corpus(tmp_path / "c", 10, templates=[samples / "MR_small.dcm"])
    assert {name for name, _ in statistics.uses} == {"MR_small.dcm"}


def test_a_corpus_is_never_mixed_with_other_files(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError):
        corpus.make_corpus(tmp_path, 10)


EACH = {
    "ours": "dicom-warehouse", "pydicom_long": "pydicom →", "dcmdump": "dcmdump",
    "pydicom_tags": "37 tags", "gdcm_scanner": "GDCM", "gdcm_scan": "GDCM",
    "fastdicom_long": "fastdicom",
}  # fmt: skip


def test_the_table_has_a_row_for_each_method(few, tmp_path, monkeypatch):
    """What ``measure.py`` does in a process of its own is done in this one."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import extraction
    import measure

    def run(name, measured, *_):
        given = SimpleNamespace(
            stages=False, sizes=False, workers=1, pool=False, folder=measured.folder, out=tmp_path / name,
        )  # fmt: skip
        given.out.mkdir()
        return measure.measured(methods[name], given)

    monkeypatch.setattr(extraction, "run", run)
    # It reads other files first, so that imports do not count.
    monkeypatch.setattr(measure, "warm_up", lambda *_, **__: None)
    methods = {one.name: one for one in extraction.METHODS if one.name in {"ours", "pydicom_long"}}
    place = tmp_path / "in"
    place.mkdir()
    for number, path in enumerate(sorted(few[0].rglob("*.dcm"))[::20]):
        shutil.copyfile(path, place / str(number))
    results = extraction.compare(extraction.Corpus("(a)", place, [], 1), [*methods.values()], None)
    assert (results.failed, len(methods)) == ({}, 2)
    assert all(done["elements"] > 300 for (done,) in results.runs.values())
    table = [line for line in extraction.section(results, [*methods.values()]) if "→" in line]
    assert [len(line.split("|")) for line in table] == [9, 9]
    monkeypatch.setattr(extraction, "run", fail)
    with pytest.raises(SystemExit, match="our own path failed: broken"):
        extraction.compare(results.corpus, [*methods.values()], None)


def fail(*_):
    raise RuntimeError("broken")


@pytest.mark.long("test_the_table_has_a_row_for_each_method")
@pytest.mark.parametrize(
    "methods",
    # A process for each: ours, one in Python and one that is a program.
    [["ours", "pydicom_long", "dcmdump"], pytest.param(list(EACH), marks=pytest.mark.slow)],
    ids=["three methods", "all"],
)
def test_the_runner_prints_a_table(tmp_path, methods):
    command = [sys.executable, "benchmarks/extraction.py", "--quick", "--files", "30"]
    if len(methods) < len(EACH):
        command += ["--methods", ",".join(methods)]
    environment = {key: value for key, value in os.environ.items() if key != "DICOM_CORPUS"}
    done = subprocess.run(
        [*command, "--corpus", tmp_path / "corpus"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8"))
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    for method in (EACH[name] for name in methods):
        (line, *_) = [line for line in table if method in line]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 7
        assert "not installed" in cells[0] or float(cells[1].replace(",", "")) > 0
        assert "failed" not in cells[0]
    assert "a row** in `elements`" in done.stdout


def test_every_stage_has_a_function_of_the_library(monkeypatch):
    """A function that went elsewhere is passed over, and its time would be that of ``other``."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import ours

    assert len(ours.STAGES) > 8
    assert [
        stage for stage, names in ours.STAGES.items() if not any(map(ours._resolve, names))
    ] == []


@pytest.mark.long("test_every_stage_has_a_function_of_the_library")
def test_every_stage_of_an_ingest_is_timed(made, tmp_path):
    """A function that went elsewhere is passed over, and its time would be that of ``other``."""
    folder = made[0]
    done = subprocess.run(
        [sys.executable, "benchmarks/measure.py", "ours", folder, tmp_path, "--stages"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    stages = json.loads(done.stdout.splitlines()[-1])["stages"]
    stated = re.findall(
        r'^    "([a-z ]+)": \[', (ROOT / "benchmarks/ours.py").read_text(), re.MULTILINE
    )
    assert len(stated) > 8
    # No file of the corpus needs pydicom.
    assert {*stated} - {*stages} == {"read and scan by pydicom"}
    assert min(stages.values()) > 0


def test_answers_that_differ_end_the_run(few, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import queries

    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*sorted(few[0].rglob("*.dcm"))[::6], workers=1, mode="full")
    question = queries.QUESTIONS[0]

    def keys(sql):
        return lambda: queries._keys(wh, sql)

    row = queries._timed(
        question.title,
        {"ours": keys(question.ours), "long rows, naive SQL": keys(question.long_rows)},
        1,
    )
    assert (row.title, len(row.times)) == (question.title, 2)
    with pytest.raises(SystemExit, match="answers differ: {'ours': 1, 'SQLite': 0}"):
        queries._timed("all", {"ours": lambda: {1}, "SQLite": set}, 1)


@pytest.mark.long("test_answers_that_differ_end_the_run")
def test_questions_have_one_answer_whoever_is_asked(tmp_path, monkeypatch):
    """The run ends where our answer, naive SQL, pandas and SQLite differ."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import archive
    import queries

    # That files are made in a process of their own is for the processor's time of the other.
    monkeypatch.setattr(
        archive, "ProcessPoolExecutor", lambda workers, _: ThreadPoolExecutor(workers)
    )
    (tmp_path / "scratch").mkdir()
    for instances in (150, 300):
        archive.make_archive(tmp_path / "w", instances, tmp_path / "scratch", 30)
    assert list((tmp_path / "scratch").iterdir()) == []
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.sql("select count(*) from instances").fetchall() == [(300,)]
    asked = {row.title: row for row in queries.ask_entities(wh, wh, 1)}
    assert asked.keys() == {question.title for question in queries.QUESTIONS}
    # Of so few patients none need be a woman with several studies.
    assert sum(row.rows > 0 for row in asked.values()) >= 4
    assert all(len(row.times) >= 1 for row in asked.values())


def test_voxels_that_differ_end_the_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pixels

    paths = pixels.make_series(tmp_path, "int16", 2)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "int16", workers=1)
    methods = pixels.methods(wh, "int16", paths)
    assert {pixels.OURS, pixels.HELD, pixels.LOOP, pixels.PREADV} <= methods.keys()
    pixels.same_voxels("int16", methods)
    wrong = methods | {"wrong": lambda: methods[pixels.LOOP]() + 1}
    with pytest.raises(SystemExit, match="int16: wrong gives other voxels"):
        pixels.same_voxels("int16", wrong)


@pytest.mark.long("test_voxels_that_differ_end_the_run")
def test_series_are_the_same_voxels_whoever_reads_them(tmp_path, monkeypatch):
    """The run ends where voxels differ; what is promised is measured, and judged by the figure."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pixels

    lines = pixels.page(tmp_path, 3, 2, 2)
    rows = [line for line in lines if line.startswith("| ") and "wh.volume" not in line]
    for method in (pixels.OURS, pixels.LOOP, "SimpleITK", "dicom-numpy", pixels.PREADV):
        assert any(row.startswith(f"| {method}") for row in rows) or method[0] in "Sd"
    (slow,) = [line for line in lines if line.startswith("| one slice, looked up")]
    assert ("**missed**" in slow) != ("| met |" in slow)
    missed = pixels.Must("a ratio", 5, "", 4.99, 4, 6).row()
    assert missed == "| a ratio | >= 5 | 4.99 (4.00-6.00) | **missed** |"
    assert pixels.Must("a time", 5, " ms", 4.99, 4, 6, is_time=True).row().endswith("| met |")
