"""Annotations as rows: rebuilt without loss, streamed in bounded memory, measured in SQL."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from tests.components.test_validation import DOCUMENTED
from warehouse.components import annotation_rows, shapes, stream, validate
from warehouse.components.kinds import SHAPE_KINDS, Kind, find_kind, kinds
from warehouse.components.values import Given
from warehouse.errors import ValueRefused
from warehouse.sqlfiles import by_name

ANNOTATIONS = [code for code, kind in kinds().items() if kind.is_annotation]

# -- any value of any kind ------------------------------------------------------------------------

NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))
POINTS = st.lists(NUMBERS, min_size=3, max_size=3)


def some(count: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(POINTS, min_size=count, max_size=count)


ANY = st.lists(POINTS, max_size=4)
KEYS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "2DBB": {"corners": some(4)},
    "DIST": {"start": POINTS, "end": POINTS},
    "POIN": {"point": POINTS},
    "POLY": {"seed_point": POINTS, "path_points": ANY, "sub_type": st.text(),
             "groups": st.lists(st.text(), max_size=2)},
    "LINE": {"seed_points": ANY, "path_point_lists": st.lists(ANY, max_size=3)},
    "ANGL": {"lines": st.lists(some(2), min_size=2, max_size=2)},
    "ELLI": {"major_axis": some(2), "minor_axis": some(2)},
    "3ANG": {"angle": some(3)},
}  # fmt: skip
STEPS = st.sampled_from([0, 1, 1.0, 7])
VERSIONS = st.fixed_dictionaries({"major": STEPS, "minor": STEPS})
NAMES = st.text()
PROBABILITIES = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))


def values_of(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    head: dict[str, st.SearchStrategy[Any]] = {"type": st.just(kind.label), "version": VERSIONS}
    code = kind.shape_kind
    if not kind.item_kind:
        more = {"name": NAMES, "probability": PROBABILITIES}
        return st.fixed_dictionaries(head | KEYS[code], optional=more)
    optional = {
        "name": NAMES, "probability": PROBABILITIES, "type": st.just(find_kind(code).label),
    }  # fmt: skip
    item = st.fixed_dictionaries(KEYS[code], optional=optional)
    return st.fixed_dictionaries(
        head | {kind.items_key: st.lists(item, max_size=4)}, optional={"name": NAMES}
    )


@pytest.mark.acceptance("G27")
@pytest.mark.parametrize("code", ANNOTATIONS)
@settings(max_examples=12)
@given(data=st.data())
def test_the_rows_of_any_annotation_give_the_same_json(code: str, data: st.DataObject) -> None:
    kind = find_kind(code)
    value = json.loads(json.dumps(data.draw(values_of(kind))))
    validate.require_valid(kind, {}, value)
    rows = shapes.rows_of("v", kind, shapes.items_of(kind, value)).to_pylist()
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert shapes.rebuilt(kind, shapes.head_of(kind, value), rows) == value
    if kind.item_kind:
        head: dict[str, Any] = {}
        text = json.dumps(value, indent=data.draw(st.sampled_from([None, 1]))).encode()
        blocks = list(stream.blocks(io.BytesIO(text), kind, head))
        assert {**head, kind.items_key: [item for block in blocks for item in block]} == value


@pytest.fixture(scope="module")
def annotated(
    archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[warehouse.Warehouse, dict[str, str]]:
    """A warehouse with a value of each kind of annotation, and the id of each. Not to write to."""
    wh = warehouse.open(shutil.copytree(archive, tmp_path_factory.mktemp("annotated") / "w"))
    for code in ANNOTATIONS:
        wh.components.create_socket(title=code, kind=code, relative_path=f"{code}.json")
    given = [
        Given(code.lower(), DOCUMENTED[code], about="series", about_key="1.2.10")
        for code in ANNOTATIONS
    ]
    added = wh.components.add_values(given)
    return wh, {code: one.value_id for code, one in zip(ANNOTATIONS, added, strict=True)}


@pytest.mark.acceptance("G27")
@pytest.mark.parametrize("code", ANNOTATIONS)
def test_stored_annotations_give_the_same_json(
    code: str, annotated: tuple[warehouse.Warehouse, dict[str, str]]
) -> None:
    kind = find_kind(code)
    wh, ids = annotated
    assert wh.components.value(ids[code]) == DOCUMENTED[code]
    rows = wh.sql(
        "select kind, index from annotations where value_id = $1 order by index", [ids[code]]
    ).fetchall()
    count = len(DOCUMENTED[code][kind.items_key]) if kind.item_kind else 1
    assert rows == [(kind.shape_kind, index) for index in range(count)]


# -- streams --------------------------------------------------------------------------------------


def points_file(path: Path, count: int) -> Path:
    rng = np.random.default_rng(count)
    with path.open("w") as file:
        file.write('{"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": [')
        for start in range(0, count, 10_000):
            block = rng.random((min(10_000, count - start), 3)) * 500
            items = (
                f'{{"name": "p{start + n}", "point": [{x}, {y}, {z}], "probability": 0.5}}'
                for n, (x, y, z) in enumerate(block.tolist())
            )
            file.write(("," if start else "") + ",".join(items))
        file.write("]}")
    return path


POINT = '{"point": [1, 2, 3]}'
HEAD = '"version": {"major": 1, "minor": 0}, "type": "Multiple points"'


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        (f'{{{HEAD}, "points": [{POINT}, {{"point": [1, 2]}}]}}', "$.points[1].point", "less than 3"),
        (f'{{{HEAD}, "points": [{POINT}, 3]}}', "$.points[1]", "type"),
        (f"{{{HEAD}}}", "$", "points"), (f'{{"points": [{POINT}]}}', "$", "required"),
        (f'{{{HEAD}, "points": 3}}', "$.points", "type"), (f'{{{HEAD}, "points": [], "more": 1}}', "$", "more"),
        (f'{{{HEAD}, "points": [], "points": []}}', "$", "same key twice"),
        (f'{{{HEAD}, "points": [{{"point": [1, 2, 3], "point": [1, 2, 3]}}]}}', "$", "same key twice"),
        (f'{{{HEAD}, "points": [{{"point": [1, 2, NaN]}}]}}', "$", "NaN"),
        (f'{{{HEAD}, "points": [{{"point": [1, 2, 1e999]}}]}}', "$.points[0].point[2]", "type"),
        (f'{{{HEAD}, "points": [{POINT}', "$", "cut off"), (f'{{{HEAD}, "points": [{POINT}]', "$", "cut off"),
        (f'{{{HEAD}, "points": [{{"point": [1, 2', "$", "not JSON"), ("", "$", "cut off"), ("[]", "$", "cut off"),
        (f'{{{HEAD}, "points": [{POINT}]}} x', "$", "follows"), (f"\ufeff{{{HEAD}}}", "$", "byte order"),
        (f'{{{HEAD}, "points": [{"[" * 5000}', "$", "nested"), (f'{{{HEAD}, "points": [{POINT},]}}', "$", "not JSON"),
        (f"{{{HEAD}, 3: 4}}", "$", "key"), (f'{{{HEAD}, "name": "\\ud800"}}', "$", "surrogate"),
        (f'{{{HEAD}, "points": [{{"point": [1, 2, 3], "name": "\\ud800"}}]}}', "$", "surrogate"),
    ],
)  # fmt: skip
def test_streams_refuse_what_the_whole_would(text: str, path: str, why: str) -> None:
    with pytest.raises(ValueRefused, match=why) as caught:
        list(stream.blocks(io.BytesIO(text.encode()), find_kind("MPOI"), {}))
    assert caught.value.path == path


@pytest.mark.acceptance("G26")
def test_a_large_annotation_is_stored_in_blocks(
    wh: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMED_BYTES", 1 << 16)
    monkeypatch.setattr(stream, "BLOCK", 300)
    monkeypatch.setattr("warehouse.components.annotation_rows.STAGED_BYTES", 1 << 15)
    source = points_file(tmp_path / "points.json", 2000)
    wh.components.create_socket(title="Cells", kind="MPOI", relative_path="cells.json")
    added = wh.components.add_value("cells", file=source)
    assert wh.components.value(added.value_id) == json.loads(source.read_text())
    assert wh.sql("select count(*), max(index) from annotations").fetchall() == [(2000, 1999)]
    assert wh.sql("select shape_count from socket_values").fetchall() == [(2000,)]
    again = wh.components.add_value("cells", file=source, by="another")
    assert (again.value_id, again.is_new, again.is_new_use) == (added.value_id, False, True)
    assert wh.sql("select count(*) from annotations").fetchall() == [(2000,)]
    named = {p.name for p in map(Path, wh.catalog.snapshot.paths("annotations"))}
    there = {p.name for p in (wh.root / "annotations").glob("batch=*/*.parquet")}
    assert there <= named, "no part without a version is left"
    broken = tmp_path / "broken.json"
    broken.write_text(source.read_text()[:-2] + ', {"point": [1]}]}')
    with pytest.raises(ValueRefused, match=r"\$\.points\[2000\]\.point"):
        wh.components.add_value("cells", file=broken)
    assert {p.name for p in (wh.root / "annotations").glob("batch=*/*.parquet")} == there


ONE_FILE = """
import sys, time, warehouse
def peak():  # not ru_maxrss, which begins with what the parent had
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
wh = warehouse.open(sys.argv[1])
idle, begun = peak(), time.process_time()
wh.components.create_socket(title="Cells", kind="MPOI", relative_path="cells.json")
wh.components.add_value("cells", file=sys.argv[2])
print((peak() - idle) // 1024, time.process_time() - begun)
"""


@pytest.mark.slow
@pytest.mark.acceptance("G26")
def test_a_million_points_in_bounded_memory_and_time(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    """Over a process that has opened a warehouse: 256 MiB and 15 s of one core at most."""
    large = points_file(tmp_path / "b", 1_000_000)
    done = subprocess.run(
        [sys.executable, "-c", ONE_FILE, str(wh.root), str(large)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    mebibytes, seconds = done.stdout.split()
    assert int(mebibytes) <= 256
    assert float(seconds) <= 15
    assert wh.sql("select count(*) from annotations").fetchall() == [(1_000_000,)]


# -- sizes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sql() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(by_name("shapes").sql)
    return connection


def ask(sql: duckdb.DuckDBPyConnection, call: str, *points: Any) -> Any:
    casts = ", ".join(f"(${n + 1}::double[][])" for n in range(len(points)))
    return sql.execute(f"select {call.format(*casts.split(', '))}", list(points)).fetchall()[0][0]


def turned(points: np.ndarray[Any, Any], seed: int) -> list[list[float]]:
    """The same points after a rotation and a shift in space."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved: list[list[float]] = (points @ basis.T + rng.normal(size=3) * 100).tolist()
    return moved


FLAT = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=9, unique=True
)


