"""A pydicom plugin that decodes lossy and lossless JPEG frames with GDCM.

In: a frame of one of the four JPEG transfer syntaxes. Out: its words, as they were compressed.
pydicom's own GDCM plugin rejects lossy 12-bit frames, and clears the bits beyond Bits Stored, in
which old files keep overlays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydicom.pixels.decoders import gdcm as plugin
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGTransferSyntaxes

from warehouse.pixels.codestream import describe

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

LABEL = "dicom-warehouse"
DECODER_DEPENDENCIES = {UID(uid): ("gdcm>=3.0.24",) for uid in JPEGTransferSyntaxes}
"""Packages that the plugin needs; pydicom reads this name from every plugin."""


def is_available(uid: str) -> bool:
    """Return True if GDCM is installed and ``uid`` is JPEG.

    Examples
    --------
    >>> is_available("1.2.840.10008.1.2.4.90")
    False
    """
    return uid in DECODER_DEPENDENCIES and plugin.is_available(uid)


def decode_frame(encoded: bytes, runner: DecodeRunner) -> bytes:
    """Return the words of one frame: of 8 bits if its precision is at most 8, else of 16.

    Parameters
    ----------
    encoded
        The frame.
    runner
        pydicom's description of the frame; the word size is set on it.

    Raises
    ------
    ValueError
        The frame is truncated or damaged.

    Examples
    --------
    >>> decode_frame(frame, runner)  # doctest: +SKIP
    """
    import gdcm  # noqa: PLC0415 - an extra

    found = describe(encoded)
    if not found:
        raise ValueError("no JPEG frame")
    precision = found[0].precision
    allocated = 8 if precision <= 8 else 16
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(runner.photometric_interpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if runner.samples_per_pixel > 1:
        image.SetPlanarConfiguration(0)
        runner.set_option("planar_configuration", 0)
    syntax = gdcm.TransferSyntax.GetTSType(str(runner.transfer_syntax))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    # Bits Allocated selects one of GDCM's JPEG libraries. With 16, GDCM first tries the 16-bit one
    # and prints an error for each 12-bit frame: https://github.com/tfmoraes/python-gdcm/issues/35
    library = precision if runner.transfer_syntax == JPEGExtended12Bit else allocated
    # Unsigned and with the precision of the codestream, so that no bit of a word is changed.
    image.SetPixelFormat(
        gdcm.PixelFormat(runner.samples_per_pixel, library, precision, precision - 1, 0)
    )
    samples = image.GetBuffer()
    if samples is None:
        raise ValueError("GDCM cannot decode the frame")
    runner.set_option("bits_allocated", allocated)
    # The bindings return bytes as surrogate-escaped text.
    return cast("str", samples).encode("utf-8", "surrogateescape")


def register() -> None:
    """Register the decoder with pydicom, which still prefers its own plugins.

    Examples
    --------
    >>> register()
    """
    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(uid)
        if is_available(uid) and LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))
