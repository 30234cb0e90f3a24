"""Every rule of a socket, with the paths and fixtures that Grand Challenge's own tests have."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

import warehouse
from warehouse.components.examples import EXAMPLES
from warehouse.components.kinds import find_kind, groups, kinds
from warehouse.components.sockets import default_sockets, new_socket, slug_of
from warehouse.errors import SchemaRefused, SocketRefused, UnknownKind, UnknownSocket, UsageError

KNOWN = {socket.slug: socket for socket in default_sockets()}
SEGMENTS = [{"voxel_value": 1, "name": "lung", "visible": True}]


def made(**given: Any) -> Any:
    kind = find_kind(given.get("kind", "INT"))
    path = "images/x" if kind.is_image else f"x{kind.extension}"
    defaults = {"title": "One", "kind": kind.code, "relative_path": path}
    if kind.code == "SEG":
        defaults["overlay_segments"] = SEGMENTS  # type: ignore[assignment]
    return new_socket({**defaults, **given}, KNOWN)


def refused(field: str, **given: Any) -> SocketRefused:
    with pytest.raises(SocketRefused) as caught:
        made(**given)
    assert caught.value.field.startswith(field), str(caught.value)
    return caught.value


@pytest.mark.acceptance("G3")
def test_a_socket_is_made_listed_and_shown(wh: warehouse.Warehouse) -> None:
    socket = wh.components.create_socket(
        title="Lung nodules (ü)", kind="Multiple polygons", relative_path="nodules.json",
        description="all of them", by="me",
    )  # fmt: skip
    assert (socket.slug, socket.version, socket.store_in_database) == ("lung-nodules-u", 1, False)
    assert wh.sockets["lung-nodules-u"] == socket
    row = wh.sql("select * from sockets where slug = 'lung-nodules-u'").pl().to_dicts()[0]
    assert row["kind_label"] == "Multiple polygons"
    assert (row["super_kind"], row["is_default"], row["edited_by"]) == ("File", False, "me")
    with pytest.raises(SocketRefused, match="title is that of another"):
        wh.components.create_socket(
            title="Lung nodules (ü)", kind="INT", relative_path="b.json"
        )  # fmt: skip
    again = wh.components.create_socket(
        title="lung NODULES ü", kind="INT", relative_path="b.json"
    )  # fmt: skip
    assert again.slug == "lung-nodules-u-2"
    with pytest.raises(UnknownSocket, match="lung-nodules-u"):
        wh.components.socket("lung-nodule")


def test_titles_make_slugs() -> None:
    assert slug_of("  A -- b_c  Ünï ") == "a-b_c-uni"
    refused("title", title="山")
    refused("title", title="x" * 256)
    refused("title", title="")
    refused("relative_path", relative_path="")
    with pytest.raises(UnknownKind):
        new_socket({"title": "a", "kind": "nothing", "relative_path": "a.json"}, KNOWN)
    refused("pk", pk=3)
    refused("store_in_database", store_in_database=1)


@pytest.mark.acceptance("G4")
@pytest.mark.parametrize(
    "path",
    ["bar/../foo.json", "./foo.json", "../bar.json", "/x.json", "////x.json", "foo/", "a//b.json",
     "..", "a/./b.json", "a\\b.json", "a\nb.json", "a\0.json", ".json", "a/.json", "x" * 260 + ".json",
     "images/a.json", "Images/a.json", "results.json", "RESULTS.json", "results.json/a.json"],
)  # fmt: skip
def test_paths_that_are_refused(path: str) -> None:
    refused("relative_path", relative_path=path, kind="JSON")


@pytest.mark.acceptance("G4")
@pytest.mark.parametrize(
    ("path", "kind"),
    [("foo.json", "INT"), ("foo/bar.json", "INT"), ("foo/{{ filename }}.zip", "ZIP"),
     ("a.tar.zip", "ZIP"), ("images/ct", "IMG"), ("images/a/b", "HMAP"), ("é.json", "INT")],
)  # fmt: skip
def test_paths_that_are_taken(path: str, kind: str) -> None:
    assert made(relative_path=path, kind=kind).relative_path == path


@pytest.mark.acceptance("G4")
def test_no_path_is_a_folder_of_another_one() -> None:
    first = made(relative_path="A/b.json")
    known = KNOWN | {first.slug: first}
    for path in ("a/B.JSON".replace("JSON", "json"), "A/b.json/c.json", "A/b.json"):
        with pytest.raises(SocketRefused, match="relative_path"):
            new_socket({"title": "Two", "kind": "INT", "relative_path": path}, known)
    assert new_socket({"title": "Two", "kind": "INT", "relative_path": "A/c.json"}, known)
    outer = made(relative_path="images/ct", kind="IMG")
    with pytest.raises(SocketRefused, match="folder"):
        new_socket(
            {"title": "Two", "kind": "IMG", "relative_path": "images/ct/inner"},
            KNOWN | {"one": outer},
        )


@pytest.mark.acceptance("G5")
def test_reserved_paths_and_uuids() -> None:
    for path in ("INPUTS.json", "Inputs.JSON", "inputs.json"):
        refused("relative_path", relative_path=path, kind="JSON")
    for text in (str(uuid.uuid4()), str(uuid.uuid4()).upper()):
        refused("relative_path", relative_path=f"x/{text}/y.json")
    assert made(relative_path="predictions-2.json")


@pytest.mark.acceptance("G6")
@pytest.mark.parametrize("code", list(kinds()))
def test_the_path_ends_as_the_kind_says(code: str) -> None:
    kind = find_kind(code)
    assert made(kind=code).kind == code
    if kind.is_image:
        for path in ("x", "images", "images/a.mha", "image/x"):
            refused("relative_path", kind=code, relative_path=path)
    else:
        refused("relative_path", kind=code, relative_path="x.other")
        refused("relative_path", kind=code, relative_path=f"x{kind.extension.upper()}")
        refused("relative_path", kind=code, relative_path=f"images/x{kind.extension}")


@pytest.mark.acceptance("G7")
@pytest.mark.parametrize("code", list(kinds()))
def test_only_some_kinds_may_lie_in_the_table(code: str) -> None:
    assert made(kind=code, store_in_database=False).store_in_database is False
    if find_kind(code).may_be_in_database:
        assert made(kind=code, store_in_database=True).super_kind == "V"
    else:
        refused("store_in_database", kind=code, store_in_database=True)


@pytest.mark.acceptance("G8")
@pytest.mark.parametrize("draft", ["04", "06", "07"])
def test_a_schema_has_to_be_valid_by_its_own_draft(draft: str) -> None:
    url = f"http://json-schema.org/draft-{draft}/schema#"
    assert made(schema={"$schema": url, "minimum": 2}).schema["minimum"] == 2
    with pytest.raises(SchemaRefused, match="not valid"):
        made(schema={"$schema": url, "type": "whatevs"})


@pytest.mark.acceptance("G8")
def test_drafts_that_are_not_known_are_refused_by_name() -> None:
    """Draft 3 takes {"type": "whatevs"} by its own meta-schema; the library does not have it."""
    for url in ("http://json-schema.org/draft-03/schema#", "https://example.org/own"):
        with pytest.raises(SchemaRefused, match="draft 4, 6 or 7"):
            made(schema={"$schema": url})
    with pytest.raises(SchemaRefused):
        made(schema={"type": "whatevs"})
    with pytest.raises(SchemaRefused):
        made(schema=True)
    refused("schema", kind="PDF", schema={"type": "string"})


@pytest.mark.acceptance("G9")
def test_a_default_is_valid_by_kind_and_schema() -> None:
    schema = {"minimum": 2}
    assert made(schema=schema, default_value=5).default_value == 5
    assert "$" not in refused("default_value", schema=schema, default_value=1).field
    refused("default_value", default_value="text")
    refused("default_value", default_value=float("nan"), kind="FLT")
    for empty in (False, 0, "", [], {}, {"a": 1}):
        refused("default_value", kind="JSON", store_in_database=False, default_value=empty)
    refused("default_value", kind="PDF", default_value="a")
    assert made(kind="BOOL", default_value=False).default_value is False


@pytest.mark.acceptance("G10")
def test_examples_are_valid_values() -> None:
    for code in groups()["json"]:
        assert made(kind=code, example_value=EXAMPLES[code]).example == EXAMPLES[code]
        assert made(kind=code).example == EXAMPLES[code]
    refused("example_value", example_value="text")
    refused("example_value", kind="PNG", example_value="text")


@pytest.mark.acceptance("G10")
@pytest.mark.acceptance("G16")
def test_an_edit_checks_example_and_default_again(wh: warehouse.Warehouse) -> None:
    edit = wh.components.edit_socket
    wh.components.create_socket(
        title="Count", kind="INT", relative_path="n.json", example_value=1, default_value=3
    )  # fmt: skip
    with pytest.raises(SocketRefused, match="example_value"):
        edit("count", schema={"minimum": 2})
    with pytest.raises(SocketRefused, match="default_value"):
        edit("count", schema={"maximum": 2})
    assert edit("count", schema={"minimum": 1}).socket.version == 2
    assert sorted(wh.sql("select version from socket_versions").fetchall()) == [(1,), (2,)]


def segment(value: Any = 1, **more: Any) -> dict[str, Any]:
    return {"voxel_value": value, "name": "a", "visible": True} | more


@pytest.mark.acceptance("G11")
@pytest.mark.parametrize(
    "segments",
    [[segment()], [segment(2), segment(1)], [segment(-1)], [segment(0), segment(1)],
     [segment(1.0)], [segment(n) for n in range(1, 65)], [segment(metric_template="{{x}}")]],
)  # fmt: skip
def test_overlay_segments_that_are_taken(segments: list[Any]) -> None:
    assert len(made(kind="SEG", overlay_segments=segments).overlay_segments) == len(segments)


@pytest.mark.acceptance("G11")
@pytest.mark.acceptance("G67")
@pytest.mark.parametrize(
    "segments",
    [[], [segment(1), segment(3)], [segment(2)], [segment(1), segment(1)], [segment("1")],
     [segment(1.5)], [segment(True)], [segment(visible=1)], [segment(name=None)],
     [segment(more=1)], [{"voxel_value": 1}], {"voxel_value": 1}, ["a"], [segment(metric_template=1)],
     [segment(n) for n in range(1, 66)]],
)  # fmt: skip
def test_overlay_segments_that_are_refused(segments: Any) -> None:
    refused("overlay_segments", kind="SEG", overlay_segments=segments)


@pytest.mark.acceptance("G11")
def test_only_segmentations_have_segments() -> None:
    for code in set(kinds()) - {"SEG"}:
        refused("overlay_segments", kind=code, overlay_segments=[segment()])


LUT = {"title": "hot", "color": "[0 0 0 0, 255 0 0 4095]", "alpha": "[0 0, 1 4095]"}


@pytest.mark.acceptance("G13")
def test_a_look_up_table_is_whole() -> None:
    table = made(kind="HMAP", look_up_table=LUT).look_up_table
    assert (table["range_min"], table["range_max"], table["color_interpolation"]) == (
        0,
        4095,
        "RGB",
    )


@pytest.mark.acceptance("G13")
@pytest.mark.parametrize(
    "change",
    [{"alpha": "[0 0]"}, {"color": "[0 0 0]"}, {"color": "0 0 0 0"}, {"color": "[a b c d, 0 0 0 0]"},
     {"alpha_invert": "[0 0, 1 1]"}, {"range_min": 40_000}, {"range_max": 1.5}, {"relative": 1},
     {"color_interpolation": "CMYK"}, {"title": ""}, {"more": 1}, {"color": "[1e999 0 0 0, 0 0 0 0]"},
     {"color": None}],
)  # fmt: skip
def test_a_look_up_table_that_is_refused(change: dict[str, Any]) -> None:
    refused("look_up_table", kind="HMAP", look_up_table=LUT | change)


@pytest.mark.acceptance("G14")
def test_seven_default_sockets_of_which_algorithms_see_two(wh: warehouse.Warehouse) -> None:
    slugs = {
        "generic-medical-image", "generic-overlay", "results-json-file", "predictions-json-file",
        "predictions-csv-file", "predictions-zip-file", "metrics-json-file",
    }  # fmt: skip
    assert set(wh.sockets) == slugs
    assert {r[0] for r in wh.sql("select slug from sockets where is_default").fetchall()} == slugs
    offered = {"generic-medical-image", "generic-overlay"}
    assert set(wh.components.sockets(for_algorithms=True)) == offered
    asked = wh.sql("select slug from sockets where not is_reserved").fetchall()
    assert {row[0] for row in asked} == offered
    with pytest.raises(SocketRefused, match="default socket"):
        wh.components.edit_socket("results-json-file", title="Other")


@pytest.mark.acceptance("G15")
def test_a_socket_as_json_has_the_ten_keys_of_the_api(wh: warehouse.Warehouse) -> None:
    shown = wh.sockets["results-json-file"].serialized()
    assert set(shown) == {
        "title", "description", "slug", "kind", "pk", "default_value", "super_kind",
        "relative_path", "overlay_segments", "look_up_table",
    }  # fmt: skip
    assert (shown["kind"], shown["super_kind"]) == ("Anything", "Value")
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.acceptance("G16")
def test_an_edit_says_which_values_it_would_not_take(wh: warehouse.Warehouse) -> None:
    parts = wh.components
    parts.create_socket(title="Count", kind="INT", relative_path="n.json")
    for number in (1, 5, 7):
        parts.add_value("count", number)
    with pytest.raises(SocketRefused, match="1 of 3 existing values"):
        parts.edit_socket("count", schema={"minimum": 2})
    assert parts.socket("count").version == 1
    done = parts.edit_socket("count", schema={"minimum": 2}, even_if_values_fail=True)
    assert (len(done.report), [c.path for c in done.failing]) == (3, ["$"])
    assert done.failing[0].why_not == "it is less than the minimum of 2"
    checked = wh.sql("select distinct socket_version from socket_values").fetchall()
    assert checked == [(1,)]
    for changes in ({"kind": "FLT"}, {"relative_path": "m.json"}, {"store_in_database": False}):
        with pytest.raises(SocketRefused):
            parts.edit_socket("count", **changes)
    assert parts.edit_socket("count", title="How many").socket.slug == "count"


def test_the_kind_may_change_while_there_are_no_values(wh: warehouse.Warehouse) -> None:
    parts = wh.components
    parts.create_socket(title="Count", kind="INT", relative_path="n.json")
    assert parts.edit_socket("count", kind="FLT").socket.kind == "FLT"
    parts.create_socket(
        title="Results", kind="INT", relative_path="r.json", store_in_database=False
    )  # fmt: skip
    with pytest.raises(SocketRefused, match="relative_path"):
        parts.edit_socket("results", kind="PDF")
    with pytest.raises(SocketRefused, match="not a field"):
        parts.edit_socket("count", slug="other")


@pytest.mark.acceptance("G12")
def test_segments_that_are_used_are_only_added_to(wh: warehouse.Warehouse, tmp_path: Any) -> None:
    parts = wh.components
    parts.create_socket(
        title="Lobes", kind="SEG", relative_path="images/lobes", overlay_segments=SEGMENTS
    )
    assert parts.edit_socket("lobes", overlay_segments=[segment(1, name="b")]).socket.version == 2
    (tmp_path / "a.mha").write_bytes(mha([2, 2], "MET_UCHAR", bytes([0, 1, 1, 0])))
    parts.add_value("lobes", file=tmp_path / "a.mha")
    more = [segment(1, name="b"), segment(2)]
    assert parts.edit_socket("lobes", overlay_segments=more).socket.version == 3
    hidden = [segment(1, name="b", visible=False), segment(2)]
    assert parts.edit_socket("lobes", overlay_segments=hidden).socket.version == 4
    for changed in ([segment(1, name="c"), segment(2)], [segment(0)]):
        with pytest.raises(SocketRefused, match="cannot be changed or removed"):
            parts.edit_socket("lobes", overlay_segments=changed)


def test_a_retired_socket_takes_no_values(wh: warehouse.Warehouse) -> None:
    parts = wh.components
    parts.create_socket(title="Count", kind="INT", relative_path="n.json")
    assert parts.retire_socket("count").is_retired
    with pytest.raises(UsageError, match="retired"):
        parts.add_value("count", 1)
    with pytest.raises(SocketRefused):
        parts.create_socket(title="Other", kind="INT", relative_path="N.json")


def mha(sizes: list[int], kind: str, voxels: bytes, **more: Any) -> bytes:
    """An MHA file as the MetaIO documentation describes it."""
    fields = {
        "ObjectType": "Image", "NDims": len(sizes), "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "DimSize": " ".join(map(str, sizes)), "ElementType": kind, **more,
    }  # fmt: skip
    lines = [f"{key} = {value}" for key, value in fields.items()]
    if "ElementDataFile" not in fields:
        lines.append("ElementDataFile = LOCAL")
    return ("\n".join(lines) + "\n").encode() + voxels
