"""The fast reader against the reference reader: the same rows, the same outcomes, on everything."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import pickle
import random
import struct
from collections import Counter
from pathlib import Path

import nibabel
import pyarrow as pa
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import long_headers
from tests import dicom_files
from tests.derived_objects import annotations, dose_report, measured, slide
from tests.dicom.made_datasets import (
    EXPLICIT,
    IMPLICIT,
    damaged,
    element,
    families,
    files,
    filled,
    item,
    sequence,
    shapes,
)
from tests.row_builder import RowBuilder
from warehouse.dicom import items, walk
from warehouse.dicom.known_shapes import KnownShapes
from warehouse.dicom.reference import read_header
from warehouse.dicom.scan import SourceFile
from warehouse.elements import extract as extracting
from warehouse.elements.extract import extract
from warehouse.elements.schema import ELEMENTS, ORDER
from warehouse.errors import Rejected

SETTINGS = settings(
    max_examples=int(os.environ.get("EXAMPLES", "12")), deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip


def examples(quick):
    """Return the number of examples of a test of which each takes a tenth of a second.

    In the default run those given; as many times more as the profile has more than that run.
    """
    return quick * settings().max_examples // settings.get_profile("quick").max_examples


def sources(paths):
    return [SourceFile(str(path), os.path.getsize(path), 0) for path in paths]


PLAIN = pa.schema(
    [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in ELEMENTS]
).set(ELEMENTS.names.index("real"), pa.field("real", pa.int64()))  # fmt: skip
"""As rows are compared: texts without dictionaries, numbers by their bits, as -0.0 and NaN are values too."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows as a multiset: their order within a portion is looked at, not that of portions."""

    portions: tuple[pa.Table, ...]

    @functools.cached_property
    def sorted(self) -> pa.Table:
        together = pa.concat_tables([ELEMENTS.empty_table(), *self.portions])
        at = ELEMENTS.names.index("real")
        bits = [chunk.view(pa.int64()) for chunk in together["real"].chunks]
        together = together.set_column(at, "real", pa.chunked_array(bits, pa.int64()))
        return together.cast(PLAIN).sort_by([(name, "ascending") for name in ORDER])

    @functools.cached_property
    def counted(self) -> Counter[tuple[str, ...]]:
        """Count each row, whichever of those alike in what they are sorted by comes first."""
        found: Counter[tuple[str, ...]] = Counter()
        for portion in self.portions:
            columns = [map(repr, column.to_pylist()) for column in portion.columns]
            found.update(zip(*columns, strict=True))
        return found


def content(portions):
    """Rows as a multiset, long values by digest, outcomes without the name of the reader."""
    rows, blobs, outcomes = [], {}, []
    for portion in portions:
        assert portion.rows.schema == ELEMENTS
        portion.rows.validate(full=True)
        keys = pa.table([portion.rows[name] for name in ORDER], names=ORDER)
        keys = keys.cast(pa.schema([PLAIN.field(name) for name in ORDER]))
        assert keys.equals(keys.sort_by([(name, "ascending") for name in ORDER]))
        rows.append(portion.rows)
        blobs |= dict(
            zip(
                portion.blobs["sha256"].to_pylist(), portion.blobs["bytes"].to_pylist(), strict=True
            )
        )
        outcomes += [dataclasses.replace(outcome, reader=None) for outcome in portion.outcomes]
    return Rows(tuple(rows)), blobs, outcomes


def expected(given_sources, first_id):
    """What the reference reader says, row by row, without any of the code for columns."""
    builder = RowBuilder()
    for number, source in enumerate(given_sources):
        try:
            builder.add(first_id + number, read_header(source).elements)
        except Rejected:
            continue
    rows, blobs = builder.take()
    return (
        Rows((rows,)),
        dict(zip(blobs["sha256"].to_pylist(), blobs["bytes"].to_pylist(), strict=True)),
    )


def same_rows(given, wanted):
    # Row by row only where that is needed: of a thousand files it takes longer than to read them.
    if given.sorted.equals(wanted.sorted):
        return
    assert not list((given.counted - wanted.counted).items())[:3]
    assert not list((wanted.counted - given.counted).items())[:3]