@pytest.mark.acceptance("G28")
@settings(max_examples=20)
@given(path=FLAT, seed=st.integers(0, 9))
def test_polygons_equal_the_shoelace_formula_anywhere_in_space(
    sql: duckdb.DuckDBPyConnection, path: Any, seed: int
) -> None:
    xy = np.array(path, float)
    points = np.c_[xy, np.zeros(len(xy))]
    following = np.roll(xy, -1, axis=0)
    area = abs(np.sum(xy[:, 0] * following[:, 1] - xy[:, 1] * following[:, 0])) / 2
    perimeter = np.linalg.norm(following - xy, axis=1).sum()
    for where in (points.tolist(), turned(points, seed)):
        found = ask(sql, "polygon_perimeter({0})", where)
        assert math.isclose(found, perimeter, rel_tol=1e-9)
        measured = ask(sql, "polygon_area({0})", where)
        # Points on a line, or a path that takes back all it encloses, make a plane of none.
        if area > 1:
            assert math.isclose(measured, area, rel_tol=1e-6)


@pytest.mark.acceptance("G28")
def test_sizes_by_hand(sql: duckdb.DuckDBPyConnection) -> None:
    box = [[0, 0, 5], [3, 0, 5], [3, 4, 5], [0, 4, 5]]
    assert ask(sql, "box_area({0})", box) == 12
    assert ask(sql, "box_area({0})", turned(np.array(box, float), 3)) == pytest.approx(12)
    assert ask(sql, "box_area({0})", [box[0], box[2], box[1], box[3]]) is None
    assert ask(sql, "polygon_area({0})", [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]]) is None
    assert ask(sql, "polygon_area({0})", box[:2]) is None
    assert ask(sql, "point_distance({0}[1], {0}[3])", box) == 5
    assert ask(sql, "path_length({0})", box) == 10
    assert ask(sql, "path_length({0})", box[:1]) is None
    assert ask(sql, "paths_length({0}, [2, 2])", box) == 6
    assert ask(sql, "paths_length({0}, [1, 0, 3])", box) == 7
    assert ask(sql, "paths_length({0}, [1, 1, 1, 1])", box) == 0
    ellipse = [[10, 20, 0], [50, 20, 0], [30, 10, 0], [30, 30, 0]]
    assert ask(sql, "ellipse_area({0})", ellipse) == pytest.approx(math.pi * 20 * 10)
    assert ask(sql, "ellipse_major_axis({0})", ellipse) == 40
    assert ask(sql, "ellipse_minor_axis({0})", ellipse) == 20
    assert ask(sql, "ellipse_area({0})", [*ellipse[:2], [30, 10, 0], [40, 30, 0]]) is None


