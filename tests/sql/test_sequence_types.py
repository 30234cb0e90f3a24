"""What kind of sequence a series is: rules as data, against the same in Python and against real series."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.conftest import packaged_files
from tests.dicom_files import image, write
from tests.flat import flat
from tests.sequence_labels import PAGE, confusion, in_page, read_labels
from tests.small_tables import View
from warehouse.catalog.dictionaries import sequence_rules
from warehouse.sqlfiles import by_name
from warehouse.store import layout
from warehouse.store.duck import set_variables
from warehouse.store.rules import CONFIDENCES, Condition, Rule, add_rules, read_rules

CORE = (
    "ScanningSequence",
    "SequenceVariant",
    "ImageType",
    "MRAcquisitionType",
    "SOPClassUID",
    "SamplesPerPixel",
)
Header = dict[str, list[str]]


def holds(condition: Condition, said: list[str]) -> bool:
    """Tell whether a condition holds, as the description of the tests has it."""
    wanted = [list(values) for values in condition.alternatives]
    flat = [value.lower() for values in wanted for value in values]
    text = "\\".join(said).lower()
    match condition.test:
        case "is":
            return said in wanted
        case "has":
            return any(set(values) <= set(said) for values in wanted)
        case "contains":
            return any(value in text for value in flat)
        case "word":
            return any(f" {value} " in f" {text} " for value in flat)
        case "above":
            return bool(said) and float(said[0]) > float(flat[0])
        case "below":
            return bool(said) and float(said[0]) < float(flat[0])
    raise AssertionError(condition.test)


def expected(rules: list[Rule], header: Header) -> tuple[str | None, str | None]:
    """Return type and name of the first rule that holds."""
    for rule in rules:
        if all(holds(each, header.get(each.attribute, [])) for each in rule.conditions):
            return rule.sequence_type, rule.name
    return None, None


def satisfying(rule: Rule, n: int) -> Header:
    """Return a header for which all conditions of a rule hold, with the n-th of their alternatives."""
    header: Header = {}
    for each in rule.conditions:
        values = list(each.alternatives[min(n, len(each.alternatives) - 1)])
        known = header.get(each.attribute, [])
        if each.test in {"above", "below"}:
            # Between both, where two conditions ask for one number.
            limits = [
                float(c.alternatives[0][0])
                for c in rule.conditions
                if c.attribute == each.attribute
            ]
            middle = (
                sum(limits) / 2
                if len(limits) == 2
                else limits[0] + (1 if each.test == "above" else -1)
            )
            header[each.attribute] = [f"{middle:g}"]
        elif each.test in {"word", "contains"}:
            header[each.attribute] = [" ".join(["", *known, *values, ""])]
        else:
            header[each.attribute] = known + [value for value in values if value not in known]
    return header


def changed(header: Header, rng: random.Random) -> Header:
    """Return a header with one attribute changed or left out, so that it nearly fits."""
    attribute = rng.choice(sorted(header))
    values = header[attribute]
    other = {
        "YES": "NO", "NO": "YES", "MAGNITUDE": "PHASE", "2D": "3D", "3D": "2D", "GR": "SE", "EP": "GR",
    }  # fmt: skip
    if rng.random() < 0.3 or not values:
        return {name: said for name, said in header.items() if name != attribute}
    if values[0].replace(".", "").isdigit() and attribute != "SOPClassUID":
        return header | {attribute: [str(float(values[0]) * rng.choice([0.1, 0.5, 2, 20]) // 1)]}
    return header | {attribute: [other.get(value, value) for value in values]}


def judged(headers: list[Header]) -> list[tuple[str | None, str | None, str | None, str]]:
    """Return type, rule, confidence and reason of series with these headers and facts."""
    view = View()
    types = {
        table: {column.name: column.type for column in by_name(table).columns}
        for table in ("instances", "sequence_facts")
    }
    facts = types["sequence_facts"]
    for name in ("instances", "elements", "sequence_facts"):
        view.given(name, {"elements": "path"}.get(name, "series_key"))
    core: dict[str, list[Any]] = {
        name: [h.get(name) if name in CORE[:3] else (h.get(name) or [None])[0] for h in headers] for name in CORE
    }  # fmt: skip
    told: dict[str, list[Any]] = {
        name: [(h.get(name) or [None])[0] for h in headers]
        for name in facts.keys() & {name for h in headers for name in h}
    }
    keys: dict[str, Any] = {
        "instance_id": range(len(headers)),
        "series_key": list(map(str, range(len(headers)))),
    }
    usual = {"instance_key": keys["series_key"], "Modality": ["MR"] * len(headers)}
    for table, columns in (("instances", keys | usual | core), ("sequence_facts", keys | told)):
        rows = pl.DataFrame(columns)  # noqa: F841 - DuckDB reads it by its name
        cells = ", ".join(f'cast("{name}" as {types[table][name]})' for name in columns)
        listed = ", ".join(f'"{name}"' for name in columns)
        view.connection.execute(f"insert into {table} ({listed}) select {cells} from rows")
    view.make("sequence_rules")
    asked = ["series_key", "sequence_type", "rule", "confidence", "why"]
    found = view.rows("sequence_types", asked)
    return [tuple(rest) for _, *rest in sorted(found, key=lambda row: int(row[0]))]  # type: ignore[misc]


TYPES = {
    "T1w", "T2w", "PDw", "PDT2", "FLAIR", "STIR", "T2starw", "SWI", "UNIT1", "MP2RAGE", "IRT1", "MESE", "MEGRE",
    "T1map", "T2map", "T2starmap", "TB1map", "TOF", "PC", "dwi", "dwi_sbref", "dwi_derived", "ADC", "FA", "ColFA",
    "TRACE", "bold", "sbref", "bold_derived", "asl", "m0scan", "asl_derived", "dsc", "dce", "perfusion_derived",
    "epi", "fieldmap", "phasediff", "magnitude", "localizer", "spectroscopy", "projection", "reformat", "subtraction",
    "secondary_capture", "physio_log",
}  # fmt: skip


@pytest.mark.acceptance("D48")
def test_the_types_are_those_that_the_page_lists() -> None:
    """Until BIDS labels came there were sixteen, with ASL and multiband BOLD among func_fieldmap."""
    assert {rule.sequence_type for rule in read_rules()} == TYPES
    assert {rule.confidence for rule in read_rules()} == set(CONFIDENCES)
    page = (Path(__file__).parents[2] / "docs/how-to/sequence-types.md").read_text("utf-8")
    assert {kind for kind in TYPES if f"`{kind}`" not in page} == set()


@pytest.mark.acceptance("D48")
def test_the_first_rule_that_holds_gives_the_type() -> None:
    """Each rule and each of its alternatives, and headers that nearly fit, against the tests in Python."""
    rules, rng = read_rules(), random.Random(20)
    fitting = [satisfying(rule, n) for rule in rules for n in (0, 1, 2)]
    headers = fitting + [changed(rng.choice(fitting), rng) for _ in range(600)]
    found = judged(headers)
    confidence = {rule.name: rule.confidence for rule in rules}
    for header, (kind, name, sure, why) in zip(headers, found, strict=True):
        assert (kind, name) == expected(rules, header), header
        assert sure == confidence.get(name or ""), header
        assert why.startswith(f"{name} (package): ") if name else why == "no rule holds"
    assert len({name for _, name, _, _ in found}) > 0.9 * len(rules)
    assert None in {name for _, name, _, _ in found}


def test_why_has_words_of_the_rule_and_none_of_the_patient() -> None:
    ((kind, _, sure, why),) = judged(
        [{"description": [" doe john localizer sag "], "plane_count": ["3"]}]
    )
    assert (kind, sure) == ("localizer", "high")
    assert why == (
        "localizer-planes-words (package): description contains localiz, plane_count above 1"
    )


def answers_of_the_table(wh: warehouse.Warehouse) -> int:
    """Hold the types of labelled series equal to those of the table; return how many there are."""
    found = dict(answer_of(wh, "select series_key, sequence_type from sequence_types"))
    known = [row for row in read_labels() if row["series_key"] in found]
    assert {row["series_key"]: found[row["series_key"]] or "" for row in known} == {
        row["series_key"]: row["answer"] for row in known
    }
    return len(known)


def test_series_of_the_packages_have_the_answers_of_the_table(sample: warehouse.Warehouse) -> None:
    assert answers_of_the_table(sample) >= 5


@pytest.mark.long("test_series_of_the_packages_have_the_answers_of_the_table")
@pytest.mark.skipif("DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder")
def test_real_series_have_the_answers_of_the_table(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*packaged_files(), workers=1)
    assert answers_of_the_table(wh) >= 35


def test_the_page_shows_the_table_of_labels() -> None:
    page = PAGE.read_text("utf-8")
    assert in_page(page, confusion(read_labels())) == page


# -- rules that users bring, on real files --------------------------------------------------------

HEAD = "rank,rule,sequence_type,modality,attribute,test,values\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Series: a, an MPRAGE; b, its like with another echo time; c, a CT. Not to write to."""
    folder = tmp_path_factory.mktemp("rules")
    for n, (modality, echo) in enumerate([("MR", "2.5"), ("MR", "3.5"), ("CT", None)]):
        write(folder / "in" / f"{n}.dcm", image(
            f"1.{n}", Modality=modality, SeriesInstanceUID=f"2.{n}", ScanningSequence=["GR", "IR"],
            SequenceVariant=["SK", "SP", "MP"], ScanOptions="IR", EchoTime=echo, ImagedNucleus="1H",
            SliceThickness="1.0", SeriesDescription="Sag T1 MPRAGE",
        ))  # fmt: skip
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