def read_by_pydicom(given_sources, max_rows):
    return content(extract(list(given_sources), 5, max_rows, reader="pydicom"))


read_once = functools.lru_cache(maxsize=8)(read_by_pydicom)


HEADERS = {}
"""What pydicom said of files that the fast reader left to it, by the digest of their bytes."""


@pytest.fixture(scope="module", autouse=True)
def forget_headers():
    yield
    HEADERS.clear()


def read_header_once(source, limits):
    """Read a file that the fast reader leaves to pydicom, unless one of the same bytes was read.

    Each is read in five ways, twice in each, and pydicom would parse it ten times. What it says is
    compared with what it says when it is asked again for all files (``read_by_pydicom``).
    """
    try:
        digest = hashlib.sha256(Path(source.path).read_bytes()).digest()
    except OSError:
        return read_header(source, limits)
    if digest not in HEADERS:
        try:
            HEADERS[digest] = read_header(source, limits)
        except Rejected as error:
            HEADERS[digest] = error
    if isinstance(HEADERS[digest], Rejected):
        raise HEADERS[digest]
    return HEADERS[digest]


def read_fast(given_sources, max_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extracting, "read_header", read_header_once)
        yield from extract(given_sources, 5, max_rows)


def forget_shapes():
    for buffers in extracting._buffers_of_threads:
        buffers.shapes = KnownShapes()


def assert_same(given_sources, max_rows=10**6, said=None):
    """Compare both readers; ``said`` is what pydicom says, where that was asked already."""
    forget_shapes()
    portions = list(read_fast(given_sources, max_rows))
    rows, blobs, outcomes = content(portions)
    # Once more, by the shapes that are known now: what is matched with them was walked before.
    again, blobs_again, outcomes_again = content(read_fast(given_sources, max_rows))
    same_rows(again, rows)
    assert blobs_again == blobs
    assert outcomes_again == outcomes
    # Files of a package do not change: pydicom reads them once, however often ours are compared.
    is_packaged = all(source.path.startswith(str(PYDICOM)) for source in given_sources)
    by_pydicom = read_once if is_packaged else read_by_pydicom
    slow_rows, slow_blobs, slow_outcomes = said or by_pydicom(tuple(given_sources), max_rows)
    same_rows(rows, slow_rows)
    assert outcomes == slow_outcomes
    assert blobs == slow_blobs
    return [outcome for portion in portions for outcome in portion.outcomes]


def folder_files(folder):
    return sorted(
        path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".py"
    )


PYDICOM = Path(pydicom.data.__file__).parent
NIBABEL = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"


def test_pydicoms_files():
    given_sources = sources(folder_files(PYDICOM))
    outcomes = assert_same(given_sources)
    rows, blobs, _ = content(extract(given_sources, 5, 10**6))
    wanted, wanted_blobs = expected(given_sources, 5)
    same_rows(rows, wanted)
    assert blobs == wanted_blobs
    read = [outcome for outcome in outcomes if outcome.reader]
    assert len([outcome for outcome in read if outcome.reader == "fast"]) > 0.8 * len(read)


def test_nibabels_files():
    assert_same(sources(folder_files(NIBABEL)))


def test_derived_objects(tmp_path):
    """Content trees and functional groups; the package of highdicom brings no file of its own."""
    made = (measured(), dose_report(), annotations(), slide())
    paths = [dicom_files.write(tmp_path / f"{n}.dcm", one) for n, one in enumerate(made)]
    outcomes = assert_same(sources(paths))
    assert {outcome.reader for outcome in outcomes} == {"fast"}


@pytest.mark.slow
@pytest.mark.skipif("DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder")
def test_a_corpus_of_real_files():
    outcomes = assert_same(sources(folder_files(os.environ["DICOM_CORPUS"])))
    read = [outcome for outcome in outcomes if outcome.reader]
    assert len([outcome for outcome in read if outcome.reader == "fast"]) > 0.95 * len(read)


