"""The command ``dicom-warehouse``: arguments in, text out. No logic of its own."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 stopped."""
    from warehouse.cli.stopping import stoppable

    with stoppable():
        # Here, because the command may be stopped while it is imported.
        from warehouse.cli.run import run

        run(arguments)