@pytest.fixture
def wh(archive: warehouse.Warehouse, tmp_path: Path) -> warehouse.Warehouse:
    """The archive, to write to."""
    return warehouse.open(shutil.copytree(archive.root, tmp_path / "w"))


def types(wh: warehouse.Warehouse) -> list[tuple[str | None, str | None]]:
    return answer_of(warehouse.open(wh.root), TYPES_OF_SERIES)


TYPES_OF_SERIES = "select sequence_type, rule from sequence_types order by series_key"


@pytest.mark.acceptance("D49")
def test_every_series_has_a_row_and_one_that_is_no_mr_has_no_type(wh: warehouse.Warehouse) -> None:
    query = "select series_key, sequence_type from sequence_types order by all"
    answer = run("sql", query, "-w", wh.root, "--format", "csv")
    lines = ["series_key,sequence_type", "2.0,T1w", "2.1,T1w", "2.2,"]
    assert (answer.stdout.splitlines(), answer.stderr) == (lines, "")


@pytest.mark.acceptance("D49")
def test_a_changed_rule_changes_only_the_series_it_is_about(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    rules = tmp_path / "mine.csv"
    rules.write_text(HEAD + "5,short,short_echo,MR,EchoTime,below,3\n")
    assert add_rules(wh.root, rules) == 1
    assert types(wh) == [("short_echo", "short"), ("T1w", "t1-mprage-words"), (None, None)]
    rules.write_text(HEAD + "5,short,short_echo,MR,EchoTime,below,2\n")
    add_rules(wh.root, rules)
    assert types(wh) == [("T1w", "t1-mprage-words"), ("T1w", "t1-mprage-words"), (None, None)]


@pytest.fixture(scope="module")
def facts(
    archive: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> duckdb.DuckDBPyConnection:
    """All that no rule changes as tables, and the view of types over them."""
    made = flat(tmp_path_factory, "rules", archive, "sequence_types")
    for name in ("sequence_rules", "sequence_types"):
        made.execute(f"create temp view {name} as {by_name(name).query}")
    return made


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("5,x,x,MR,ImagedNucleus,is,1H", ["x", "x", None]),
        ("5,x,x,MR,00180085,is,1H", ["x", "x", None]),
        ("5,x,x,MR,ImagedNucleus,is,", ["T1w", "T1w", None]),
        ("5,x,x,MR,ReceiveCoilName,is,", ["x", "x", None]),
        ("5,x,x,CT,SliceThickness,above,0.5", ["T1w", "T1w", "x"]),
        ("5,x,x,,SeriesDescription,contains,mprage|space", ["x", "x", None]),
        ("5,x,x,,SeriesDescription,contains not,flair", ["x", "x", None]),
        ("5,x,x,,ReceiveCoilName,contains not,head", ["T1w", "T1w", None]),
        ("5,x,x,,SequenceVariant,has not,OSP", ["x", "x", None]),
        ("5,x,x,,ReceiveCoilName,has not,OSP", ["T1w", "T1w", None]),
        ("5,x,x,,SequenceVariant,has not,SK\\OSP|MP\\SK", ["T1w", "T1w", None]),
        ("5,x,x,,EchoTime,above,3\n5,x,x,,SequenceVariant,has,MP", ["T1w", "x", None]),
        ("5,x,x,,ImagedNucleus,above,3", ["T1w", "T1w", None]),
        ("155,x,x,MR,ImagedNucleus,is,1H", ["x", "x", None]),
        ("156,x,x,MR,ImagedNucleus,is,1H", ["T1w", "T1w", None]),
        ("155,t1-mprage-words,t1,MR,EchoTime,above,3", ["T1w", "t1", None]),
        ("155,t1-mprage-words,,,,,", ["T1w", "T1w", None]),
    ],
)  # fmt: skip
def test_users_rules_use_any_element_and_every_test(
    archive: warehouse.Warehouse, facts: duckdb.DuckDBPyConnection, tmp_path: Path, lines: str,
    expected: list[str | None],
) -> None:  # fmt: skip
    (tmp_path / "mine.csv").write_text(HEAD + lines + "\n")
    # A folder without rows is enough to add rules to; a catalog that is open is told of them.
    shutil.copy(archive.root / layout.MARKER, tmp_path)
    add_rules(tmp_path, tmp_path / "mine.csv")
    set_variables(facts, {"sequence_rules": sequence_rules(read_rules(tmp_path))})
    assert [kind for kind, _ in facts.execute(TYPES_OF_SERIES).fetchall()] == expected