@pytest.mark.acceptance("G28")
@pytest.mark.parametrize("degrees", [0, 1e-6, 30, 90, 150, 180])
def test_angles(sql: duckdb.DuckDBPyConnection, degrees: float) -> None:
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    arms = np.array([[2, 0, 0], [0, 0, 0], [5 * x, 5 * y, 0]])
    found = ask(sql, "points_angle({0})", turned(arms, 4))
    assert found == pytest.approx(degrees, abs=1e-5)
    lines = np.array([[0, 0, 0], [2, 0, 0], [7, 7, 0], [7 + x, 7 + y, 0]])
    assert ask(sql, "lines_angle({0})", turned(lines, 5)) == pytest.approx(degrees, abs=1e-5)
    assert ask(sql, "points_angle({0})", [[1, 0, 0], [1, 0, 0], [0, 1, 0]]) is None


def rectangle(x: float, y: float, width: float, height: float, z: float = 5) -> list[Any]:
    return [[x, y, z], [x + width, y, z], [x + width, y + height, z], [x, y + height, z]]


@pytest.mark.acceptance("G28")
def test_overlap_of_boxes(sql: duckdb.DuckDBPyConnection) -> None:
    a = rectangle(0, 0, 2, 2)
    turned_box, other_plane = (
        [[1, 0, 5], [2, 1, 5], [1, 2, 5], [0, 1, 5]],
        [[x, z, y] for x, y, z in a],
    )
    sagittal = [[z, x, y] for x, y, z in a]
    cases = [
        (a, a, 1),
        (a, rectangle(1, 1, 2, 2), pytest.approx(1 / 7)),
        (a, rectangle(1, 1, 2, 2)[::-1], pytest.approx(1 / 7)),
        (a, rectangle(2, 0, 2, 2), 0),
        (a, rectangle(9, 9, 1, 1), 0),
        (a, rectangle(0, 0, 2, 2, z=8), 0),  # in another slice
        (a, turned_box, None),
        (a, other_plane, None),
        (sagittal, [[z, x, y] for x, y, z in rectangle(1, 1, 2, 2)], pytest.approx(1 / 7)),
    ]
    # All at once: to plan the macro takes longer than to compute it.
    pairs = [[each[n] for each in cases] for n in (0, 1)]
    query = (
        "select box_iou(one, other) from (select unnest($1::double[][][]) as one, "
        "unnest($2::double[][][]) as other, unnest(range(len($1))) as n) order by n"
    )
    found = [row[0] for row in sql.execute(query, pairs).fetchall()]
    assert found == [wanted for *_, wanted in cases]


