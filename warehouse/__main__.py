"""``python -m warehouse``: the command, by the interpreter that holds the package."""

from __future__ import annotations

from warehouse.cli import main

if __name__ == "__main__":
    main()
