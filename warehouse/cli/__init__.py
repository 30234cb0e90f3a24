"""The command ``dicom-warehouse``: arguments in, text out. No logic of its own."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 stopped."""
    import sys

    from warehouse.cli.stopping import speak_for, stoppable

    speak_for(sys.argv[1:] if arguments is None else arguments)
    with stoppable():
        # Here, because the command may be stopped while it is imported.
        from warehouse.cli.run import run

        run(arguments)
