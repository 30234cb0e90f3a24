"""Names of private elements that users bring, and where they show."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING

import pydicom
import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import element, part10
from warehouse.dicom.private_names import PrivateEntry, private_name
from warehouse.errors import NotAWarehouse, SourceNotFound, UsageError
from warehouse.store.dictionary import FILE, add_dictionary, read_dictionary

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {("ACME", "0019xx9C"): PrivateEntry("DS", "Flux")}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two instances with the same private elements, in block 10 and in block 11."""
    folder = tmp_path_factory.mktemp("dictionary")
    for uid, blocks in (("1.1", (0x10, 0x11)), ("1.2", (0x11, 0x10))):
        made = sorted(
            (block, creator)
            for block, creator in zip(blocks, (b"ACME", b"GEMS_ACQU_01"), strict=True)
        )
        creators = b"".join(element(0x00190000 | block, "LO", c) for block, c in made)
        values = b"".join(
            element(0x00190000 | block << 8 | byte, "LO", b"secret")
            for block, c in made
            for byte in ((0x9C,) if c == b"ACME" else (0x02, 0xFE))
        )
        path = folder / "in" / uid
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(part10(creators, values, uid=uid))
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    return wh.root


@pytest.fixture
def wh(template: Path, tmp_path: Path) -> warehouse.Warehouse:
    """A copy, to write to."""
    return warehouse.open(shutil.copytree(template, tmp_path / "w"))


@pytest.mark.parametrize(
    "text",
    [
        "creator,tag,vr,name\nACME,0019xx9c,DS,Flux\n",
        "\ufeffname,VR,Tag,Creator\nFlux,ds,0019109C,ACME\n",
        'creator,tag,vr,name\nACME,"(0019,119C)",DS,Flux\n',
        "creator,group,byte,vr,name\nACME,0019,9c,DS,Flux\n",
        "creator,group,byte,vr,name\nACME,0x0019,0x9C,DS,Flux\n",
        json.dumps([{"creator": "ACME", "tag": "0019xx9C", "vr": "DS", "name": "Flux"}]),
    ],
)
def test_every_spelling_of_an_entry_is_the_same(
    wh: warehouse.Warehouse, tmp_path: Path, text: str
) -> None:
    (tmp_path / "names").write_text(text)
    assert wh.add_dictionary(tmp_path / "names") == 1
    assert read_dictionary(wh.root) == WANTED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("creator,tag,vr\nACME,0019xx9c,DS\n", "entry 1: has no name"),
        ("creator,tag,vr,name\nACME,0018xx9c,DS,Flux\n", "entry 1: needs a tag"),
        ("creator,tag,vr,name\nACME,0019xx01,DS,A\nACME,x,DS,Flux\n", "entry 2: needs a tag"),
        ("creator,tag,vr,name\nACME,0019xx9c,DSS,Flux\n", "VR must have two letters"),
        ("[1, 2]", "list of objects"),
        ("[", "nor valid JSON"),
    ],
)
def test_a_wrong_file_changes_nothing_and_says_where(
    wh: warehouse.Warehouse, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "names").write_text(text)
    with pytest.raises(UsageError, match=says):
        add_dictionary(wh.root, tmp_path / "names")
    assert not (wh.root / FILE).exists()


def test_a_dictionary_needs_a_warehouse_and_a_file(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file or folder: .*missing"):
        add_dictionary(wh.root, tmp_path / "missing")
    with pytest.raises(NotAWarehouse):
        add_dictionary(tmp_path / "nowhere", tmp_path / "names")
    (wh.root / FILE).write_text("{")
    wh.refresh()
    with pytest.raises(UsageError, match="damaged"):
        wh.sql("select 1")


def test_the_same_element_has_the_same_name_in_every_block(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "names").write_text("creator,tag,vr,name\nACME,0019xx9c,DS,Flux\n")
    wh.add_dictionary(tmp_path / "names")
    names = answer_of(wh, "select element, name, source, tags from private_names order by all")
    assert names == [
        ("0019xx02", "Detector Channel", "pydicom", ["00191002", "00191102"]),
        ("0019xx9C", "Flux", "user", ["0019109C", "0019119C"]),
        ("0019xxFE", None, None, ["001910FE", "001911FE"]),
    ]
    for uid in ("1.1", "1.2"):
        header = wh.header(uid)
        assert header["Flux"] == "secret"
        assert [e.tag[6:] for e in header.search("flux")] == ["9C"]
        frame = header.frame()
        assert "[Flux]" in frame["Keyword"].to_list()
    rows = wh.tags(like="FLUX", private=True).fetchall()
    assert [row[:4] for row in rows] == [
        ("0019109C", "[Flux]", "LO", "ACME"), ("0019119C", "[Flux]", "LO", "ACME"),
    ]  # fmt: skip
    assert {row[-1] for row in rows} == {None}, "no example of a private element"


def test_a_name_of_the_user_comes_before_that_of_pydicom() -> None:
    known = private_name("00191002", "GEMS_ACQU_01")
    assert known == private_name("00191102", "GEMS_ACQU_01")
    own = {("GEMS_ACQU_01", "0019xx02"): PrivateEntry("SL", "Mine")}
    assert known not in {None, "Mine"}
    assert private_name("00191102", "GEMS_ACQU_01", own) == "Mine"
    assert private_name("00191102", "NOBODY", own) is None
    assert private_name("00191102", None, own) is None


def test_names_are_those_of_pydicom() -> None:
    from pydicom._private_dict import private_dictionaries
    from pydicom.datadict import private_dictionary_description

    for creator, entries in list(private_dictionaries.items())[::5]:
        for tag in entries:
            if tag[4:6] == "xx":
                wanted = private_dictionary_description(int(tag.replace("xx", "37"), 16), creator)
                assert private_name(tag.replace("xx", "37"), creator) == (wanted or None)


def test_unknown_private_elements_are_kept_and_known_to_be_private(
    sample: warehouse.Warehouse,
) -> None:
    """The odd groups of every file, items included, are as many as pydicom finds."""
    odd = "instr('13579BDF', tag[4]) > 0 and \"index\" = 0"
    private = sample.sql(
        f"select instance_id, count(*) as n from elements where {odd} group by all"
    )
    assert private.fetchall()
    files = "select instances.file_path, coalesce(n, 0) from instances left join private using (instance_id)"
    unknown = 0
    for path, count in private.query("private", files).fetchall():
        if ".zip!" in path or not path.endswith(".dcm"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = [e for e in pydicom.dcmread(path, force=True).iterall() if e.tag.is_private]
        assert count == len(theirs), path
        unknown += sum(e.name == "Private tag data" for e in theirs)
    assert unknown > 0
