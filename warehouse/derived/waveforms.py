"""Samples of a waveform, such as an ECG, in the unit of each channel.

In: a catalog and a series. Out: an array, read on request. Channels are described by the view
``waveform_channels``; samples are stored in `blobs`, or remain in the file if they are too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.catalog.long_values import open_value
from warehouse.errors import SeriesNotFound, UnknownPart, WrongObject
from warehouse.inputs import require_names

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

_CHANNELS = (
    "from waveform_channels where series_key = $1 order by SOPInstanceUID, group_item, channel_item"
)
_KNOWN = "select 1 from instances where series_key = $1 limit 1"
_SYNTAX = "select distinct TransferSyntaxUID from instances where SOPInstanceUID = $1"
_PADDING = "from elements select bytes where instance_id = $1 and path = $2 and tag = '5400100A'"
"""Waveform Padding Value: stored for samples without a measurement (PS3.3 C.10.9)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_TYPES = {
    ("SB", 8): "i1", ("UB", 8): "u1", ("SS", 16): "<i2", ("US", 16): "<u2", ("SL", 32): "<i4",
    ("UL", 32): "<u4", ("SV", 64): "<i8", ("UV", 64): "<u8",
}  # fmt: skip
"""Sample interpretation and bits → NumPy type of stored samples (PS3.3 C.10.9.1.5)."""


class Waveform:
    """One multiplex group of a waveform: channels with common sampling.

    Attributes
    ----------
    channels
        Rows of the view ``waveform_channels``.
    """

    def __init__(self, catalog: Catalog, series_uid: str, channels: pl.DataFrame) -> None:
        self.series_uid, self.channels, self._catalog = series_uid, channels, catalog

    def __repr__(self) -> str:
        first = self.channels.row(0, named=True)
        frequency, samples = first["SamplingFrequency"], first["NumberOfWaveformSamples"]
        rate = "an unknown frequency" if frequency is None else f"{frequency:g} Hz"
        return f"<Waveform: {len(self.channels)} channels, {samples or 0} samples at {rate}>"

    @property
    def units(self) -> list[str | None]:
        """UCUM code of the unit of each channel; None if its samples are stored values."""
        stated = self.channels.select("unit", "ChannelSensitivity").rows()
        return [None if sensitivity is None else unit for unit, sensitivity in stated]

    def read(self) -> np.ndarray:
        """Return (sample, channel) float64, in the unit of each channel.

        That is stored * sensitivity * correction factor + baseline; stored values for a channel
        without a sensitivity; NaN for samples with the padding value.

        Raises
        ------
        WrongObject
            The encoding of samples is not supported, or their number differs from the header.
        ValueNotFound
            The file with the samples is missing.
        """
        first = self.channels.row(0, named=True)
        key = (first["WaveformSampleInterpretation"], first["WaveformBitsAllocated"])
        syntax = self._catalog.connection.execute(_SYNTAX, [first["SOPInstanceUID"]]).fetchall()
        if key not in _TYPES or syntax[0][0] == _BIG_ENDIAN or first["samples_sha256"] is None:
            why = "the encoding of its samples is not supported, or they are missing"
            raise WrongObject(self.series_uid, "waveform", why)
        with open_value(self._catalog, first["samples_sha256"]) as opened:
            content = opened.read()
        shape = (int(first["NumberOfWaveformSamples"] or 0), len(self.channels))
        dtype = np.dtype(_TYPES[key])
        expected = shape[0] * shape[1] * dtype.itemsize
        if not expected <= len(content) <= expected + 1:  # samples of 8 bits may be padded
            # Channels are interleaved, so extra samples cannot be dropped at the end.
            number = "fewer" if len(content) < expected else "more"
            raise WrongObject(
                self.series_uid, "waveform", f"it has {number} samples than its header states"
            )
        stored = np.frombuffer(content, dtype, shape[0] * shape[1]).reshape(shape)
        names = ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor", "ChannelBaseline"]
        sensitivity, correction, baseline = (self.channels[name] for name in names)
        is_stated = sensitivity.is_not_null()
        slope = (sensitivity * correction.fill_null(1)).fill_null(1).to_numpy()
        offset = np.where(is_stated, baseline.fill_null(0).to_numpy(), 0)
        samples: np.ndarray = stored * slope + offset
        padding = self._padding(dtype)
        return samples if padding is None else np.where(stored == padding, np.nan, samples)

    def _padding(self, dtype: np.dtype) -> np.generic | None:
        """Return the padding value of the samples, or None."""
        first = self.channels.row(0, named=True)
        parameters = [first["instance_id"], f"WaveformSequence[{first['group_item']}]"]
        rows = self._catalog.connection.execute(_PADDING, parameters).fetchall()
        stated = rows[0][0] if rows else None
        if stated is None or len(stated) < dtype.itemsize:
            return None
        value: np.generic = np.frombuffer(stated, dtype, 1)[0]
        return value


def open_waveform(
    catalog: Catalog, series_uid: str, *, group: int = 0, sop_instance_uid: str | None = None
) -> Waveform:
    """Open a multiplex group of a waveform; ``read`` returns the samples.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID.
    group
        Index in the Waveform Sequence, from 0.
    sop_instance_uid
        The object, if the series has several.

    Raises
    ------
    SeriesNotFound, UnknownPart
    WrongObject
        The series is not a waveform, or has several objects and none is chosen.
    """
    require_names(series_uid)
    rows = catalog.session().sql(_CHANNELS, params=[series_uid]).pl()
    if not catalog.connection.execute(_KNOWN, [series_uid]).fetchall():
        raise SeriesNotFound(series_uid)
    unread = rows["not_read"].drop_nulls()
    if not len(rows) or len(unread):
        why = unread[0] if len(unread) else "it has no Waveform Sequence"
        raise WrongObject(series_uid, "waveform", why)
    if sop_instance_uid is not None:
        rows = rows.filter(pl.col("SOPInstanceUID") == sop_instance_uid)
    if rows["SOPInstanceUID"].n_unique() != 1:
        why = f"{rows['SOPInstanceUID'].n_unique()} of its objects match; choose one"
        raise WrongObject(series_uid, "waveform", why)
    chosen = rows.filter((pl.col("group_item") == group) & pl.col("channel_item").is_not_null())
    if not len(chosen):
        raise UnknownPart("multiplex group", group, rows["group_item"].unique().sort().to_list())
    return Waveform(catalog, series_uid, chosen)
