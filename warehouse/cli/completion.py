"""``completion``."""

from __future__ import annotations

from typing import Literal

from warehouse.cli.app import app
from warehouse.cli.screen import send_text


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that lets a shell complete commands and options; see the shell for its place.

    Example: `dicom-warehouse completion bash > dicom-warehouse.bash`

    Parameters
    ----------
    shell
        To be read by bash with `source`, by fish from ~/.config/fish/completions/, and by zsh from
        a file `_dicom-warehouse` in a folder of `$fpath`.
    """
    send_text(app.generate_completion(shell=shell))
    return 0