def test_the_instance_with_the_smallest_key_speaks_for_its_series(tmp_path: Path) -> None:
    usual: dict[str, Any] = {
        "Modality": "MR", "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP", "MP"],
    }  # fmt: skip
    scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write(tmp_path / "in" / "a.dcm", image("1.2", **usual, ImageType=scout))
    write(tmp_path / "in" / "b.dcm", image("1.1", **usual))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert types(wh) == [("T1w", "t1-mprage-classic")]
    write(tmp_path / "in" / "c.dcm", image("1.0", **usual, ImageType=scout))
    wh.ingest(tmp_path / "in", workers=1)
    assert types(wh) == [("localizer", "localizer-type")]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("full", [("T1w", None), ("ADC", None)]),
        ("normal", [("T1w", None), ("ADC", None)]),
        # A rule about elements that were not stored comes first: it might hold.
        ("minimal", [(None, "read in mode minimal: elements were not stored"), ("ADC", None)]),
    ],
)
def test_a_type_is_right_or_null_with_the_reason(
    tmp_path: Path, mode: Any, expected: list[tuple[str | None, str | None]]
) -> None:
    write(tmp_path / "in" / "a.dcm", image(
        "1.2", SeriesInstanceUID="2.1", Modality="MR", ScanningSequence=["GR", "IR"],
        SequenceVariant=["SK", "SP", "MP"], ScanOptions="IR",
    ))  # fmt: skip
    write(tmp_path / "in" / "b.dcm", image(
        "1.3", SeriesInstanceUID="2.2", Modality="MR", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode=mode, workers=1)
    query = "select sequence_type, not_read from sequence_types order by series_key"
    assert answer_of(wh, query) == expected


def test_what_is_read_from_instances_is_not_asked_of_elements() -> None:
    """The names stand twice in the view: a constant is what keeps the long table unread."""
    sql = by_name("sequence_types").sql
    stated = re.findall(r"struct_pack\(attribute := '([A-Z]\w+)'", sql)
    (left_out,) = re.findall(r"list_contains\(\[([^]]+)\], rule\['attribute'\]\)", sql)
    assert sorted(re.findall(r"'(\w+)'", left_out)) == sorted(stated)
    assert len(stated) == 14
