"""Run the command line as ``python -m warehouse``, with this Python interpreter."""

from __future__ import annotations

from warehouse.cli import main

if __name__ == "__main__":
    main()