def test_long_headers_among_others(tmp_path, monkeypatch):
    monkeypatch.setattr(long_headers, "FRAMES", 90)
    monkeypatch.setattr(long_headers, "CONTOURS", 300)
    long = list(long_headers.make(tmp_path).values())
    outcomes = assert_same(sources([*folder_files(NIBABEL), *long]))
    assert [outcome.reader for outcome in outcomes[-2:]] == ["fast", "fast"]


def test_order_and_size_of_portions_of_few_files_do_not_matter():
    paths = sources(folder_files(PYDICOM))
    random.Random(1).shuffle(paths)
    assert_same(paths[:25], max_rows=200)


@pytest.mark.long("test_order_and_size_of_portions_of_few_files_do_not_matter")
def test_order_and_size_of_portions_do_not_matter():
    paths = sources(folder_files(PYDICOM))
    random.Random(1).shuffle(paths)
    assert_same(paths, max_rows=500)


def write(folder, contents):
    for old in folder.iterdir():
        old.unlink()
    for number, raw in enumerate(contents):
        (folder / f"{number:04}.dcm").write_bytes(raw)
    return sources(sorted(folder.iterdir()))


WAYS = {
    "by shape, or alone": {},
    "by shape, one at a time": {"shapes.MAX_CELLS": 1},
    "the buffers are full after each file": {"shapes.MAX_FOUND": 0},
    "alone": {"shapes._shape": lambda _trace: None},
    "alone, items together": {
        "shapes._shape": lambda _trace: None,
        "walk.FEW_ITEMS": 1,
        "items.MIN_ITEMS": 1,
    },
}
"""Each way of finding elements, whatever the number of files."""


@contextlib.contextmanager
def in_way(name):
    with pytest.MonkeyPatch.context() as patch:
        for target, value in WAYS[name].items():
            patch.setattr(f"warehouse.dicom.{target}", value)
        yield


@pytest.fixture(params=WAYS)
def way(request):
    with in_way(request.param):
        yield request.param


def of_way(name, given_sources):
    """Return files to read in a way: of one that begins a batch with each file, every fifth."""
    return given_sources[::5] if name == "the buffers are full after each file" else given_sources


def assert_same_in_every_way(given_sources):
    said = read_by_pydicom(given_sources, 10**6)
    for name in WAYS:
        with in_way(name):
            assert_same(given_sources, said=said)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """Return a function that writes contents once, and what pydicom says of them, by a name."""
    written = {}

    def write_once(name, contents):
        if name not in written:
            given_sources = write(tmp_path_factory.mktemp("fixed"), contents())
            written[name] = given_sources, read_by_pydicom(given_sources, 10**6)
        return written[name]

    return write_once


@settings(SETTINGS, max_examples=2)
@given(st.lists(files(), min_size=1, max_size=5))
def test_few_made_files(tmp_path, contents):
    assert_same_in_every_way(write(tmp_path, contents))


@pytest.mark.long("test_few_made_files")
@settings(SETTINGS, max_examples=examples(8))
@given(st.lists(files(), min_size=1, max_size=5))
def test_made_files(tmp_path, contents):
    assert_same_in_every_way(write(tmp_path, contents))


@settings(SETTINGS, max_examples=2)
@given(st.lists(damaged(), min_size=1, max_size=5))
def test_few_damaged_files(tmp_path, contents):
    assert_same_in_every_way(write(tmp_path, contents))


@pytest.mark.long("test_few_damaged_files")
@settings(SETTINGS, max_examples=examples(8))
@given(st.lists(damaged(), min_size=1, max_size=5))
def test_damaged_files(tmp_path, contents):
    assert_same_in_every_way(write(tmp_path, contents))


@SETTINGS
@given(families())
def test_files_of_one_shape(tmp_path, contents):
    assert_same(write(tmp_path, contents))


def test_packaged_files_in_every_way(way):
    assert_same(of_way(way, sources(folder_files(PYDICOM))))