@pytest.mark.acceptance("G28")
def test_stored_sizes_are_those_of_the_macros(
    annotated: tuple[warehouse.Warehouse, dict[str, str]],
) -> None:
    wh, ids = annotated
    rows = wh.sql(
        "select kind, area_mm2, length_mm, angle_degrees, frame_of_reference, why_not "
        "from annotations_about where list_contains($1, value_id)",
        [[ids[code] for code in SHAPE_KINDS]],
    ).fetchall()
    found = {row[0]: row[1:4] for row in rows}
    assert {row[4:] for row in rows} == {("1.9.1", None)}
    lengths = {
        "DIST": math.dist(DOCUMENTED["DIST"]["start"], DOCUMENTED["DIST"]["end"]),
        "LINE": sum(
            math.dist(a, b)
            for part in DOCUMENTED["LINE"]["path_point_lists"]
            for a, b in pairwise(part)
        ),
    }
    assert found["2DBB"] == (pytest.approx(61.1 * 75.7), None, None)
    assert found["POIN"] == (None, None, None)
    assert found["DIST"] == (None, pytest.approx(lengths["DIST"]), None)
    assert found["LINE"] == (None, pytest.approx(lengths["LINE"]), None)
    assert found["ANGL"] == (None, None, pytest.approx(45))
    assert found["ELLI"][0] == pytest.approx(math.pi / 4 * math.hypot(49, 47) * math.hypot(24, 25))
    assert found["3ANG"][2] is not None
    assert found["POLY"][0] is not None


