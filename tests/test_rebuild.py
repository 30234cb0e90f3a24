"""Derived anew, or read anew: the same rows, and those of a wrong day put right."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouse
from tests.command_line import run
from tests.content import content, opened
from tests.dicom_files import dataset, image, write
from warehouse import rebuild as module
from warehouse.errors import NotAWarehouse, WriteFailed
from warehouse.ingest import ingest
from warehouse.rebuild import read_anew, rebuild
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, locks
from warehouse.store.compact import compact
from warehouse.store.instance_sql import attributes

if TYPE_CHECKING:
    from pathlib import Path


def settings(mode: Mode) -> IngestSettings:
    return IngestSettings(mode=mode, workers=1, batch_files=4)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instances of every mode, some without UIDs, some with a column from a private element."""
    folder = tmp_path_factory.mktemp("template")
    for mode in Mode:
        source = folder / mode.value
        for number in range(3):
            made = image(
                f"1.{mode.rank}.{number}", StudyTime="101112.5", PatientName="Doe^Jane=山田",
                ImageType=["ORIGINAL", str(number)], PixelSpacing=[0.5, 0.25],
            )  # fmt: skip
            made.add_new(0x00190010, "LO", "GEMS_ACQU_01")
            made.add_new(0x0019109C, "LO", f"sequence{number}")
            write(source / str(number), made)
        nameless = dataset(PatientID=f"nobody {mode.value}", Modality="OT")
        nameless.add_new(0x00190010, "LO", "OURS")
        write(source / "nameless", nameless)
        write(source / "bare", dataset(SOPInstanceUID=f"3.{mode.rank}"))
        ingest(folder / "w", [source], settings(mode))
    return folder / "w"


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "w")


def spoil(root: Path) -> None:
    """Store another answer than today's: a column of every row, as if its meaning had changed."""
    base = delta.snapshot(root)
    change = delta.Change(remove=list(base.parts["instances"]))
    for part in base.parts["instances"]:
        rows = module._read(root, part)
        place = rows.schema.get_field_index("Modality")
        old = pa.array(["old"] * rows.num_rows, pa.string())
        change.add.append(
            module._write(root, part, rows.set_column(place, rows.schema[place], old))
        )
    with locks.locked(root):
        delta.commit(root, {"instances": change}, base, "test")


def modalities(root: Path) -> list[tuple[Any, ...]]:
    return opened(root).execute(
        "select mode, Modality, count(*) from instances join files using (instance_id)"
        " group by all order by all"
    ).fetchall()  # fmt: skip


def test_what_is_derived_anew_is_what_was_stored(root: Path) -> None:
    held, before = content(root), delta.snapshot(root)
    done = rebuild(root)
    assert (done.instances, done.parts, done.version) == (15, 0, before.version)
    assert delta.snapshot(root) == before
    assert content(root) == held


def test_what_was_derived_otherwise_is_put_right(root: Path) -> None:
    held, right = content(root), modalities(root)
    spoil(root)
    version = delta.snapshot(root).version
    done = rebuild(root)
    assert done.parts == 3, "two batches of mode minimal stay, and the nameless one of normal"
    assert done.version == version + 1
    found = modalities(root)
    assert found == [
        # Of these there is nothing to derive it from.
        ("full", "CT", 3), ("full", "OT", 1), ("full", None, 1), ("minimal", "old", 5),
        ("normal", "CT", 3), ("normal", "old", 1), ("normal", None, 1),
    ]  # fmt: skip
    assert right != found
    full = [row for row in content(root)["instances"] if "1.2." in str(row[0])]
    assert full == [row for row in held["instances"] if "1.2." in str(row[0])]


def test_a_column_from_private_elements_stays_where_they_were_not_kept(root: Path) -> None:
    question = "select pulse_sequence_name from instances order by all"
    held = opened(root).execute(question).fetchall()
    spoil(root)
    rebuild(root)
    assert opened(root).execute(question).fetchall() == held
    assert held.count(("sequence1",)) == 3


def test_every_column_from_a_private_element_is_known() -> None:
    """Whoever adds one says in ``FROM_PRIVATE`` which column it makes."""
    private = {column.name for column in attributes() if column.creator}
    assert private == set(module.FROM_PRIVATE)