many_files = given(
    st.lists(st.one_of(files(), damaged()), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
)


@settings(SETTINGS, max_examples=2)
@many_files
def test_made_files_by_the_dozen(tmp_path, contents, order):
    assert_same_shuffled(tmp_path, contents * 10, order)


@pytest.mark.long("test_made_files_by_the_dozen")
@settings(SETTINGS, max_examples=examples(3))
@many_files
def test_made_files_by_the_hundred(tmp_path, contents, order):
    assert_same_shuffled(tmp_path, contents * 40, order)


def assert_same_shuffled(folder, many, order):
    order.shuffle(many)
    assert_same(write(folder, many))


def small():
    return (PYDICOM / "test_files" / "rtplan.dcm").read_bytes()


def cut_off():
    raw = small()
    return [raw[:end] for end in range(120, len(raw), 61)]


def flipped():
    chance = random.Random(3)
    contents = []
    for name in (
        "rtplan.dcm",
        "CT_small.dcm",
        "nested_priv_SQ.dcm",
        "MR_small_implicit.dcm",
        "JPEG2000.dcm",
    ):
        path = PYDICOM / "test_files" / name
        for _ in range(20 if path.exists() else 0):
            raw = bytearray(path.read_bytes())
            for _ in range(chance.randint(1, 3)):
                raw[chance.randrange(128, min(len(raw), 3000))] = chance.choice(
                    (0, 1, 255, chance.randrange(256))
                )
            contents.append(bytes(raw))
    return contents


def lying():
    raw = small()
    return [
        raw[:at] + struct.pack("<L", lie) + raw[at + 4 :]
        for at in range(132, len(raw) - 4, 173)
        for lie in (0, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
    ]


@pytest.mark.parametrize("contents", [cut_off, flipped, lying])
def test_files_that_are_wrong_in_known_places(contents, way, fixed):
    given_sources, said = fixed(contents, contents)
    assert len(given_sources) > 20
    some = of_way(way, given_sources)
    assert_same(some, said=said if some is given_sources else None)


META = element(0x00020010, "UI", EXPLICIT, implicit=False)
PREAMBLE = b"\0" * 128 + b"DICM" + META + element(0x00080016, "UI", b"1.2\0", implicit=False)


def long_values():
    """Values around and beyond the size of a window, also inside of sequences."""
    contents = []
    for size in (200, 256, 257, 15_900, 16_200, 16_384, 33_000, 65_536, 70_000, 200_000):
        blob = random.Random(size).randbytes(size)
        inner = element(0x00091001, "OB", blob, implicit=False) + element(
            0x00100020, "LO", b"ID", implicit=False
        )
        for undefined in (True, False):
            seq = sequence(
                0x00081140,
                "SQ",
                [item(inner, undefined=undefined)] * 2,
                implicit=False,
                undefined=undefined,
            )
            contents.append(
                PREAMBLE + seq + element(0x00420011, "OB", blob, implicit=False)
                + element(0x00540220, "UT", b"x" * size, implicit=False)
            )  # fmt: skip
        contents.append(PREAMBLE + element(0x00420011, "OB", blob, implicit=False))
    return contents


@pytest.mark.parametrize(
    "times", [1, pytest.param(4, marks=pytest.mark.long("test_long_values_and_windows"))]
)
def test_long_values_and_windows(times, way, fixed):
    given_sources, said = fixed(f"long values {times}", lambda: long_values() * times)
    outcomes = assert_same(given_sources, said=said)
    assert {outcome.reader for outcome in outcomes} == {"fast"}


def test_one_long_file_among_short_ones(tmp_path):
    """A file with many elements among many with few."""
    code = element(0x00080100, "SH", b"1234", implicit=False) + element(
        0x00080104, "LO", b"Word", implicit=False
    )
    long = PREAMBLE + sequence(
        0x00409096, "SQ", [item(code, undefined=False)] * 1500, implicit=False, undefined=False
    )
    short = PREAMBLE + element(0x00081030, "LO", b"Word", implicit=False)
    outcomes = assert_same(write(tmp_path, [long, *[short] * 70]))
    assert {outcome.reader for outcome in outcomes} == {"fast"}


sequences = given(
    shape=shapes(), implicit=st.booleans(), delimited=st.booleans(), endless=st.booleans(),
    count=st.integers(40, 300), odd=st.sets(st.integers(0, 299), max_size=3),
    cut=st.integers(0, 400),
    # By a seed: to draw thousands of words one by one takes longer than to read the file.
    chance=st.integers(0, 2**32 - 1).map(random.Random),
)  # fmt: skip


@settings(SETTINGS, max_examples=2)
@sequences
def test_many_items_of_few_sequences(tmp_path, **drawn):
    assert_same_items(tmp_path, **drawn)


@pytest.mark.long("test_many_items_of_few_sequences")
@settings(SETTINGS, max_examples=examples(10))
@sequences
def test_many_items_of_one_sequence(tmp_path, **drawn):
    assert_same_items(tmp_path, **drawn)


def assert_same_items(folder, shape, implicit, delimited, endless, count, odd, cut, chance):
    """Items that differ in values, in lengths, a few in more; the file whole and cut off."""
    words = [b"", b"A ", b"WORD", b"ANOTHER ", b"1\\22\\333 "]
    bodies = []
    for number in range(count):
        values = iter(lambda: chance.choices(words, [1, 1, 1, 1, 9])[0], None)
        body = filled(shape, values, implicit=implicit)
        if number in odd:
            body += element(0x00700080, "CS", b"ODD ", implicit=implicit)
        bodies.append(item(body, undefined=delimited != (number in odd and cut % 2 == 1)))
    meta = element(0x00020010, "UI", IMPLICIT if implicit else EXPLICIT, implicit=False)
    group = element(0x00020000, "UL", struct.pack("<L", len(meta)), implicit=False)
    whole = b"\0" * 128 + b"DICM" + group + meta
    whole += element(0x00080016, "UI", b"1.2\0", implicit=implicit)
    whole += sequence(0x52009230, "SQ", bodies, implicit=implicit, undefined=endless)
    whole += element(0x60000022, "LO", b"BEHIND", implicit=implicit)
    outcomes = assert_same(write(folder, [whole, whole[: len(whole) - cut]]))
    assert outcomes[0].reader == "fast"


def test_items_that_are_never_alike_are_soon_compared_no_more(tmp_path, monkeypatch):
    """As in structured reports: hundreds of short sequences, all items of which differ."""
    name = element(0x00080104, "LO", b"Word", implicit=False)
    code = element(0x00080100, "SH", b"1234", implicit=False) + name
    inner = [item(code if k % 2 else name, undefined=True) for k in range(5)]
    short = sequence(0x0040A730, "SQ", inner, implicit=False, undefined=True)
    bodies = [item(short if k % 2 else name + short, undefined=True) for k in range(400)]
    whole = PREAMBLE + sequence(0x0040A730, "SQ", bodies, implicit=False, undefined=True)
    compared = []

    def record_items(*arguments):
        compared.append(items.record_items(*arguments))
        return compared[-1]

    monkeypatch.setattr(walk, "record_items", record_items)
    (outcome,) = assert_same(write(tmp_path, [whole]))
    assert outcome.reader == "fast"
    assert 0 < len(compared) < 50


def test_deep_nesting_is_left_to_the_reference(tmp_path, way):
    body = element(0x00100020, "LO", b"ID", implicit=False)
    contents = []
    for depth in range(1, 80):
        body = sequence(
            0x00081140, "SQ", [item(body, undefined=True)], implicit=False, undefined=True
        )
        if depth in {1, 5, 20, 23, 24, 25, 60, 63, 64, 65, 79}:
            contents.append(PREAMBLE + body)
    assert_same(write(tmp_path, contents))


def test_a_source_can_be_sent_to_another_process():
    source = sources([__file__])[0]
    assert pickle.loads(pickle.dumps(source)) == source


def test_no_files():
    assert list(extract([], 0, 10)) == []


def test_a_file_that_is_gone(tmp_path):
    given_sources = write(tmp_path, [PREAMBLE, PREAMBLE, PREAMBLE])
    (tmp_path / "0001.dcm").unlink()
    assert_same(given_sources)


def test_an_empty_sequence_before_pixel_representation(tmp_path):
    """pydicom converts Pixel Representation when it meets an empty sequence of implicit VR."""
    meta = element(0x00020010, "UI", IMPLICIT, implicit=False)
    body = element(0x00081110, "SQ", b"", implicit=True)
    body += element(0x00280103, "US", b"\1\0", implicit=True)
    body += element(0x00280106, "US", b"\xff\xff", implicit=True)
    outcomes = assert_same(write(tmp_path, [b"\0" * 128 + b"DICM" + meta + body]))
    assert [outcome.reason for outcome in outcomes] == [None]


@pytest.mark.parametrize("undefined", [False, True])
def test_items_know_the_pixel_representation_around_them(tmp_path, undefined):
    """PS3.3 C.11.1.1 and C.7.6.16.2.11: mapped values are signed as the pixels are.

    pydicom reads 64512 and 64536 where the sequences have no length.
    """
    lut = element(0x00283002, "US", struct.pack("<Hhh", 256, -1024, 16), implicit=True)
    first = element(0x00409216, "US", struct.pack("<h", -1000), implicit=True)
    own = element(0x00280103, "US", b"\0\0", implicit=True) + first
    body = element(0x00280103, "US", b"\1\0", implicit=True)
    for tag, contents in ((0x00283000, [lut]), (0x00409096, [first, own])):
        items_of = [item(content, undefined=undefined) for content in contents]
        body += sequence(tag, "SQ", items_of, implicit=True, undefined=undefined)
    meta = element(0x00020010, "UI", IMPLICIT, implicit=False)
    given_sources = write(tmp_path, [b"\0" * 128 + b"DICM" + meta + body])
    assert [outcome.reader for outcome in assert_same(given_sources)] == ["fast"]
    (portion,) = extract(given_sources, 0, 1 << 20)
    values = {}
    for row in portion.rows.to_pylist():
        if row["path"]:
            values.setdefault((row["path"], row["vr"]), []).append(row["integer"])
    assert values == {
        ("ModalityLUTSequence[0]", "SS"): [256, -1024, 16],
        ("RealWorldValueMappingSequence[0]", "SS"): [-1000],
        ("RealWorldValueMappingSequence[1]", "US"): [0, 64536],
    }


def test_private_elements_behind_pixel_data(tmp_path):
    contents = []
    for implicit, syntax in ((False, EXPLICIT), (True, IMPLICIT)):
        body = element(0x00080016, "UI", b"1.2\0", implicit=implicit)
        body += element(0x7FE00010, "OW", b"\1\2" * 20, implicit=implicit)
        body += element(0x7FE10010, "LO", b"SIEMENS CSA NON-IMAGE ", implicit=implicit)
        body += element(0x7FE11010, "OB", b"\3" * 300, implicit=implicit)
        contents.append(
            b"\0" * 128 + b"DICM" + element(0x00020010, "UI", syntax, implicit=False) + body
        )
    outcomes = assert_same(write(tmp_path, contents))
    assert [outcome.reason for outcome in outcomes] == [None, None]
    assert {outcome.reader for outcome in outcomes} == {"fast"}


def test_sequences_of_several_curves_have_paths_of_their_own(tmp_path):
    """PS3.6 has one keyword for (50xx,2600): rows of two curves were not told apart."""
    contents = []
    for implicit, syntax in ((False, EXPLICIT), (True, IMPLICIT)):
        body = b""
        for group, uid in ((0x5000, b"1.0\0"), (0x5002, b"1.2\0")):
            referenced = element(0x00081155, "UI", uid, implicit=implicit)
            items = [item(referenced, undefined=False)]
            body += sequence(
                group << 16 | 0x2600, "SQ", items, implicit=implicit, undefined=False
            )  # fmt: skip
        contents.append(
            b"\0" * 128 + b"DICM" + element(0x00020010, "UI", syntax, implicit=False) + body
        )
    given_sources = write(tmp_path, contents)
    assert_same(given_sources)
    (portion,) = extract(given_sources, 0, 1 << 20)
    rows = portion.rows.to_pylist()
    assert {(row["path"], row["text"]) for row in rows if row["path"]} == {
        ("CurveReferencedOverlaySequence[0]", "1.0"), ("50022600[0]", "1.2"),
    }  # fmt: skip