def test_a_line_of_many_parts_is_measured_in_linear_time() -> None:
    # Its time was the cube of the number of parts: 20,000 of them never ended.
    parts = [[[n, 0, 0], [n, 2, 0]] for n in range(20_000)]
    shape = {"seed_points": [], "path_point_lists": parts}
    rows = annotation_rows.measured([("id", find_kind("LINE"), [shape])])
    assert rows["length"].to_pylist() == [40_000]


@pytest.mark.acceptance("G28")
def test_sizes_are_in_mm_or_null_with_the_reason(wh: warehouse.Warehouse) -> None:
    wh.components.create_socket(title="Box", kind="2DBB", relative_path="box.json")
    wh.components.create_socket(title="Angle", kind="3ANG", relative_path="angle.json")
    about = (
        ("series", "1.2.10"), ("instance", "1.1.20"), ("series", "1.2.30"), ("series", "1.2.40"),
        ("patient", "P1"), (None, None),
    )  # fmt: skip
    given = [Given("box", DOCUMENTED["2DBB"], about=what, about_key=key) for what, key in about]
    given += [
        Given("angle", DOCUMENTED["3ANG"], about="series", about_key=about[place][1])
        for place in (0, 2, 3)
    ]
    wh.components.add_values(given)
    rows = wh.sql(
        "select series_key, instance_key, round(area_mm2, 2), frame_of_reference, why_not "
        "from annotations_about where kind = '2DBB' order by all"
    ).fetchall()
    assert sorted(map(str, rows)) == sorted(
        map(str, [
            ("1.2.10", None, 4625.27, "1.9.1", None),
            ("1.2.20", "1.1.20", 4625.27, "1.9.2", None),
            ("1.2.30", None, None, None, "the series states no frame of reference"),
            ("1.2.40", None, None, None, "the series states several frames of reference"),
            (None, None, None, None, "the value is about no series"),
            (None, None, None, None, "the value is about no series"),
        ])
    )  # fmt: skip
    # An angle is one in the patient only where the coordinates are in mm: pixels may not be square.
    angles = wh.sql(
        "select angle_degrees is null, why_not from annotations_about where kind = '3ANG' "
        "order by series_key"
    ).fetchall()
    assert angles == [
        (False, None),
        (True, "the series states no frame of reference"),
        (True, "the series states several frames of reference"),
    ]


@pytest.mark.acceptance("G28")
def test_points_of_two_readers_are_matched(wh: warehouse.Warehouse) -> None:
    wh.components.create_socket(title="Spots", kind="MPOI", relative_path="spots.json")

    def spots(*points: list[float]) -> dict[str, Any]:
        return {
            "type": "Multiple points", "version": {"major": 1, "minor": 0},
            "points": [{"point": point} for point in points],
        }  # fmt: skip

    add = wh.components.add_value
    add("spots", spots([0, 0, 0], [10, 0, 0], [50, 0, 0]), series="1.2.10", by="a")
    add("spots", spots([9, 0, 0], [0, 3, 4], [10, 0, 3]), series="1.2.10", by="b")
    rows = wh.sql(
        "select series_key, index_a, index_b, distance_mm from matched_points('spots', 'a', 'b') "
        "order by index_a"
    ).fetchall()
    # The point at 50 is nearest to one that is nearer to another; it has no match.
    assert rows == [("1.2.10", 0, 1, 5.0), ("1.2.10", 1, 0, 1.0)]
    near = wh.sql("from matched_points('spots', 'a', 'b', max_distance_mm := 2)").fetchall()
    assert len(near) == 1
    counts = wh.sql("select added_by, shape_count from annotation_counts order by all").fetchall()
    assert counts == [("a", 3), ("b", 3)]
    # Coordinates in two frames of reference have no distance (PS3.3 C.7.4.1.1.1), even in one series.
    frames = wh.sql(
        "select instance_key, FrameOfReferenceUID from instances where series_key = '1.2.40' "
        "order by all"
    ).fetchall()
    (one, frame), (other, other_frame) = frames
    assert frame != other_frame
    add("spots", spots([0, 0, 7]), instance=one, by="c")
    add("spots", spots([0, 0, 8]), instance=other, by="d")
    add("spots", spots([0, 0, 9]), instance=one, by="d")
    rows = wh.sql("select distance_mm from matched_points('spots', 'c', 'd')").fetchall()
    assert rows == [(2.0,)]
