"""Exports without identity: the same again, after a stop, as a zip, as rows, and what is refused."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import os
import re
import signal
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pydicom
import pytest

import warehouse
from tests.cohorts.conftest import make
from tests.command_line import run
from tests.deidentify.planted import ID, SECRETS
from tests.documented_keys import unlike_the_page
from tests.dying_worker import die
from warehouse.cohorts.provenance import verify
from warehouse.deidentify import export, files
from warehouse.deidentify.key import STANDARD_UIDS, Key, read_key, write_key
from warehouse.deidentify.marks import IMPLEMENTATION
from warehouse.deidentify.options import Deidentify
from warehouse.errors import DeidentifierLost, ExportFailed, TargetExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deidentify.conftest import Exported
    from warehouse.deidentify.files import Portion, Treatment


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def six_images(folder: Path) -> warehouse.Warehouse:
    """Three patients with two images each, and a run of them."""
    for patient in (1, 2, 3):
        for number in (1, 2):
            make(
                folder / "in",
                patient,
                number,
                PatientName=f"Zubrowski^Nr{patient}",
                StudyDate="20200101",
            )
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    made.cohort("ct_thin_slice", max_slice_mm=9)
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Six images and a run of them. Not to write to."""
    return six_images(tmp_path_factory.mktemp("small"))


def ask(key: bytes = b"k" * 32, **options: object) -> Deidentify:
    return Deidentify(key=Key(key), workers=1, **options)  # type: ignore[arg-type]


def test_sources_stay_and_the_export_can_be_verified(
    small: warehouse.Warehouse, tmp_path: Path
) -> None:
    sources = small.root.parent / "in"
    before = tree(sources)
    facts = small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify="basic")
    assert tree(sources) == before
    assert facts["counts"]["instances"] == 6
    assert verify(tmp_path / "out").problems == ()
    (tmp_path / "out" / "audit.parquet").write_bytes(b"other")
    assert len(verify(tmp_path / "out").problems) == 1
    assert not list(tmp_path.glob(".out*"))


def test_nothing_beside_the_files_says_what_was_asked(
    small: warehouse.Warehouse, tmp_path: Path
) -> None:
    small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify="basic")
    about = json.loads((tmp_path / "out" / "cohort.json").read_text())
    assert not {"run", "cohort", "parameters", "run_made_at", "sql_sha256", "run_warehouse"} & set(
        about
    )
    # Times of sources are those of examinations as often as not.
    with (tmp_path / "out" / "manifest.csv").open() as file:
        assert {row["modified_us"] for row in csv.DictReader(file)} == {""}


def test_the_same_key_gives_the_same_bytes_and_another_nothing_in_common(
    small: warehouse.Warehouse, tmp_path: Path
) -> None:
    for name, key in (("a", b"k" * 32), ("b", b"k" * 32), ("c", b"o" * 32)):
        small.export("ct_thin_slice", tmp_path / name, "copy", deidentify=ask(key))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    first, other = (set(tree(tmp_path / name).values()) for name in "ac")
    kept = {hashlib.sha256((tmp_path / "a" / "left_out.csv").read_bytes()).hexdigest()}
    assert first & other == kept
    names = [
        {part for name in tree(tmp_path / folder) for part in name.split("/")} for folder in "ac"
    ]
    assert names[0] & names[1] == {
        "cohort.json",
        "manifest.csv",
        "audit.parquet",
        "left_out.csv",
        "report.html",
    }


def identities(folder: Path) -> set[str]:
    """Return every UID, pseudonym and date of the files of an export, and those of its audit."""
    found = set(pl.read_parquet(folder / "audit.parquet")["SOPInstanceUID"].to_list())
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for element in [*dataset.file_meta, *dataset.iterall()]:
            texts = (
                [str(value) for value in element.value] if element.VM > 1 else [str(element.value)]
            )
            if element.VR in {"UI", "DA", "DT"} or re.match("[pd]-", texts[0]):
                found.update(text for text in texts if text)
    return found


