"""Errors of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterable


class PixelError(WarehouseError):
    """Pixels cannot be returned as requested."""


class NoPixels(PixelError):
    """The instances of a series have no pixel data."""

    def __init__(self, series_uid: str) -> None:
        super().__init__(f"no instance of series {series_uid} has pixel data")


class NotAVolume(PixelError, ValueError):
    """The frames of a series are not a regular grid; ``why`` has the reason."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"series {series_uid} is not a volume: {why}; read its frames with --stack, in Python "
            "with wh.stack(...)"
        )


class NoGradients(PixelError, ValueError):
    """The diffusion weighting of a series is unknown; ``why`` has the reason."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"no diffusion gradients of series {series_uid}: {why}; the view diffusion_frames has "
            "what its frames state"
        )


class SourceChanged(PixelError):
    """A source file was moved, truncated or replaced since its ingest."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"{path} is not what was ingested: {why}; ingest its folder again")


class NotReferable(PixelError, ValueError):
    """Voxels cannot be referred to in their source files; ``why`` has the reason."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"series {series_uid} cannot be read in place by other tools: {why}; write a copy with "
            "--npy or --nifti"
        )


class PixelsUnreadable(PixelError):
    """The pixel data of a file are damaged, or contradict the header."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"pixels of {path} cannot be read: {why}")


class NoSingleUnit(PixelError, ValueError):
    """Values have no common unit; ``why`` names the existing mappings or units."""

    def __init__(self, what: str, why: str) -> None:
        self.why = why
        super().__init__(f"{what} cannot be returned in one unit: {why}")


class ArrayTooLarge(PixelError, MemoryError):
    """There is not enough memory for the requested array or frame."""

    def __init__(self, what: str, size_bytes: int) -> None:
        super().__init__(
            f"{what} needs {size_bytes / 2**30:.1f} GiB of memory, more than there is; read "
            "fewer slices at a time"
        )


class NoDecoder(PixelError):
    """No installed decoder supports a transfer syntax."""

    def __init__(self, uid: str, name: str, missing: Iterable[str]) -> None:
        needs = "; ".join(missing)
        advice = (
            "install them with: pip install 'dicom-warehouse[pixels]' (pydicom needs "
            f"{needs})" if needs else "pydicom has no decoder for it"
        )  # fmt: skip
        super().__init__(f"no decoder for transfer syntax {name} ({uid}): {advice}")
