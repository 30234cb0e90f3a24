"""Runs: kept, repeated, compared, joined, split, sampled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.cohorts.conftest import make
from warehouse.catalog.materialized import materialize
from warehouse.cohorts import compare, definitions, runs
from warehouse.cohorts.guard import locked_catalog
from warehouse.errors import (
    MembersUnclear,
    QueryFailed,
    TargetExists,
    UnknownCohort,
    UnknownParameter,
    UnknownTable,
    UnsafeCohort,
    UsageError,
)
from warehouse.store import delta

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.connect import Catalog

pytestmark = pytest.mark.usefixtures("asked_here")


@pytest.fixture(scope="module")
def locked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """One open catalog for what is refused before anything is written."""
    root = tmp_path_factory.mktemp("locked") / "w"
    shutil.copytree(template / "w", root)
    return locked_catalog(root)


@pytest.fixture(scope="module")
def ran(template: Path, tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse with one run of all six patients, for what is refused and leaves no other."""
    root = tmp_path_factory.mktemp("ran") / "w"
    made = warehouse.open(shutil.copytree(template / "w", root))
    made.cohort("ct_thin_slice", max_slice_mm=99)
    return made


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse for tests of which each saves and runs cohorts of names of its own."""
    return warehouse.open(shutil.copytree(template / "w", tmp_path_factory.mktemp("shared") / "w"))


def save(wh: warehouse.Warehouse, name: str, sql: str) -> definitions.Definition:
    # The catalog of a run, which `asked_here` opens once.
    return definitions.save(runs.locked_catalog(wh.root), name, sql)


def keys(wh: warehouse.Warehouse, run: runs.Run | str) -> list[str]:
    return wh.members(run).collect()["instance_key"].to_list()


@pytest.mark.acceptance("D69")
def test_a_run_keeps_what_is_needed_to_repeat_it(archive: warehouse.Warehouse) -> None:
    run = archive.cohort("ct_thin_slice", max_slice_mm=2)
    assert run.run == "ct_thin_slice-0001"
    assert run.parameters == {"max_slice_mm": 2.0, "min_instances": 1}
    assert run.counts == {"patients": 2, "studies": 2, "series": 2, "instances": 4}
    assert run.sql_sha256 == hashlib.sha256(run.sql.encode()).hexdigest()
    assert "create or replace macro ct_thin_slice" in run.sql
    assert run.warehouse["version"] == archive.catalog.snapshot.version
    members = keys(archive, run)
    assert members == ["1.1.1.1", "1.1.1.2", "1.2.1.1", "1.2.1.2"]
    assert run.digest == hashlib.sha256("".join(f"{k}\n" for k in members).encode()).hexdigest()
    assert runs.find_run(archive.root, "ct_thin_slice") == run


def test_a_question_that_was_answered_is_no_new_run(shared: warehouse.Warehouse) -> None:
    first = shared.cohort("ct_thin_slice", max_slice_mm=2)
    before = runs.runs(shared.root)
    assert shared.cohort("ct_thin_slice", max_slice_mm="2.0") == first
    assert runs.runs(shared.root) == before


@pytest.mark.long("test_a_question_that_was_answered_is_no_new_run")
def test_the_same_question_of_the_same_version_is_one_run(archive: warehouse.Warehouse) -> None:
    first = archive.cohort("ct_thin_slice", max_slice_mm=2)
    assert archive.cohort("ct_thin_slice", max_slice_mm="2.0") == first
    assert archive.cohort("ct_thin_slice", max_slice_mm=3).run == "ct_thin_slice-0002"
    assert len(runs.runs(archive.root)) == 2


def test_a_run_cannot_be_changed(ran: warehouse.Warehouse) -> None:
    (run,) = runs.runs(ran.root)
    folder = runs.runs_folder(ran.root) / run.run
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "run.json": 0o444,
        "members.parquet": 0o444,
    }
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")], "no draft stays"


def test_the_digest_does_not_depend_on_the_order_of_ingest(tmp_path: Path) -> None:
    import warehouse

    files = [make(tmp_path / "in", patient, number) for patient in (1, 2) for number in (1, 2)]
    wh = warehouse.open(tmp_path / "w", create=True)
    for among in (files[1:], files[:1]):
        wh.ingest(*reversed(among), workers=1)
    assert wh.cohort("ct_thin_slice", max_slice_mm=9).digest == (
        hashlib.sha256(b"1.1.1.1\n1.1.1.2\n1.2.1.1\n1.2.1.2\n").hexdigest()
    )


@pytest.mark.parametrize(
    ("column", "level"),
    [
        ("SOPInstanceUID", "instance"), ("SeriesInstanceUID", "series"),
        ("study_key", "study"), ("patient_key", "patient"),
    ],
)  # fmt: skip
def test_members_are_named_by_uid_or_key(
    shared: warehouse.Warehouse, column: str, level: str
) -> None:
    save(
        shared,
        f"by_{column.lower()}",
        f"select {column} from instances where PatientID = 'P3' and InstanceNumber = 1",
    )
    run = shared.cohort(f"by_{column.lower()}")
    assert run.level == level
    assert keys(shared, run) == (["1.3.1.1"] if level == "instance" else ["1.3.1.1", "1.3.1.2"])


def test_the_finest_level_counts_and_rows_may_repeat(shared: warehouse.Warehouse) -> None:
    save(shared, "finest", "select study_key, series_key from instances where PatientID = 'P3'")
    run = shared.cohort("finest")
    assert run.level == "series"
    assert run.counts["instances"] == 2


def test_a_number_is_a_key_that_nobody_has(shared: warehouse.Warehouse) -> None:
    save(shared, "numbered", "select 1 as series_key")
    assert shared.cohort("numbered").counts["instances"] == 0


def test_rows_that_name_nobody_are_an_error(shared: warehouse.Warehouse) -> None:
    with pytest.raises(MembersUnclear, match="one of the columns instance_key, SOPInstanceUID"):
        save(shared, "nameless", "select Modality from series")
    save(shared, "unknown", "select nullif(series_key, '1.3.1') as series_key from instances")
    with pytest.raises(MembersUnclear, match="rows without series_key"):
        shared.cohort("unknown")


def test_a_parameter_of_a_saved_cohort_has_its_type(shared: warehouse.Warehouse) -> None:
    save(
        shared, "of_makers", "-- Series of some manufacturers.\n"
        "-- param: who | VARCHAR[] | [ACME] | Manufacturer\n"
        "-- param: after | DATE | null | first StudyDate\n"
        "select series_key from instances where list_contains($who, Manufacturer)"
        " and ($after is null or SeriesDate >= $after)",
    )  # fmt: skip
    assert shared.cohort("of_makers", who="ACME,Other").counts["series"] == 6
    with pytest.raises(UnknownParameter, match="after of of_makers is DATE"):
        shared.cohort("of_makers", after="soon")
    with pytest.raises(UnknownParameter, match="no parameter 'whom'; it has: who, after"):
        shared.cohort("of_makers", whom="ACME")


@pytest.mark.long("test_a_parameter_of_a_saved_cohort_has_its_type")
def test_a_saved_cohort_has_typed_parameters(shared: warehouse.Warehouse) -> None:
    save(shared, "made_by", """
        -- Series of some manufacturers.
        -- param: who | VARCHAR[] | [ACME] | Manufacturer
        -- param: after | DATE | null | first StudyDate
        select series_key from instances where list_contains($who, Manufacturer)
        and ($after is null or SeriesDate >= $after) -- done
        ;""".replace("\n        ", "\n").strip())  # fmt: skip
    assert shared.cohort("made_by").counts["series"] == 3
    assert shared.cohort("made_by", who="ACME,Other").counts["series"] == 6
    assert shared.cohort("made_by", who=["Other"]).counts["series"] == 3
    assert shared.cohort("made_by", after="2020-01-01").counts["series"] == 0
    with pytest.raises(UnknownParameter, match="after of made_by is DATE"):
        shared.cohort("made_by", after="soon")
    assert shared.cohort("made_by", after="20200101").parameters["after"] == "2020-01-01"
    with pytest.raises(UnknownParameter, match="no parameter 'whom'; it has: who, after"):
        shared.cohort("made_by", whom="ACME")
    save(shared, "of_one", """
        -- Series of a manufacturer.
        -- param: who | VARCHAR | null | Manufacturer
        -- param: but_not | VARCHAR | Other | Manufacturer
        select series_key from series
        where ($who is null or Manufacturer = $who) and Manufacturer != $but_not
        ;""".replace("\n        ", "\n").strip())  # fmt: skip
    assert shared.cohort("of_one", who="null").counts["series"] == 3, "as the default is shown"
    assert shared.cohort("of_one", but_not="null").parameters["but_not"] == "null"


def test_one_thick_slice_makes_no_thin_series(tmp_path: Path) -> None:
    for number in range(1, 6):
        make(tmp_path / "in", 1, number, SliceThickness="1" if number == 1 else "10")
        make(tmp_path / "in", 2, number, SliceThickness="1" if number == 1 else "1.25")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    thin = wh.cohort("ct_thin_slice", max_slice_mm=1.5)
    assert set(wh.members(thin).collect()["series_key"]) == {"1.2.1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_slice_mm", "nan"), ("max_slice_mm", float("inf")), ("min_instances", "1.6")],
)
def test_a_value_that_would_ask_another_question_is_refused(
    ran: warehouse.Warehouse, name: str, value: object
) -> None:
    with pytest.raises(UnknownParameter, match=f"{name} of ct_thin_slice is"):
        ran.cohort("ct_thin_slice", **{name: value})
    assert [run.run for run in runs.runs(ran.root)] == ["ct_thin_slice-0001"]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("select series_key from series; drop view series", UnsafeCohort),
        ("from read_csv('/etc/passwd')", UnsafeCohort),
        ("select series_key from seris", UnknownTable),
        ("select PatientID from series", MembersUnclear),
        ("select series_key from series where Rows = $n", UnknownParameter),
        ("-- A.\n-- param: n | BIGINT | 1 | x\nselect series_key from series", UnknownParameter),
        ("-- A.\n-- param: n | BIGINT\nselect series_key from series", UnsafeCohort),
        ("-- A.\n-- param: n | BIGINT); drop view series; | 1 | x\nselect series_key from series where Rows = $n", UnsafeCohort),
    ],
)  # fmt: skip
def test_what_is_refused_is_not_saved(locked: Catalog, sql: str, error: type) -> None:
    with pytest.raises(error):
        definitions.save(locked, "mine", sql)
    assert "mine" not in definitions.definitions(locked.snapshot.root)
    assert not [*(locked.snapshot.root / "cohorts").iterdir()]


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "A", "", "1a", "a b", "a" * 65, ".hidden", "a\0b"]
)
def test_a_name_is_no_path(locked: Catalog, name: str) -> None:
    with pytest.raises(UsageError, match="lower-case letters"):
        definitions.save(locked, name, "select series_key from series")


def test_what_is_saved_is_never_replaced(shared: warehouse.Warehouse) -> None:
    save(shared, "never_replaced", "select series_key from series")
    with pytest.raises(TargetExists):
        save(shared, "never_replaced", "select study_key from studies")


@pytest.mark.parametrize("name", ["ct_thin_slice", "series", "elements", "shapes"])
def test_a_name_of_the_package_is_not_taken(locked: Catalog, name: str) -> None:
    with pytest.raises(UsageError, match="of the package; choose another name"):
        definitions.save(locked, name, "select study_key from studies")


def test_a_file_put_into_the_folder_is_checked_when_it_runs(shared: warehouse.Warehouse) -> None:
    save(shared, "beside", "select series_key from series")
    (shared.root / "cohorts" / "evil.sql").write_text("-- E.\nfrom read_text('/etc/passwd')")
    with pytest.raises(UnsafeCohort):
        shared.cohort("evil")


def test_a_cohort_over_a_table_that_is_gone(shared: warehouse.Warehouse) -> None:
    save(shared, "gone", "select series_key from series")
    path = shared.root / "cohorts" / "gone.sql"
    path.write_text(path.read_text().replace("from series", "from serieses"))
    with pytest.raises(UnknownTable, match="similar: series"):
        shared.cohort("gone")
    path.write_text(
        path.read_text().replace(
            "series_key from serieses", "no_such_column, series_key from series"
        )
    )
    with pytest.raises(QueryFailed):
        shared.cohort("gone")


def test_unknown_names_tell_their_like(archive: warehouse.Warehouse) -> None:
    with pytest.raises(
        UnknownCohort, match="no cohort named 'ct_thin_slices'; similar: ct_thin_slice"
    ):
        archive.cohort("ct_thin_slices")
    with pytest.raises(UnknownCohort, match="no run of a cohort named 'x'; there is none"):
        runs.find_run(archive.root, "x")


def test_a_run_spills_rather_than_fill_the_memory(locked: Catalog) -> None:
    limit, folder = locked.connection.execute(
        "select current_setting('memory_limit'), current_setting('temp_directory')"
    ).fetchall()[0]
    assert limit == "953.6 MiB"
    assert folder.startswith(tempfile.gettempdir())


# -- what has changed, and why --------------------------------------------------------------------


def why(found: compare.Difference) -> dict[str, tuple[str, str]]:
    return {row["instance_key"]: (row["change"], row["why"]) for row in found.rows.to_pylist()}


def test_a_rerun_says_why_each_member_differs(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    old = changing.cohort("ct_thin_slice", max_slice_mm=3)
    make(tmp_path / "in", 1, 3)
    make(tmp_path / "in", 3, 1, SliceThickness="8")  # the smallest key decides for the series
    shutil.copy2(tmp_path / "in" / "p2_1.dcm", tmp_path / "in" / "a_copy.dcm")
    changing.ingest(tmp_path / "in", workers=1)
    found = compare.rerun(changing.root, old.run)
    assert why(found) == {
        "1.1.1.3": ("added", "read since the first run"),
        "1.2.1.1": ("changed", "another file holds it"),
        "1.3.1.1": ("gone", "its file was read again and does not match any more"),
        "1.3.1.2": ("gone", "other instances of its series, study or patient changed"),
    }
    attributes = {row["instance_key"]: row["attributes"] for row in found.rows.to_pylist()}
    assert attributes["1.3.1.1"] == ["SliceThickness"]


@pytest.mark.long("test_a_rerun_says_why_each_member_differs")
@pytest.mark.acceptance("D69")
def test_rerun_says_same_or_what_has_changed(changing: warehouse.Warehouse, tmp_path: Path) -> None:
    old = changing.cohort("ct_thin_slice", max_slice_mm=3)
    same = compare.rerun(changing.root, old.run)
    assert same.same_members
    assert why(same) == {}

    make(tmp_path / "in", 1, 3)
    make(tmp_path / "in", 2, 1, EthnicGroup="new")
    make(tmp_path / "in", 3, 1, SliceThickness="8")
    make(tmp_path / "in", 3, 2, SliceThickness="8")
    changing.ingest(tmp_path / "in", workers=1)
    found = compare.rerun(changing.root, old.run)
    assert not found.same_members
    assert found.before == old
    assert why(found) == {
        "1.1.1.3": ("added", "read since the first run"),
        "1.2.1.1": ("changed", "its file was read again"),
        "1.3.1.1": ("gone", "its file was read again and does not match any more"),
        "1.3.1.2": ("gone", "its file was read again and does not match any more"),
    }
    assert sum(count for *_, count in found.counts()) == 4
    attributes = {r["instance_key"]: r["attributes"] for r in found.rows.to_pylist()}
    assert attributes == {
        "1.1.1.3": None,
        "1.2.1.1": [],  # what differs is no column of `instances`
        "1.3.1.1": ["SliceThickness"],
        "1.3.1.2": ["SliceThickness"],
    }
    gone = "its file was read again and does not match any more: SliceThickness"
    assert ("gone", gone, 2) in found.counts()
    # Without the parts of the older version it is not known.
    for part in set(delta.snapshot(changing.root, old.warehouse["version"]).paths("instances")):
        if part not in delta.snapshot(changing.root).paths("instances"):
            os.unlink(part)
    found = compare.difference(changing.root, old.run, "ct_thin_slice")
    assert {row["attributes"] for row in found.rows.to_pylist()} == {None}
    assert keys(changing, old.run)[0] == "1.1.1.1", "the old run is what it was"


@pytest.mark.long("test_a_rerun_says_why_each_member_differs")
def test_an_instance_may_go_because_another_of_its_series_changed(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    old = changing.cohort("ct_thin_slice", max_slice_mm=3)
    make(tmp_path / "in", 3, 1, SliceThickness="8")  # the smallest key decides for the series
    changing.ingest(tmp_path / "in", workers=1)
    assert why(compare.rerun(changing.root, old.run))["1.3.1.2"] == (
        "gone", "other instances of its series, study or patient changed",
    )  # fmt: skip


@pytest.mark.long("test_a_rerun_says_why_each_member_differs")
def test_another_file_may_hold_an_instance(changing: warehouse.Warehouse, tmp_path: Path) -> None:
    old = changing.cohort("ct_thin_slice", max_slice_mm=1)
    shutil.copy2(tmp_path / "in" / "p1_1.dcm", tmp_path / "in" / "a_copy.dcm")
    changing.ingest(tmp_path / "in", workers=1)
    found = compare.rerun(changing.root, old.run)
    assert found.same_members, "the members are instances, not files"
    assert why(found) == {"1.1.1.1": ("changed", "another file holds it")}


def test_another_question_is_the_reason(shared: warehouse.Warehouse) -> None:
    two = shared.cohort("ct_thin_slice", max_slice_mm=2)
    three = shared.cohort("ct_thin_slice", max_slice_mm=3)
    reason = "the question or its parameters differ"
    assert why(shared.compare(two.run, three.run)) == {
        "1.3.1.1": ("added", reason),
        "1.3.1.2": ("added", reason),
    }
    assert {c for c, _ in why(shared.compare(three.run, two.run)).values()} == {"gone"}


# -- sets, splits, samples ------------------------------------------------------------------------


def test_sets(shared: warehouse.Warehouse) -> None:
    save(shared, "sets_acme", "select series_key from instances where Manufacturer = 'ACME'")
    save(shared, "sets_thin", "select series_key from instances where SliceThickness <= 2")
    thin = set(keys(shared, shared.cohort("sets_thin")))
    acme = set(keys(shared, shared.cohort("sets_acme")))
    for operation, expected in (
        ("union", thin | acme), ("intersect", thin & acme), ("minus", thin - acme),
    ):  # fmt: skip
        made = compare.combine(shared.root, operation, "sets_thin", "sets_acme", f"of_{operation}")
        assert keys(shared, made) == sorted(expected)
        assert [source["run"] for source in made.made_of] == ["sets_thin-0001", "sets_acme-0001"]
        assert (
            compare.combine(shared.root, operation, "sets_thin", "sets_acme", f"of_{operation}")
            == made
        )
    with pytest.raises(UsageError, match="made from sets_thin-0001, sets_acme-0001"):
        compare.rerun(shared.root, "of_union")


def parts_of(made: list[runs.Run], wh: warehouse.Warehouse) -> dict[str, str]:
    return {
        patient: run.cohort
        for run in made
        for patient in wh.members(run).collect()["patient_key"].to_list()
    }


def test_a_split_puts_a_patient_where_the_hash_says(shared: warehouse.Warehouse) -> None:
    run = shared.cohort("ct_thin_slice", max_slice_mm=99)
    found = parts_of(compare.split(shared.root, run, {"a": 0.5, "b": 0.5}, seed=4), shared)
    assert found == {
        f"P{patient}": "ct_thin_slice_a" if by_hand(4, patient) < 0.5 else "ct_thin_slice_b"
        for patient in range(1, 7)
    }


def by_hand(seed: int, patient: int) -> float:
    """The place of a patient between 0 and 1, by the rule of the documentation."""
    return int(hashlib.sha256(f"{seed}:P{patient}".encode()).hexdigest()[:13], 16) / 2**52


@pytest.mark.long("test_a_split_puts_a_patient_where_the_hash_says")
def test_a_split_keeps_patients_together_and_where_they_are(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    changing.cohort("ct_thin_slice", max_slice_mm=99)
    half = {"train": 0.5, "test": 0.5}
    first = parts_of(compare.split(changing.root, "ct_thin_slice", half, seed=4), changing)
    for patient in range(1, 4):
        assert first[f"P{patient}"] == (
            "ct_thin_slice_train" if by_hand(4, patient) < 0.5 else "ct_thin_slice_test"
        )
    for patient in range(4, 13):
        make(tmp_path / "in", patient)
    changing.ingest(tmp_path / "in", workers=1)
    changing.cohort("ct_thin_slice", max_slice_mm=99)
    made = compare.split(changing.root, "ct_thin_slice", half, seed=4)
    later = parts_of(made, changing)
    assert len(later) == 12
    assert {patient: later[patient] for patient in first} == first
    assert sum(run.counts["patients"] for run in made) == 12
    assert parts_of(compare.split(changing.root, "ct_thin_slice", half, seed=5), changing) != later


@pytest.mark.parametrize("shares", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan"), "b": 1}])
def test_shares_of_a_split_add_up(ran: warehouse.Warehouse, shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        compare.split(ran.root, "ct_thin_slice", shares)


def test_no_part_of_a_split_is_kept_when_another_cannot_be_named(ran: warehouse.Warehouse) -> None:
    with pytest.raises(UsageError, match="lower-case"):
        compare.split(ran.root, "ct_thin_slice", {"train": 0.5, "Te/st": 0.5})
    assert [run.run for run in runs.runs(ran.root)] == ["ct_thin_slice-0001"]


def test_a_sample_takes_so_many_of_each_stratum(shared: warehouse.Warehouse) -> None:
    run = shared.cohort("ct_thin_slice", max_slice_mm=99)
    made = compare.sample(shared.root, run, as_name="pilot", by=("Manufacturer",), count=1, seed=3)
    drawn = set(shared.members(made).collect()["series_key"].to_list())
    expected = {
        min(
            (f"1.{p}.1" for p in group), key=lambda k: hashlib.sha256(f"3:{k}".encode()).hexdigest()
        )
        for group in ((1, 3, 5), (2, 4, 6))
    }
    assert drawn == expected
    assert made.counts["instances"] == 4, "whole series"


def test_a_fraction_draws_each_series_on_its_own(shared: warehouse.Warehouse) -> None:
    thin = shared.cohort("ct_thin_slice", max_slice_mm=3)
    few = compare.sample(shared.root, thin, as_name="few", fraction=0.5)
    every = shared.cohort("ct_thin_slice", max_slice_mm=99)
    more = compare.sample(shared.root, every, as_name="more", fraction=0.5)
    few_keys, more_keys = keys(shared, few), keys(shared, more)
    assert [key for key in more_keys if int(key.split(".")[1]) <= 3] == few_keys
    assert 0 < more.counts["series"] < 6


def test_a_sample_counts_a_series_that_has_gone(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    run = changing.cohort("ct_thin_slice", max_slice_mm=99)
    for number in (1, 2):
        (tmp_path / f"in/p3_{number}.dcm").unlink()
    changing.remove(tmp_path / "in", delete=True)
    every = compare.sample(changing.root, run, as_name="every", fraction=1.0)
    assert (every.digest, every.counts["series"]) == (run.digest, 3)
    with pytest.raises(UsageError, match="2 members of ct_thin_slice-0001 have series that"):
        compare.sample(changing.root, run, as_name="drawn", by="Manufacturer", count=1)


@pytest.mark.long("test_a_sample_counts_a_series_that_has_gone")
def test_a_sample_leaves_out_no_series_that_has_gone(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    run = changing.cohort("ct_thin_slice", max_slice_mm=99)
    before = compare.sample(changing.root, run, as_name="drawn", by="Manufacturer", count=1)
    half = compare.sample(changing.root, run, as_name="half", fraction=0.5, seed=1)
    make(tmp_path / "in", 3, 1, Manufacturer="Other")
    make(tmp_path / "in", 3, 2, Manufacturer="Other")
    changing.ingest(tmp_path / "in", workers=1)
    after = compare.sample(changing.root, run, as_name="drawn", by="Manufacturer", count=1)
    assert after.run != before.run, "other strata"
    assert [drawn.parameters["strata_version"] for drawn in (before, after)] == [1, 2]
    for number in (1, 2):
        (tmp_path / f"in/p3_{number}.dcm").unlink()
    changing.remove(tmp_path / "in", delete=True)
    every = compare.sample(changing.root, run, as_name="every", fraction=1.0)
    assert (every.digest, every.counts["series"]) == (run.digest, 3)
    assert compare.sample(changing.root, run, as_name="half", fraction=0.5, seed=1) == half
    with pytest.raises(UsageError, match="2 members of ct_thin_slice-0001 have series that"):
        compare.sample(changing.root, run, as_name="drawn", by="Manufacturer", count=1)


def test_a_sample_takes_no_members_without_a_series(sample: warehouse.Warehouse) -> None:
    question = "select instance_key from instances where series_key is null or Modality = 'PT'"
    save(sample, "directories", question)
    run = sample.cohort("directories")
    with pytest.raises(UsageError, match="members of directories-0001 have no series"):
        compare.sample(sample.root, run, as_name="one", fraction=1.0)


@pytest.mark.parametrize(
    "wrong", [{}, {"count": 1, "fraction": 0.5}, {"count": 0}, {"fraction": 2}, {"count": 1, "by": ("x",)}]
)  # fmt: skip
def test_wrong_samples(ran: warehouse.Warehouse, wrong: dict) -> None:
    with pytest.raises(UsageError):
        compare.sample(ran.root, "ct_thin_slice", as_name="pilot", **wrong)


@pytest.mark.long("test_a_run_without_its_description_keeps_its_number")
def test_runs_of_many_writers_have_their_own_numbers(archive: warehouse.Warehouse) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda mm: archive.cohort("ct_thin_slice", max_slice_mm=mm), range(4)))
    assert len({run.run for run in made}) == 4
    stored = [
        json.loads((runs.runs_folder(archive.root) / run.run / "run.json").read_text())
        for run in made
    ]
    assert [s["parameters"]["max_slice_mm"] for s in stored] == [0, 1, 2, 3]


def test_a_run_without_its_description_keeps_its_number(template: Path, tmp_path: Path) -> None:
    """As of a backup that was restored in part: the number was tried again for ever."""
    wh = warehouse.open(shutil.copytree(template / "w", tmp_path / "w"))
    first = wh.cohort("ct_thin_slice")
    (wh.root / "cohorts" / "runs" / first.run / "run.json").unlink()
    assert wh.cohort("ct_thin_slice").run == "ct_thin_slice-0002"
    assert [damage.what for damage in wh.verify().damaged] == [f"cohorts/runs/{first.run}/run.json"]


def test_the_folder_of_cohorts_does_not_disturb_the_warehouse(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    changing.cohort("ct_thin_slice")
    make(tmp_path / "in", 9)
    assert changing.ingest(tmp_path / "in", workers=1).created == 1
    assert os.listdir(changing.root / "cohorts") == ["runs"]


def test_a_cohort_of_a_warehouse_with_kept_answers(template: Path, tmp_path: Path) -> None:
    """As every warehouse of 5,000 instances has: the answers lie in a folder of their own."""
    root = tmp_path / "w"
    shutil.copytree(template / "w", root)
    before = warehouse.open(root).cohort("ct_thin_slice").digest
    assert materialize(root)
    again = warehouse.open(root).cohort("ct_thin_slice", min_instances=0)
    assert (again.run, again.digest) == ("ct_thin_slice-0002", before)