def test_nothing_links_small_exports_of_two_keys(
    small: warehouse.Warehouse, tmp_path: Path
) -> None:
    for name, key in (("a", b"k" * 32), ("b", b"o" * 32)):
        how = ask(key, retain=("dates-shifted",))
        small.export("ct_thin_slice", tmp_path / name, "copy", deidentify=how)
    first, second = identities(tmp_path / "a"), identities(tmp_path / "b")
    assert len(first) == len(second) > 15
    known = (STANDARD_UIDS, IMPLEMENTATION)
    assert [one for one in first & second if not one.startswith(known)] == []


@pytest.mark.long("test_nothing_links_small_exports_of_two_keys")
def test_nothing_links_exports_of_two_keys(exported: Exported, tmp_path: Path) -> None:
    how = replace(exported.how, key=Key(b"o" * 32), mapping=None)
    exported.wh.export("all_of_it", tmp_path / "out", "copy", deidentify=how)
    first, second = identities(exported.folder), identities(tmp_path / "out")
    assert len(first) == len(second) > 60
    # What is left of both: UIDs of the standard and ours, and the dummy of a date.
    known = (STANDARD_UIDS, IMPLEMENTATION, "19000101")
    assert [one for one in first & second if not one.startswith(known)] == []
    # Neither does a shift: it is that of the patient and of the key.
    days = [
        min(
            dt.date.fromisoformat(pydicom.dcmread(path).StudyDate) for path in folder.rglob("*.dcm")
        )
        for folder in (exported.folder, tmp_path / "out")
    ]
    shift = [key.days(ID) for key in (exported.how.key, how.key) if key]
    assert (days[0] - days[1]).days == shift[1] - shift[0] != 0


def test_a_stopped_export_goes_on_where_it_was(
    small: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PORTION", 1)
    small.export("ct_thin_slice", tmp_path / "whole", "copy", deidentify=ask())
    treated: list[int] = []

    def stops(portion: files.Portion, how: files.Treatment) -> None:
        if portion.number == 3 and not treated.count(3):
            treated.append(3)
            begun = portion.files / "half"
            begun.write_bytes(b"")  # as a process leaves it that was killed
            begun.unlink()
            raise KeyboardInterrupt
        treated.append(portion.number)
        files.treat(portion, how)

    monkeypatch.setattr(export, "treat", stops)
    with pytest.raises(KeyboardInterrupt):
        small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify=ask())
    assert not (tmp_path / "out").exists()
    # Another key may not mix in.
    with pytest.raises(UsageError, match="another key"):
        small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify=ask(b"o" * 32))
    small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify=ask())
    assert treated == [0, 1, 2, 3, 3, 4, 5]
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_without_a_key_nothing_is_left_of_a_stopped_export(tmp_path: Path) -> None:
    small = six_images(tmp_path)
    (tmp_path / "in" / "p2_1.dcm").write_bytes(b"changed")
    with pytest.raises(ExportFailed, match="changed since"):
        small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify="basic")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".out*"))


