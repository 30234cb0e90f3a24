"""The command ``dicom-warehouse``: arguments in, text out. No logic of its own."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 stopped."""
    from warehouse.cli.stopping import stoppable  # noqa: PLC0415

    with stoppable():
        # Here, because to import it all takes a second, in which the command may be stopped.
        from warehouse.process import do_without_pandas  # noqa: PLC0415

        # First: modules that are imported next make arrays.
        do_without_pandas()
        from warehouse.cli.run import run  # noqa: PLC0415

        run(arguments)
