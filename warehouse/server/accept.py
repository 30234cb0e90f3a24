"""Parse the ``Accept`` header and choose the media type of a response. Pure functions.

In: text of the header. Out: ``MediaRange`` in order of preference, and the representation of
frames and objects (PS3.18 8.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.uid import ExplicitVRLittleEndian

from warehouse.server.errors import NotAcceptable

if TYPE_CHECKING:
    from collections.abc import Iterable

DICOM_JSON = "application/dicom+json"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
RELATED = "multipart/related"
NATIVE = str(ExplicitVRLittleEndian)

_JPEG, _JLS, _JP2, _JPHC, _RLE = (
    "image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle",
)  # fmt: skip
MEDIA = {
    "1.2.840.10008.1.2.5": _RLE,
    **{f"1.2.840.10008.1.2.4.{n}": _JPEG for n in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{n}": _JLS for n in (80, 81)},
    **{f"1.2.840.10008.1.2.4.{n}": _JP2 for n in (90, 91, 92, 93)},
    **{f"1.2.840.10008.1.2.4.{n}": _JPHC for n in (201, 202, 203)},
}
"""Media type of a compressed frame by transfer syntax; any other is application/octet-stream."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """A media range of an ``Accept`` header."""

    media: str
    part: str = ""
    """Media type of the parts of a multipart response; empty if not stated."""
    syntax: str = ""
    """Transfer syntax, ``*`` for the stored one; empty if not stated."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Form:
    """Representation of frames in a response."""

    media: str
    syntax: str
    is_multipart: bool
    is_stored: bool
    """Whether frames are sent as stored; else they are decompressed."""


def parse(header: str | None) -> list[MediaRange]:
    """Return the accepted media ranges, preferred ones first; without a header, ``*/*``.

    >>> parse('multipart/related; type="image/jp2"; transfer-syntax=*, */*;q=0.1')[0].part
    'image/jp2'
    """
    ranges = [_media_range(text) for text in _split(header or "*/*", ",") if text.strip()]
    return sorted((item for item in ranges if item.weight > 0), key=lambda item: -item.weight)


def _media_range(text: str) -> MediaRange:
    media, *rest = (part.strip() for part in _split(text, ";"))
    parameters = {}
    for parameter in rest:
        name, _, value = parameter.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"').strip()
    try:
        weight = min(1.0, max(0.0, float(parameters.get("q", "1"))))
    except ValueError:
        weight = 0.0
    return MediaRange(
        media.lower(),
        parameters.get("type", "").lower(),
        parameters.get("transfer-syntax", ""),
        weight,
    )


def _split(text: str, separator: str) -> list[str]:
    """Split text at a separator outside of quotes."""
    parts, quoted = [""], False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def choose(header: str | None, offered: Iterable[str]) -> str:
    """Return the offered media type that a client prefers.

    Raises
    ------
    NotAcceptable
    """
    ranges = [_media_range(text) for text in _split(header or "", ",")]
    refused = {item.media for item in ranges if item.weight == 0}
    offers = [offer for offer in offered if offer not in refused]
    for wanted in parse(header):
        for offer in offers:
            kind = offer.partition("/")[0]
            if wanted.media in {offer, "*/*", f"{kind}/*"}:
                return offer
    raise NotAcceptable(f"not available as requested; choose one of: {', '.join(offers)}")


def frame_form(header: str | None, syntax: str | None, *, is_compressed: bool) -> Form:
    """Choose the representation of the frames of an image.

    Parameters
    ----------
    header
        ``Accept`` of the request.
    syntax
        Transfer syntax of the image.
    is_compressed
        Whether its pixel data are encapsulated.

    Raises
    ------
    NotAcceptable
        The message lists the available representations.
    """
    media = MEDIA.get(syntax or "", OCTETS) if is_compressed else OCTETS
    stored = (syntax or NATIVE) if is_compressed else NATIVE
    for wanted in parse(header):
        related = wanted.media in {RELATED, "*/*", "multipart/*"}
        part = (wanted.part or "*/*") if related else wanted.media
        if part in {"*/*", "*"}:
            if wanted.syntax in {"", "*", stored}:
                return Form(media, stored, related, is_stored=True)
            if wanted.syntax == NATIVE:
                return Form(OCTETS, NATIVE, related, is_stored=False)
        elif part == OCTETS:
            if wanted.syntax in {"*", stored}:
                return Form(media, stored, related, is_stored=True)
            if wanted.syntax in {"", NATIVE}:
                return Form(OCTETS, NATIVE, related, is_stored=not is_compressed)
        elif part in {media, "image/*"} and is_compressed and wanted.syntax in {"", "*", stored}:
            return Form(media, stored, related, is_stored=True)
    raise NotAcceptable(
        f'frames are available as multipart/related; type="{media}"; transfer-syntax={stored}'
        + (f', or type="{OCTETS}"; transfer-syntax={NATIVE}' if is_compressed else "")
    )


def object_form(header: str | None, syntaxes: Iterable[str | None]) -> str:
    """Choose the media type of objects: multipart/related, application/dicom or application/zip.

    Raises
    ------
    NotAcceptable
        The client accepts no available media type, or only another transfer syntax than that of
        the objects, which are not transcoded.
    """
    stored = {syntax or "" for syntax in syntaxes}
    for wanted in parse(header):
        if wanted.syntax not in {"", "*"} and stored != {wanted.syntax}:
            continue
        if wanted.media in {"*/*", "multipart/*"} or (
            wanted.media == RELATED and wanted.part in {"", "*/*", DICOM}
        ):
            return RELATED
        if wanted.media in {DICOM, "application/*"}:
            return DICOM
        if wanted.media == "application/zip":
            return wanted.media
    raise NotAcceptable(
        f'objects are available as stored: multipart/related; type="{DICOM}"; '
        "transfer-syntax=*, application/dicom; transfer-syntax=*, or application/zip"
    )
