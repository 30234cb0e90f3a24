"""Samples of a waveform, such as an ECG, in the unit of each channel.

In: a catalog and a series. Out: an array, read when it is asked for. What a channel is comes from
the view ``waveform_channels``; samples lie in `blobs`, or in the file where they are too long.
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
"""Waveform Padding Value: what is stored where nothing was measured (PS3.3 C.10.9)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_TYPES = {
    ("SB", 8): "i1", ("UB", 8): "u1", ("SS", 16): "<i2", ("US", 16): "<u2", ("SL", 32): "<i4",
    ("UL", 32): "<u4", ("SV", 64): "<i8", ("UV", 64): "<u8",
}  # fmt: skip
"""Sample interpretation and bits → how samples are stored (PS3.3 C.10.9.1.5)."""


class Waveform:
    """One multiplex group of a waveform: channels that were sampled together.

    Attributes
    ----------
    channels
        Its rows of the view ``waveform_channels``.
    """

    def __init__(self, catalog: Catalog, series_uid: str, channels: pl.DataFrame) -> None:
        self.series_uid, self.channels, self._catalog = series_uid, channels, catalog

    def __repr__(self) -> str:
        first = self.channels.row(0, named=True)
        return (
            f"<Waveform: {len(self.channels)} channels, {first['NumberOfWaveformSamples']} samples "
            f"at {first['SamplingFrequency']:g} Hz>"
        )

    @property
    def units(self) -> list[str | None]:
        """Unit of each channel, a code of UCUM; None where its numbers are as stored."""
        stated = self.channels.select("unit", "ChannelSensitivity").rows()
        return [None if sensitivity is None else unit for unit, sensitivity in stated]

    def read(self) -> np.ndarray:
        """Return (sample, channel) float64, in the unit of each channel.

        That is stored * sensitivity * correction factor + baseline; as stored where a channel
        states no sensitivity; NaN where the padding value stands, which is no signal.

        Raises
        ------
        WrongObject
            Samples are coded in a way that is not read, or are not as many as promised.
        ValueNotFound
            The file that held them is gone.
        """
        first = self.channels.row(0, named=True)
        key = (first["WaveformSampleInterpretation"], first["WaveformBitsAllocated"])
        syntax = self._catalog.connection.execute(_SYNTAX, [first["SOPInstanceUID"]]).fetchall()
        if key not in _TYPES or syntax[0][0] == _BIG_ENDIAN or first["samples_sha256"] is None:
            why = "its samples are coded in a way that is not read, or missing"
            raise WrongObject(self.series_uid, "waveform", why)
        with open_value(self._catalog, first["samples_sha256"]) as opened:
            content = opened.read()
        shape = (int(first["NumberOfWaveformSamples"] or 0), len(self.channels))
        dtype = np.dtype(_TYPES[key])
        wanted = shape[0] * shape[1] * dtype.itemsize
        if not wanted <= len(content) <= wanted + 1:  # samples of 8 bits may be padded
            # Of more channels than are described, these are not the first: channels alternate.
            number = "fewer" if len(content) < wanted else "more"
            raise WrongObject(
                self.series_uid, "waveform", f"it has {number} samples than it promises"
            )
        stored = np.frombuffer(content, dtype, shape[0] * shape[1]).reshape(shape)
        names = ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor", "ChannelBaseline"]
        sensitivity, correction, baseline = (self.channels[name] for name in names)
        is_stated = sensitivity.is_not_null()
        slope = (sensitivity * correction.fill_null(1)).fill_null(1).to_numpy()
        offset = np.where(is_stated, baseline.fill_null(0).to_numpy(), 0)
        made: np.ndarray = stored * slope + offset
        padding = self._padding(dtype)
        return made if padding is None else np.where(stored == padding, np.nan, made)

    def _padding(self, dtype: np.dtype) -> np.generic | None:
        first = self.channels.row(0, named=True)
        asked = [first["instance_id"], f"WaveformSequence[{first['group_item']}]"]
        found = self._catalog.connection.execute(_PADDING, asked).fetchall()
        stated = found[0][0] if found else None
        if stated is None or len(stated) < dtype.itemsize:
            return None
        value: np.generic = np.frombuffer(stated, dtype, 1)[0]
        return value


def open_waveform(
    catalog: Catalog, series_uid: str, *, group: int = 0, sop_instance_uid: str | None = None
) -> Waveform:
    """Return a multiplex group of a waveform; samples are read by ``read``.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID.
    group
        Place in the Waveform Sequence, from 0.
    sop_instance_uid
        Which object, where the series has several.

    Raises
    ------
    SeriesNotFound, UnknownPart
    WrongObject
        The series is no waveform, or of several objects and none was chosen.
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
        why = f"{rows['SOPInstanceUID'].n_unique()} of its objects are meant, name one"
        raise WrongObject(series_uid, "waveform", why)
    chosen = rows.filter((pl.col("group_item") == group) & pl.col("channel_item").is_not_null())
    if not len(chosen):
        raise UnknownPart("multiplex group", group, rows["group_item"].unique().sort().to_list())
    return Waveform(catalog, series_uid, chosen)