def test_workers_give_the_same_bytes(
    small: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PORTION", 2)
    monkeypatch.setattr(export, "_FROM_PORTIONS", 2)
    small.export("ct_thin_slice", tmp_path / "one", "copy", deidentify=ask())
    two = Deidentify(key=Key(b"k" * 32), workers=2)
    small.export("ct_thin_slice", tmp_path / "two", "copy", deidentify=two)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_process_that_is_killed_ends_in_one_message(
    small: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PORTION", 2)
    monkeypatch.setattr(export, "_FROM_PORTIONS", 2)
    monkeypatch.setattr(export, "treat", die)
    with pytest.raises(
        DeidentifierLost, match=r"was killed by SIGKILL\. Instances written with a key are kept"
    ):
        small.export("ct_thin_slice", tmp_path / "two", "copy", deidentify=Deidentify(workers=2))
    assert not list(tmp_path.glob("*two*"))


def _killed_by(*uids: str) -> Callable[[Portion, Treatment], None]:
    return partial(_treat_or_die, frozenset(uids))


def _treat_or_die(uids: frozenset[str], portion: Portion, how: Treatment) -> None:
    """Treat a portion in a process that some members kill, each time."""
    treated = files._write_file

    def written(content: Any, patient: str, folder: Path, how: Treatment, known: Any) -> Any:
        if any(uid.encode() in bytes(content) for uid in uids):
            os.kill(os.getpid(), signal.SIGKILL)
        return treated(content, patient, folder, how, known)

    files._write_file = written  # in this process, which ends with the pool
    try:
        files.treat(portion, how)
    finally:
        files._write_file = treated


@pytest.mark.parametrize("together", [2, 6], ids=["workers", "one process, continued"])
def test_a_member_that_kills_its_process_is_left_out_with_that_reason(
    small: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """The others are as without it, and nothing of the first attempts is left."""
    uids = [key for (key,) in small.sql("select instance_key from instances order by 1").fetchall()]
    how = Deidentify(key=Key(b"k" * 32), workers=2)
    small.export("ct_thin_slice", tmp_path / "whole", "copy", deidentify=how)
    whole = tree(tmp_path / "whole")
    monkeypatch.setattr(export, "PORTION", together)
    monkeypatch.setattr(export, "_FROM_PORTIONS", 2)
    with monkeypatch.context() as patched:
        patched.setattr(export, "treat", _killed_by(uids[1], uids[4]))
        if together == 6:
            # A process that reads alone dies with its file; the next one sees where it was.
            made = os.fork()
            if made == 0:
                with suppress(BaseException):
                    small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify=how)
                os._exit(3)
            assert os.waitpid(made, 0)[1] == signal.SIGKILL
        small.export("ct_thin_slice", tmp_path / "out", "copy", deidentify=how)
    with (tmp_path / "out" / "left_out.csv").open() as file:
        left = list(csv.DictReader(file))
    key = Key(b"k" * 32)
    assert [row["reason"] for row in left] == [files.KILLED] * 2
    assert {row["SOPInstanceUID"] for row in left} == {key.uid(uids[1]), key.uid(uids[4])}
    images = {name for name in whole if name.endswith(".dcm")}
    out = tree(tmp_path / "out")
    assert {name: out[name] for name in out if name.endswith(".dcm")}.items() < whole.items()
    assert len([name for name in out if name.endswith(".dcm")]) == len(images) - 2
    assert not list(tmp_path.glob(".*"))


def test_a_zip_holds_the_same_files(exported: Exported, tmp_path: Path) -> None:
    how = Deidentify(
        retain=exported.how.retain, clean=exported.how.clean, key=exported.how.key, workers=1
    )
    exported.wh.export("all_of_it", tmp_path / "a.zip", "zip", deidentify=how)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        inside = {
            name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
        }
    same = tree(exported.folder)
    assert {name: digest for name, digest in inside.items() if name.endswith(".dcm")} == {
        name: digest for name, digest in same.items() if name.endswith(".dcm")
    }
    assert verify(tmp_path / "a.zip").problems == ()


def test_rows_agree_with_files(exported: Exported, tmp_path: Path) -> None:
    how = Deidentify(retain=("dates-shifted", "patient"), key=exported.how.key)
    exported.wh.export(
        "all_of_it", tmp_path / "i.parquet", "parquet", deidentify=how, rows="instances"
    )
    rows = {
        row["SOPInstanceUID"]: row for row in pl.read_parquet(tmp_path / "i.parquet").to_dicts()
    }
    found = {
        one.SOPInstanceUID: one for one in map(pydicom.dcmread, exported.folder.rglob("*.dcm"))
    }
    assert set(rows) == set(found)
    for uid, dataset in found.items():
        row = rows[uid]
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows"):
            assert row[keyword] == dataset.get(keyword), keyword
        assert f"{row['StudyDate']:%Y%m%d}" == dataset.StudyDate
        assert "path" not in row
        assert "SeriesDescription" not in row


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        *((form, rows) for form in ("csv", "parquet", "arrow", "jsonl") for rows in ("patients", "instances")),
        ("uids", "instances"),
    ],
)  # fmt: skip
def test_no_secret_is_in_rows(exported: Exported, tmp_path: Path, form: str, rows: str) -> None:
    target = tmp_path / f"a.{form}"
    exported.wh.export("all_of_it", target, form, deidentify="basic", rows=rows)
    content = target.read_bytes() + (tmp_path / f"a.{form}.cohort.json").read_bytes()
    if form == "parquet":
        content += str(pl.read_parquet(target).to_dicts()).encode()
    for secret in (*SECRETS, "1.2.826.0", "all_of_it"):
        assert secret.lower().encode() not in content.lower()


