"""What kind of sequence a series is: the rules that come with the package against the same in Python."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import image, write
from tests.small_tables import View
from warehouse.sqlfiles import by_name
from warehouse.store.rules import add_rules, read_rules

OTHER = ("ORIGINAL", "PRIMARY", "OTHER")
MOSAIC = ("ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC")
Values = tuple[str, ...]


def reference(
    scanning: Values, variant: Values, kind: Values, options: Values, phase: str | None
) -> str | None:
    """Return the first label whose definition holds, as a reader of the definitions would write it."""
    epi = scanning == ("EP",)
    weighted = epi and variant in {("SK", "SS"), ("SK", "SP"), ("SK", "SP", "OSP"), ("SK", "SS", "OSP")} and (
        {"ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"} <= set(kind)
    )  # fmt: skip
    acc = options == ("FAST_GEMS", "FILTERED_GEMS", "ACC_GEMS")
    labels = {
        "flair": scanning == ("SE", "IR") and (
            variant == ("SK", "SP", "MP")
            or (variant == ("SK",) and kind == OTHER and options == ("FAST_GEMS", "TRF_GEMS", "FILTERED_GEMS"))
        ),
        "ir_epi": scanning == ("EP", "IR") and {"SK", "SP", "MP"} <= set(variant) and {"IR", "FS"} <= set(options),
        "localizer": (
            scanning == ("GR",) and variant in {("SP", "OSP"), ("SP",)} and {"ORIGINAL", "PRIMARY", "M"} <= set(kind)
            and bool({"DIS2D", "ND"} & set(kind))
        ) or (
            scanning in {("RM",), ("GR",)} and variant in {("NONE",), ("SS", "SK")} and kind == OTHER
            and options in {("PFF",), ("FAST_GEMS", "SEQ_GEMS", "PFF")}
        ),
        "mprage": scanning == ("GR", "IR") and variant == ("SK", "SP", "MP") and "IR" in options,
        "spgr": scanning == ("GR",) and variant == ("SS", "SP") and kind == OTHER and acc,
        "fspgr": scanning == ("GR",) and variant == ("SS", "SP", "SK") and kind == OTHER and acc,
        "t2w": (scanning == ("SE",) and variant in {("SK", "SP"), ("SK", "SP", "OSP")}) or (
            scanning == ("RM",) and variant == ("NONE",) and kind == OTHER
            and {"FC", "VB_GEMS", "TRF_GEMS"} <= set(options)
            and bool({"FC_FREQ_AX_GEMS", "FC_SLICE_AX_GEMS", "SP", "FS"} & set(options))
        ),
        "tirm": scanning == ("SE", "IR") and variant == ("SK", "SP", "MP", "OSP") and options == ("IR", "SAT1"),
        # Signs were inverted once, here and in the column: the types are the same.
        "dwi": (weighted and phase is not None and "-" not in phase)
        or (scanning == ("EP", "RM") and kind == OTHER and options == ("EPI_GEMS", "PFF")),
        "dwi_derived": {"DERIVED", "PRIMARY", "DIFFUSION"} <= set(kind),
        "dwi_fieldmap": weighted and phase is not None and "-" in phase,
        "dwi_sbref": epi and variant == ("SK", "SS") and kind == MOSAIC and options in {("PFP",), ()},
        "bold": (
            epi and variant in {("SK", "SS"), ("SK", "SS", "OSP"), ("SK", "SP")}
            and kind in {
                ("ORIGINAL", "PRIMARY", "M", "ND", "NORM"), ("ORIGINAL", "PRIMARY", "M", "MB", "ND", "MOSAIC"),
                ("ORIGINAL", "PRIMARY", "M", "MB", "ND", "NORM", "MOSAIC"),
            }
            and options in {("PFP", "FS"), ("FS",)}
        ) or (
            scanning == ("EP", "GR") and variant == ("SS",) and kind == ("ORIGINAL", "PRIMARY", "EPI", "NONE")
            and options == ("EPI_GEMS", "ACC_GEMS")
        ),
        "func_fieldmap": epi and variant in {("SK", "OSP"), ("SK",)} and kind == MOSAIC
        and options in {("PFP", "FS"), ("FS",)},
        "func_sbref": epi and variant in {("SK", "SS"), ("SK", "SS", "OSP")}
        and kind in {MOSAIC, ("ORIGINAL", "PRIMARY", "M", "ND", "NORM", "MOSAIC")} and options == ("PFP", "FS"),
        "physio_log": kind == ("ORIGINAL", "PRIMARY", "RAWDATA", "PHYSIO"),
    }  # fmt: skip
    return next((label for label, holds in labels.items() if holds), None)


FIELDS = (
    "ScanningSequence",
    "SequenceVariant",
    "ImageType",
    "ScanOptions",
    "phase_encoding_direction",
)


def satisfying(rule: Any) -> list[dict[str, Values]]:
    """Return headers for which all conditions of a rule hold, one for each alternative."""
    found: list[dict[str, Values]] = []
    most = max(len(condition.alternatives) for condition in rule.conditions)
    for n in range(most):
        header: dict[str, Values] = {}
        for condition in rule.conditions:
            values = condition.alternatives[min(n, len(condition.alternatives) - 1)]
            if condition.test == "has":
                extra = tuple(
                    value for value in values if value not in header.get(condition.attribute, ())
                )
                header[condition.attribute] = header.get(condition.attribute, ()) + extra
            else:
                header[condition.attribute] = {"contains": ("j-",), "contains not": ("j",)}.get(
                    condition.test, values
                )
        found.append(header)
    return found  # fmt: skip


def changed(header: dict[str, Values], rng: random.Random) -> dict[str, Values]:
    """Return a header with one attribute changed, so that it nearly fits."""
    field = rng.choice(FIELDS)
    values = list(header.get(field, ()))
    if field == "phase_encoding_direction":
        return header | {field: rng.choice([("i",), ("i-",), ()])}
    match rng.randrange(4):
        case 0 if values:
            values.pop(rng.randrange(len(values)))
        case 1:
            values.insert(
                rng.randrange(len(values) + 1), rng.choice(["SK", "IR", "OTHER", "FS", "NORM"])
            )
        case 2:
            rng.shuffle(values)
        case _:
            values = []
    return header | {field: tuple(values)}


def judged(headers: list[dict[str, Values]]) -> list[tuple[str | None, str | None]]:
    """Return type and rule of series with these headers, an instance each."""
    view = View()
    for name in ("instances", "elements", "phase_encoding"):
        view.given(name, {"instances": "series_key", "elements": "path"}.get(name, "instance_id"))
    rows = pl.DataFrame(  # noqa: F841 - DuckDB reads it by its name
        {
            "n": range(len(headers)),
            **{
                field: [list(header[field]) if header.get(field) else None for header in headers]
                for field in FIELDS[:4]
            },
            "phase": [(header.get(FIELDS[4]) or (None,))[0] for header in headers],
        },
        schema={"n": pl.Int64, **dict.fromkeys(FIELDS[:4], pl.List(pl.String)), "phase": pl.String},
    )
    view.connection.execute(
        f"insert into instances (instance_id, instance_key, series_key, Modality, {', '.join(FIELDS[:4])}) "
        f"select n, n, n, 'MR', {', '.join(FIELDS[:4])} from rows"
    )
    view.connection.execute(
        "insert into phase_encoding (instance_id, phase_encoding_direction) select n, phase from rows"
    )
    view.make("sequence_rules")
    found = view.rows("sequence_types", ["series_key", "sequence_type", "rule"])
    return [(kind, rule) for _, kind, rule in sorted(found, key=lambda row: int(row[0]))]


@pytest.mark.acceptance("D48")
def test_there_are_sixteen_types_in_order() -> None:
    assert list(dict.fromkeys(rule.sequence_type for rule in read_rules())) == [
        "flair", "ir_epi", "localizer", "mprage", "spgr", "fspgr", "t2w", "tirm", "dwi", "dwi_derived",
        "dwi_fieldmap", "dwi_sbref", "bold", "func_fieldmap", "func_sbref", "physio_log",
    ]  # fmt: skip


@pytest.mark.acceptance("D48")
def test_each_rule_holds_for_each_of_its_alternatives() -> None:
    pairs = [(rule, header) for rule in read_rules() for header in satisfying(rule)]
    for (rule, header), (kind, name) in zip(pairs, judged([h for _, h in pairs]), strict=True):
        assert kind == reference(*as_arguments(header)), header
        assert name == rule.name, header


def as_arguments(header: dict[str, Values]) -> tuple[Any, ...]:
    return *(header.get(field, ()) for field in FIELDS[:4]), (header.get(FIELDS[4]) or (None,))[0]


@pytest.mark.acceptance("D48")
def test_headers_that_nearly_fit_are_judged_as_the_definitions_say() -> None:
    rng = random.Random(20)
    headers = [header for rule in read_rules() for header in satisfying(rule)]
    tried = [changed(rng.choice(headers), rng) for _ in range(2500)]
    tried += [changed(changed(rng.choice(headers), rng), rng) for _ in range(1500)]
    found = judged(tried)
    for header, (kind, _) in zip(tried, found, strict=True):
        assert kind == reference(*as_arguments(header)), header
    assert len({kind for kind, _ in found}) == 17


# -- rules that users bring, on real files --------------------------------------------------------

HEAD = "rank,rule,sequence_type,modality,attribute,test,values\n"


@pytest.fixture
def wh(tmp_path: Path) -> warehouse.Warehouse:
    """Series: a, an MPRAGE; b, its like with another echo time; c, a CT."""
    for n, (modality, echo) in enumerate([("MR", "2.5"), ("MR", "3.5"), ("CT", None)]):
        write(tmp_path / "in" / f"{n}.dcm", image(
            f"1.{n}", Modality=modality, SeriesInstanceUID=f"2.{n}", ScanningSequence=["GR", "IR"],
            SequenceVariant=["SK", "SP", "MP"], ScanOptions="IR", EchoTime=echo, ImagedNucleus="1H",
            SliceThickness="1.0", SeriesDescription="Sag T1 MPRAGE",
        ))  # fmt: skip
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    return made


def types(wh: warehouse.Warehouse) -> list[tuple[str | None, str | None]]:
    fresh = warehouse.open(wh.root, create=True)
    return fresh.sql(
        "select sequence_type, rule from sequence_types order by series_key"
    ).fetchall()


@pytest.mark.acceptance("D49")
def test_every_series_has_a_row_and_one_that_is_no_mr_has_no_type(wh: warehouse.Warehouse) -> None:
    assert types(wh) == [("mprage", "mprage"), ("mprage", "mprage"), (None, None)]
    query = "select sequence_type from sequence_types where series_key = '2.2'"
    answer = run("sql", query, "-w", wh.root, "--format", "csv")
    assert (answer.stdout.splitlines(), answer.stderr) == (["sequence_type", ""], "")


@pytest.mark.acceptance("D49")
def test_a_changed_rule_changes_only_the_series_it_is_about(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    rules = tmp_path / "mine.csv"
    rules.write_text(HEAD + "5,short,short_echo,MR,EchoTime,below,3\n")
    assert add_rules(wh.root, rules) == 1
    assert types(wh) == [("short_echo", "short"), ("mprage", "mprage"), (None, None)]
    rules.write_text(HEAD + "5,short,short_echo,MR,EchoTime,below,2\n")
    add_rules(wh.root, rules)
    assert types(wh) == [("mprage", "mprage"), ("mprage", "mprage"), (None, None)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("5,x,x,MR,ImagedNucleus,is,1H", ["x", "x", None]),
        ("5,x,x,MR,00180085,is,1H", ["x", "x", None]),
        ("5,x,x,MR,ImagedNucleus,is,", ["mprage", "mprage", None]),
        ("5,x,x,MR,ReceiveCoilName,is,", ["x", "x", None]),
        ("5,x,x,CT,SliceThickness,above,0.5", ["mprage", "mprage", "x"]),
        ("5,x,x,,SeriesDescription,contains,mprage|space", ["x", "x", None]),
        ("5,x,x,,SeriesDescription,contains not,flair", ["x", "x", None]),
        ("5,x,x,,ReceiveCoilName,contains not,head", ["mprage", "mprage", None]),
        ("5,x,x,,SequenceVariant,has not,OSP", ["x", "x", None]),
        ("5,x,x,,ReceiveCoilName,has not,OSP", ["mprage", "mprage", None]),
        ("5,x,x,,SequenceVariant,has not,SK\\OSP|MP\\SK", ["mprage", "mprage", None]),
        ("5,x,x,,EchoTime,above,3\n5,x,x,,SequenceVariant,has,MP", ["mprage", "x", None]),
        ("5,x,x,,ImagedNucleus,above,3", ["mprage", "mprage", None]),
        ("60,x,x,MR,ImagedNucleus,is,1H", ["x", "x", None]),
        ("61,x,x,MR,ImagedNucleus,is,1H", ["mprage", "mprage", None]),
        ("60,mprage,t1,MR,EchoTime,above,3", [None, "t1", None]),
        ("60,mprage,,,,,", [None, None, None]),
    ],
)  # fmt: skip
def test_users_rules_use_any_element_and_every_test(
    wh: warehouse.Warehouse, tmp_path: Path, lines: str, expected: list[str | None]
) -> None:
    (tmp_path / "mine.csv").write_text(HEAD + lines + "\n")
    add_rules(wh.root, tmp_path / "mine.csv")
    assert [kind for kind, _ in types(wh)] == expected


def test_the_instance_with_the_smallest_key_speaks_for_its_series(tmp_path: Path) -> None:
    usual: dict[str, Any] = {
        "Modality": "MR", "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP", "MP"],
    }  # fmt: skip
    write(tmp_path / "in" / "a.dcm", image("1.2", **usual, ScanOptions="IR"))
    write(tmp_path / "in" / "b.dcm", image("1.1", **usual))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    assert types(wh) == [(None, None)]
    write(tmp_path / "in" / "c.dcm", image("1.0", **usual, ScanOptions="IR"))
    wh.ingest(tmp_path / "in", workers=1)
    assert types(wh) == [("mprage", "mprage")]


def test_core_attributes_are_enough_in_mode_minimal(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", image(
        "1.2", Modality="MR", ScanningSequence=["GR", "IR"], SequenceVariant=["SK", "SP", "MP"], ScanOptions="IR",
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="minimal", workers=1)
    assert types(wh) == [("mprage", "mprage")]


def test_what_is_read_from_instances_is_not_asked_of_elements() -> None:
    """The names stand twice in the view: a constant is what keeps the long table unread."""
    sql = by_name("sequence_types").sql
    stated = re.findall(r"struct_pack\(attribute := '(\w+)'", sql)
    (left_out,) = re.findall(r"list_contains\(\[([^]]+)\], rule\['attribute'\]\)", sql)
    assert sorted(re.findall(r"'(\w+)'", left_out)) == sorted(stated)
    assert len(stated) == 12
