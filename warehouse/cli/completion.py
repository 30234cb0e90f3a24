"""``completion``."""

from __future__ import annotations

from typing import Literal

from warehouse.cli.app import app
from warehouse.cli.screen import send_text


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that lets a shell complete commands and options.

    Example: `dicom-warehouse completion bash`

    Parameters
    ----------
    shell
        Write it to a file: bash reads it with `source`, fish finds it in
        ~/.config/fish/completions/, and zsh as `_dicom-warehouse` in a folder of `$fpath`.
    """
    send_text(app.generate_completion(shell=shell))
    return 0