@pytest.mark.parametrize("form", ["link", "s5cmd"])
def test_formats_that_lead_to_the_originals_are_refused(
    small: warehouse.Warehouse, tmp_path: Path, form: str
) -> None:
    with pytest.raises(UsageError, match="not a format of de-identified exports"):
        small.export("ct_thin_slice", tmp_path / "out", form, deidentify="basic")
    assert not (tmp_path / "out").exists()


def test_wrong_wishes_are_refused_before_any_work(
    small: warehouse.Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(TargetExists):
        small.export("ct_thin_slice", tmp_path / "there", "copy", deidentify="basic")
    with pytest.raises(UsageError, match="encrypted with the key"):
        small.export(
            "ct_thin_slice", tmp_path / "out", "copy", deidentify=Deidentify(mapping=tmp_path / "m")
        )
    with pytest.raises(UsageError, match="apart"):
        small.export(
            "ct_thin_slice",
            tmp_path / "out",
            "copy",
            deidentify=ask(mapping=tmp_path / "out" / "m"),
        )
    with pytest.raises(UsageError, match="preset"):
        small.export(
            "ct_thin_slice", tmp_path / "a.csv", "csv", deidentify="basic", preset="series_csv"
        )


def test_keys(tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert read_key(tmp_path / "key").fingerprint == read_key(tmp_path / "key").fingerprint
    assert "…" in repr(read_key(tmp_path / "key"))
    with pytest.raises(TargetExists):
        write_key(tmp_path / "key")
    for weak in (b"", b"short", b"a" * 64):
        (tmp_path / "weak").write_bytes(weak)
        with pytest.raises(UsageError, match="not a key"):
            read_key(tmp_path / "weak")


def test_the_command(small: warehouse.Warehouse, tmp_path: Path) -> None:
    where = ("-w", str(small.root))
    assert run("deidentify", "key", str(tmp_path / "key")).returncode == 0
    out = str(tmp_path / "out")
    made = run(
        "cohort", "export", "ct_thin_slice", out, "--format", "copy", "--deidentify", "basic", "--retain",
        "dates-shifted,device", "--key", str(tmp_path / "key"), "--mapping", str(tmp_path / "apart"), *where,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "6 instances de-identified" in made.stdout
    checked = run("deidentify", "check", out, "--against", str(small.root))
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "0 values found")
    table = run(
        "deidentify",
        "mapping",
        str(tmp_path / "apart" / "patid_mapping.csv.encrypted"),
        "--key",
        str(tmp_path / "key"),
    )
    assert [line.split(",")[0] for line in table.stdout.splitlines()] == [
        "id_old",
        "P1",
        "P2",
        "P3",
    ]
    listed = json.loads(run(*table.args, "--json").stdout)
    assert unlike_the_page("deidentify mapping", listed) == []
    assert [row["id_old"] for row in listed] == ["P1", "P2", "P3"]
    # The originals are no export; what was found is not shown.
    found = run("deidentify", "check", str(small.root.parent / "in"), "--against", str(small.root))
    assert found.returncode == 1
    assert "PatientName (utf-8)" in found.stdout
    assert "zubrowski" not in found.stdout.lower()
    assert (
        run(
            "cohort",
            "export",
            "ct_thin_slice",
            f"{out}2",
            "--format",
            "copy",
            "--retain",
            "uids",
            *where,
        ).returncode
        == 2
    )