@pytest.fixture(scope="module")
def template_of_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three instances of mode full, in two batches, and their files beside it."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(3):
        write(folder / "in" / str(number), uid=f"1.{number}", SliceThickness=1)
    how = IngestSettings(mode=Mode.FULL, workers=1, batch_files=2)
    ingest(folder / "w", [folder / "in"], how)
    return folder / "w"


@pytest.fixture
def few(template_of_few: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template_of_few, tmp_path / "w")


def test_slices_of_a_merged_part_make_no_difference(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(few)
    held = content(few)
    monkeypatch.setattr(module, "SLICE", 2)
    spoil(few)
    assert rebuild(few).parts == 1
    assert content(few) == held
    (part,) = delta.snapshot(few).parts["instances"]
    ids = pq.read_table(few / "instances" / part)["instance_id"].to_pylist()
    assert ids == sorted(ids)


@pytest.mark.long("test_slices_of_a_merged_part_make_no_difference")
def test_slices_and_merged_parts_make_no_difference(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(root)
    held = content(root)
    monkeypatch.setattr(module, "SLICE", 8)
    assert rebuild(root).parts == 0
    (part,) = delta.snapshot(root).parts["instances"]
    spoil(root)
    rebuild(root)
    made = content(root)
    assert made["elements"] == held["elements"]
    (part,) = delta.snapshot(root).parts["instances"]
    ids = pq.read_table(root / "instances" / part)["instance_id"].to_pylist()
    assert ids == sorted(ids)


@pytest.mark.long("test_slices_of_a_merged_part_make_no_difference")
def test_a_warehouse_of_real_files(sample: warehouse.Warehouse, tmp_path: Path) -> None:
    root = shutil.copytree(sample.root, tmp_path / "w")
    assert rebuild(root).parts == 0
    held = content(root)
    spoil(root)
    assert rebuild(root).parts == 1
    assert content(root) == held


@pytest.mark.parametrize(
    "what",
    [
        "compact",
        pytest.param(
            "ingest",
            marks=pytest.mark.long("test_parts_that_others_replace_meanwhile_are_derived_too"),
        ),
    ],
)
def test_parts_that_others_replace_meanwhile_are_derived_too(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold copies of the old rows: a compaction merges them, an ingest leaves one row out."""
    source, root = tmp_path / "in", tmp_path / "w"
    for number in range(6):
        write(source / str(number), uid=f"1.{number}")
    ingest(root, [source], settings(Mode.FULL))
    spoil(root)
    real, done = module._write, list[str]()

    def write_late(root: Path, part: str, rows: pa.Table) -> Any:
        if not done:
            done.append(what)
            if what == "compact":
                compact(root)
            else:
                write(source / "0", uid="1.0", SliceThickness=2)
                ingest(root, [source], settings(Mode.FULL))
        return real(root, part, rows)

    with monkeypatch.context() as patched:
        patched.setattr(module, "_write", write_late)
        assert rebuild(root).instances == 6
    ingest(tmp_path / "clean", [source], settings(Mode.FULL))
    assert content(root) == content(tmp_path / "clean")


def test_an_empty_warehouse(tmp_path: Path) -> None:
    delta.create(tmp_path / "w")
    assert rebuild(tmp_path / "w").instances == 0


def test_a_full_disk_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(root)
    before, files = delta.snapshot(root), set(root.rglob("*.parquet"))
    real, left = pq.write_table, iter(range(2))

    def write_or_refuse(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", write_or_refuse)
        with pytest.raises(WriteFailed, match="no space is left"):
            rebuild(root)
    assert delta.snapshot(root) == before
    assert set(root.rglob("*.parquet")) == files


IDS = "select instance_key, instance_id from instances order by all"


def test_files_read_anew_give_the_same_rows_and_ids(few: Path) -> None:
    held, ids = content(few), opened(few).execute(IDS).fetchall()
    spoil(few)
    # The mode is that of the files, and not of these settings.
    done = read_anew(few, settings(Mode.NORMAL))
    assert (done.instances, done.parts) == (3, 2)
    assert content(few) == held
    assert opened(few).execute(IDS).fetchall() == ids


@pytest.mark.long("test_files_read_anew_give_the_same_rows_and_ids")
def test_every_file_read_anew_in_its_mode_gives_the_same_rows(root: Path, template: Path) -> None:
    held = content(root)
    spoil(root)
    compact(root)
    done = read_anew(root, settings(Mode.NORMAL))
    assert (done.instances, done.parts) == (15, 6)
    assert content(root) == held


def test_an_instance_that_changed_is_read_anew_with_an_id_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / str(number), uid=f"1.{number}", SliceThickness=1)
    ingest(tmp_path / "w", [tmp_path / "in"], settings(Mode.NORMAL))
    before = dict(opened(tmp_path / "w").execute(IDS).fetchall())
    write(tmp_path / "in" / "1", uid="1.1", SliceThickness="1.25")
    write(tmp_path / "in" / "2", uid="1.9", SliceThickness="1.25")
    read_anew(tmp_path / "w", settings(Mode.NORMAL))
    after = dict(opened(tmp_path / "w").execute(IDS).fetchall())
    assert set(after) == {"1.0", "1.1", "1.9"}
    # The old ids of what changed do not come back: a run of a cohort has them.
    assert not {after["1.1"], after["1.9"]} & set(before.values())


@pytest.mark.long("test_an_instance_that_changed_is_read_anew_with_an_id_of_its_own")
def test_runs_before_and_after_changed_files_were_read_anew_are_told_apart(tmp_path: Path) -> None:
    """With the old ids, a changed instance would count as the same, and a new one as an old one."""
    source = tmp_path / "in"
    for number in range(3):
        write(source / str(number), uid=f"1.{number}", SliceThickness=1)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1)
    # Its ids are larger than all that files of the first batch will ever have.
    write(tmp_path / "later" / "0", uid="2.1", SeriesInstanceUID="2.2", SliceThickness=1)
    wh.ingest(tmp_path / "later", workers=1)
    before = wh.cohort("ct_thin_slice")
    write(source / "1", uid="1.1", SliceThickness="1.25")
    write(source / "2", uid="1.9", SliceThickness="1.25")
    for _ in range(2):
        wh.rebuild(from_sources=True)
        rows = wh.compare(before, wh.cohort("ct_thin_slice")).rows.to_pylist()
        found = {
            row["instance_key"]: (row["change"], row["why"], row["attributes"]) for row in rows
        }
        assert found == {
            "1.0": ("changed", "its file was read again", []),
            "1.1": ("changed", "its file was read again", ["SliceThickness"]),
            "1.2": ("gone", "not in the warehouse any more", None),
            "1.9": ("added", "read since the first run", None),
        }
        # And once more: the ids of the first version do not come back.
        write(source / "1", uid="1.1", SliceThickness="1.125")
    assert content(tmp_path / "w")["instances"]
    wh.rebuild(from_sources=True)
    before = wh.cohort("ct_thin_slice")
    wh.rebuild(from_sources=True)  # of files that have not changed since
    assert wh.compare(before, wh.cohort("ct_thin_slice")).rows.num_rows == 0


@pytest.mark.long("test_files_read_anew_give_the_same_rows_and_ids")
def test_files_read_anew_that_are_unchanged_keep_their_ids(root: Path) -> None:
    before = opened(root).execute(IDS).fetchall()
    read_anew(root, settings(Mode.NORMAL))
    assert opened(root).execute(IDS).fetchall() == before


def test_a_folder_that_is_no_warehouse(tmp_path: Path) -> None:
    with pytest.raises(NotAWarehouse):
        rebuild(tmp_path)


def test_the_command_says_what_it_did(root: Path) -> None:
    done = run("rebuild", "-w", root)
    assert done.stdout == "15 instances derived; 0 parts replaced\n", done.stderr


def test_files_on_a_disk_that_is_away_are_counted_and_keep_their_rows(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / name, uid=f"1.{ord(name)}")
    ingest(tmp_path / "w", [tmp_path / "in"], settings(Mode.FULL))
    held = content(tmp_path / "w")
    (tmp_path / "in" / "a").unlink()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "disk" / "a")
    done = run("rebuild", "--from-sources", "-w", tmp_path / "w")
    assert done.stdout.splitlines() == [
        "1 file of 1 batch read again", "1 file could not be read; the rows are kept",
    ], done.stderr  # fmt: skip
    assert content(tmp_path / "w") == held
