"""What people give by mistake to the public methods is a ``UsageError`` that says what to give."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import os
import pickle
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from warehouse.algorithms.facade import Algorithms
from warehouse.algorithms.runs import run_waiting
from warehouse.api import Warehouse
from warehouse.batches import Batches
from warehouse.cohorts import asking
from warehouse.components.facade import Components
from warehouse.deidentify.facade import Deidentified
from warehouse.errors import (
    InstanceNotFound,
    NotAWarehouse,
    QueryFailed,
    SourceNotFound,
    StoreDamaged,
    UnknownFilter,
    UnknownVersion,
    UsageError,
    WarehouseError,
)
from warehouse.given import checked
from warehouse.listener.fetching import fetch
from warehouse.listener.settings import ListenerSettings, Peer
from warehouse.server.settings import ServerSettings
from warehouse.sets import Sets
from warehouse.settings import IngestSettings, Limits
from warehouse.upkeep import Upkeep

OWNERS = (Warehouse, Upkeep, Batches, Sets, Components, Algorithms, Deidentified)
WRONG = (object(), 1.5, b"bytes", float("nan"), np.array(["a", "b"]), pd.NaT, ["a", 1], print)
TAKES_ANYTHING = frozenset({"object", "Any"})


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("given")
    made = warehouse.open(folder / "w", create=True)
    made.ingest(
        write(folder / "a.dcm", uid="1.1", SliceThickness="2.5", Modality="CT"),
        write(folder / "b.dcm", uid="1.2", Modality="MR", SeriesInstanceUID="1.2.9"),
        workers=1,
    )
    return made


def parameters() -> Iterator[tuple[Any, inspect.Parameter]]:
    """Yield every parameter of the interface that has a kind."""
    functions = [warehouse.open, warehouse.header]
    for owner in OWNERS:
        functions += [
            method
            for name, method in vars(owner).items()
            if inspect.isfunction(method) and not name.startswith("_") and name != "sql"
        ]
    for function in functions:
        for each in inspect.signature(function).parameters.values():
            is_asked = each.name not in {"self", "wh"} and each.kind is not each.VAR_KEYWORD
            if is_asked and each.annotation not in TAKES_ANYTHING:
                yield function, each


def test_no_argument_of_a_wrong_kind_reaches_a_library() -> None:
    """All of them are refused before anything is looked at, so that `self` need be nothing."""
    seen = 0
    for function, parameter in parameters():
        signature = inspect.signature(function)
        for wrong in (*WRONG, *(() if "str" in parameter.annotation else ("no",))):
            if isinstance(wrong, float) and "float" in parameter.annotation:
                continue
            if wrong is print and "Callable" in parameter.annotation:
                continue
            if isinstance(wrong, bytes) and parameter.annotation == "bytes":
                continue
            is_listed = not isinstance(wrong, str) and isinstance(wrong, np.ndarray | list)
            if is_listed and any(kind in parameter.annotation for kind in ("Iter", "Seq", "tuple")):
                continue
            args: list[Any] = []
            kwargs: dict[str, Any] = {}
            for each in signature.parameters.values():
                given = wrong if each.name == parameter.name else _right(each)
                if each.kind is each.KEYWORD_ONLY:
                    kwargs[each.name] = given
                elif each.kind is not each.VAR_KEYWORD:
                    args.append(given)
            with pytest.raises(UsageError, match=parameter.name) as caught:
                function(*args, **kwargs)
            assert function.__name__ in str(caught.value)
            seen += 1
    assert seen > 1000


def _right(parameter: inspect.Parameter) -> Any:
    """Return something that a parameter takes."""
    if parameter.name in {"self", "wh"}:
        return None
    if parameter.default is not parameter.empty:
        return parameter.default
    kinds = parameter.annotation
    if "Mapping" in kinds:
        return {}
    if "Seq" in kinds or kinds.startswith("Iterable"):
        return []
    if kinds == "bytes":
        return b""
    return 1 if kinds == "int" else "x"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda wh: wh.ingest(["a", "b"]), r"sources .* not list of str; .* separately, as ingest\(\*"),
        (lambda wh: wh.remove(("a", "b")), "not tuple of str"),
        (lambda wh: wh.ingest(pl.Series(["a"])), "text or a path, not Series"),
        (lambda wh: wh.ingest(path for path in "ab"), "not generator"),
        (lambda wh: wh.ingest(""), "a path is empty"),
        (lambda wh: wh.ingest("a\0b"), "a zero byte"),
        (lambda wh: wh.ingest("a", mode=None), "mode is text, not None"),
        (lambda wh: wh.ingest("a", worker=2), "takes no 'worker'; similar: workers"),
        (lambda wh: wh.ingest("a", workers="2"), "workers is a whole number or None, not str"),
        (lambda wh: wh.ingest("a", batch_files=0), "batch_files must be at least 1"),
        (lambda wh: wh.ingest("a", workers=0), "workers must be at least 1, .* not 0"),
        (lambda wh: wh.ingest("a", workers=-1), "workers must be at least 1, .* not -1"),
        (lambda wh: wh.sets.split(), "split.*: missing a required argument: 'run'"),
        (lambda wh: wh.ingest("a", limits={"rows": 1}), "limits is Limits or None, not dict"),
        (lambda wh: wh.remove("a", delete="no"), "delete is True or False, not str"),
        (lambda wh: wh.vacuum(30), "retention is timedelta, not int"),
        (lambda wh: wh.attributes(["Modality"]), "not list of str; .* separately"),
        (lambda wh: wh.table(["series"]), "not list of str; for several call it once for each"),
        (lambda wh: wh.measure_segments("1.2"), r"series is a list .* for one write \[series\]"),
        (lambda wh: wh.select("series", {"Modality": "CT"}, limit=np.float64(1)), "limit is a whole"),
        (lambda wh: wh.select("series", limit=10**30), "limit and offset must be whole numbers"),
        (lambda wh: wh.select("series", order=""), "'' is not a column"),
        (lambda wh: wh.values("series", ""), "a DICOM keyword"),
        (lambda wh: wh.cohort("a\udcffb"), "a character that UTF-8 does not have"),
        (lambda wh: wh.export("x", "y", "csv", kind="z"), "no run of a cohort"),
        (lambda wh: wh.sets.combine("plus", "a", "b", "c"), "must be one of union, intersect, minus"),
        (lambda wh: wh.sets.split("x", {"a": "1"}), "fractions is a mapping or None"),
        (lambda wh: wh.algorithms.create("x", nothing=1), "takes no 'nothing'"),
        (lambda wh: wh.sql("select ?", "CT"), r"for one write \[value\]"),
        (lambda wh: wh.sql("select ?", 3), "params must be a list or a mapping"),
        (lambda wh: warehouse.header(wh.root), "is a folder; name a file in it"),
        (lambda wh: wh.gallery(limit=-1), "whole numbers from 0"),
        (lambda wh: list(wh.duplicates(limit=10**30)), "limit and offset must be whole"),
        (lambda wh: wh.volume("1.2", window=(40,)), r"a window is \(center, width\)"),
        (lambda wh: wh.volume("1.2", window=["40", "400"]), "a window is .* or 'header'"),
        (lambda wh: wh.batches.run("../.."), r"a batch is a number, .*not '\.\./\.\.'"),
        (lambda wh: wh.components.add_values(["a"]), "given is a list of Given, not list of str"),
        (lambda wh: wh.components.put("s", "i", {"a": "\udcff"}), "put has a character"),
        (lambda wh: wh.header("1.1").search(None), "text is text, not None"),
        (lambda wh: Limits(rows="5"), "rows must be at least 1, a whole number: not '5'"),
        (lambda wh: IngestSettings(chunk_rows=1.5), "chunk_rows must be at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_to_give(
    wh: Warehouse, call: Callable[[Any], object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        call(wh)


def test_an_option_that_a_format_does_not_have_is_named(wh: Warehouse, tmp_path: Path) -> None:
    kept = wh.cohort("ct_thin_slice", max_slice_mm=np.int64(3))
    assert kept.parameters["max_slice_mm"] == 3
    for form in ("csv", "zip", "bids", "documents"):
        with pytest.raises(UsageError, match=f"an export as {form} takes no 'forc'"):
            wh.export(kept, tmp_path / "out", form, forc=True)
    with pytest.raises(UsageError, match="csv, .* s5cmd, zip, copy, link, bids, documents"):
        wh.export(kept, tmp_path / "out", "xlsx")
    with pytest.raises(UsageError, match="deidentify is Deidentify or text or None, not int"):
        wh.export(kept, tmp_path / "out", "csv", deidentify=1)
    with pytest.raises(UsageError, match="spreadsheet is True or False, not str"):
        wh.export(kept, tmp_path / "out", "csv", spreadsheet="no")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_compared_with_itself(wh: Warehouse) -> None:
    kept = wh.cohort("ct_thin_slice", max_slice_mm=3)
    assert wh.compare(kept, kept).same_members


@pytest.mark.long("test_a_run_is_compared_with_itself")
def test_a_run_is_taken_wherever_its_name_is(wh: Warehouse) -> None:
    kept = wh.cohort("ct_thin_slice", max_slice_mm=3)
    assert wh.compare(kept, kept).same_members
    assert wh.rerun(kept).same_members
    assert wh.sets.combine("union", kept, kept, "both").counts == kept.counts
    assert (
        wh.sets.sample(kept, as_name="one", by="Modality", count=np.int64(1)).counts["series"] == 1
    )


def test_numbers_and_columns_of_other_libraries_are_taken(wh: Warehouse) -> None:
    uids = wh.sql("select SOPInstanceUID from instances where Modality = 'CT'").pl()
    for given in (
        uids["SOPInstanceUID"],
        uids["SOPInstanceUID"].to_pandas(),
        {"1.1"},
        iter(["1.1"]),
    ):
        assert len(wh.select("instances", SOPInstanceUID__in=given).fetchall()) == 1
    for number in (np.int64(3), np.float32(2.5), pd.Series([2.5])[0]):
        assert len(wh.select("series", SliceThickness__max=number).fetchall()) == 1
    assert len(wh.select("series", limit=np.int64(1)).fetchall()) == 1
    assert wh.select("series", columns="Modality", limit=1).fetchall() == [("CT",)]


@pytest.mark.parametrize(
    "condition",
    [{"SliceThickness__max": float("nan")}, {"SliceThickness__max": "nan"}, {"Modality": pd.NA},
     {"Modality": float("nan")}, {"StudyDate__min": pd.NaT}, {"Modality__null": None}],
    ids=str,
)  # fmt: skip
def test_what_is_missing_is_no_value_to_compare_with(
    wh: Warehouse, condition: dict[str, Any]
) -> None:
    """DuckDB has NaN greater than any number: every row, or none, would be the answer."""
    with pytest.raises(UnknownFilter, match="__null"):
        wh.select("series", condition).fetchall()


@pytest.mark.parametrize("given", [["CT", "MR"], ("CT",), {"CT"}, b"CT", {"a": 1}])
def test_several_values_where_one_is_compared_are_no_empty_answer(
    wh: Warehouse, given: object
) -> None:
    with pytest.raises(UnknownFilter, match="Modality__in"):
        wh.select("series", Modality=given)


def test_a_header_is_found_by_any_path(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    made = write(folder / "a.dcm", uid="1.7")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(made, workers=1)
    for path in (str(made), made):
        assert wh.header(path)["SOPInstanceUID"] == "1.7"
    with pytest.raises(InstanceNotFound, match="file://.*%FF"):
        wh.header(str(folder / "b.dcm"))


def test_a_place_or_version_that_cannot_be_is_a_named_error(wh: Warehouse) -> None:
    with pytest.raises(NotAWarehouse):
        warehouse.open(wh.root.parent / ("x" * 300))
    for call in (wh.deidentified.check, lambda x: wh.components.import_set("s", x)):
        with pytest.raises(SourceNotFound):
            call("x" * 300)
    with pytest.raises(UsageError, match="the name is too long"):
        wh.add_dictionary("x" * 300)
    with pytest.raises(WarehouseError):
        warehouse.open("x" * 300, create=True).ingest(wh.root.parent / "a.dcm", workers=1)
    for version in (-1, 10**30):
        with pytest.raises(UnknownVersion):
            warehouse.open(wh.root, version=version)


def test_the_home_of_the_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in" / "a.dcm", uid="1.1")
    write(tmp_path / "in" / "~b.dcm", uid="1.2")
    with warehouse.open("~/w", create=True) as made:
        assert made.root == tmp_path / "w"
        assert made.ingest("~/in", workers=1).created == 2
        assert made.ingest(Path("~/in/a.dcm"), "in/~b.dcm", workers=1).existing == 2
    assert warehouse.header("~/in/a.dcm")["SOPInstanceUID"] == "1.1"
    assert run("info", DICOM_WAREHOUSE="~/w").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in", "w"}


def test_a_command_to_copy_has_the_path_as_a_shell_takes_it(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.txt").touch()
    done = run("ingest", tmp_path, "-w", tmp_path / "my archive")
    command, *rest = shlex.split(done.stdout.splitlines()[-1].partition("them: ")[2])
    assert command == "dicom-warehouse"
    assert run(*rest).returncode == 0


def test_another_process_opens_the_same_warehouse(wh: Warehouse) -> None:
    wh.register("labels", pl.DataFrame({"x": [1]}))
    for other in (pickle.loads(pickle.dumps(wh)), copy.deepcopy(wh)):
        assert other.sql("select count(*) from instances, labels").fetchall() == [(2,)]
        assert other.version == wh.version
    wh.unregister("labels")


def test_a_warehouse_that_was_moved_says_so(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    with pytest.raises(NotAWarehouse):
        wh.rerun_all()
    wh.ingest(write(tmp_path / "a.dcm", uid="1.1"), workers=1)
    assert wh.info()["version"] == 1
    (tmp_path / "w").rename(tmp_path / "elsewhere")
    for ask in (wh.info, lambda: wh.sql("from series").fetchall()):
        with pytest.raises(StoreDamaged, match="open it where it is now"):
            ask()


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (("select", "series", "Modality=CT", "Modality=MR"), 2, "write Modality__in=VALUE,VALUE"),
        (("select", "series", "Modality!=CT", "-Modality=MR"), 2, "-Modality is given twice"),
        (("select", "series", "Modality=CT,MR"), 0, "compared with one text; .* Modality__in="),
        (("sql", "select", "1"), 2, "too many arguments: 1; put quotes around"),
        (("selct", "series"), 2, 'Unknown command "selct". Did you mean "select"'),
        (("tags", "--lik", "echo"), 2, "Unknown option: --lik. Did you mean --like"),
        (("volume", "1.2", "--empty-window"), 2, "Unknown option: --empty-window"),
    ],
)
def test_what_a_shell_makes_of_a_question_is_said(
    wh: Warehouse, asked: tuple[str, ...], code: int, says: str
) -> None:
    done = run(*asked, "-w", wh.root)
    assert done.returncode == code
    assert re.search(says, done.stderr)


def test_one_text_with_a_comma_that_is_found_needs_no_hint(wh: Warehouse) -> None:
    assert run("select", "series", "Modality=CT", "-w", wh.root).stderr == ""


@pytest.mark.parametrize(
    ("given", "found"),
    [(np.int64(3), 3), (pl.Series(["CT"]), ["CT"]), (pd.Series([1.5]), [1.5]),
     (np.array(["a"]), ["a"]), (np.datetime64("2020-01-02T03:04:05.5", "ns"),
     dt.datetime.fromisoformat("2020-01-02T03:04:05.5"))],
    ids=str,
)  # fmt: skip
def test_values_of_other_libraries_are_parameters(wh: Warehouse, given: Any, found: object) -> None:
    assert wh.sql("select $m", {"m": given}).fetchall() == [(found,)]
    assert wh.sql("select ?", [given]).fetchall() == [(found,)]


def test_attributes_are_named_as_conditions_are(wh: Warehouse) -> None:
    asked = wh.attributes("(0018,0050)", "0008,0060", "PatientID")
    assert asked.columns[1:] == ["00180050", "00080060", "PatientID"]
    with pytest.raises(QueryFailed, match="neither a DICOM keyword"):
        wh.attributes()


def test_a_pattern_that_no_shell_has_expanded_is_told_from_a_path(
    wh: Warehouse, tmp_path: Path
) -> None:
    with pytest.raises(SourceNotFound, match=r"/\*\.dcm; paths are not expanded.* pattern="):
        wh.ingest(tmp_path / "*.dcm", workers=1)
    with pytest.raises(SourceNotFound, match=r"/a\.dcm$"):
        wh.ingest(tmp_path / "a.dcm", workers=1)


def test_truth_values_of_numpy_become_those_of_python_and_none_stays() -> None:
    @checked
    def given(flag: bool | None) -> object:
        return flag

    assert [given(value) for value in (np.True_, False, None)] == [True, False, None]
    assert type(given(np.True_)) is bool


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_a_time_limit_can_be_waited_for(tmp_path: Path, seconds: float) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    peer = Peer("A", "localhost", 104)
    for ask in (
        lambda: asking.Limits(seconds=seconds),
        lambda: ListenerSettings(batch_seconds=seconds),
        lambda: ListenerSettings(network_seconds=seconds),
        lambda: ServerSettings(seconds=seconds),
        lambda: fetch(wh, peer, ["1.2"], settings=ListenerSettings(), seconds=seconds),
        lambda: run_waiting(None, wh.root, "any", nullcontext, seconds=seconds),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match="more than 0 and at most 2,000,000"):
            ask()


@pytest.mark.parametrize(
    "wrong", [{"port": 99999}, {"port": -1}, {"requests": -1}, {"body_bytes": -1}]
)
def test_a_server_cannot_run_with_these(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        ServerSettings(**wrong)  # type: ignore[arg-type]
