"""Exit with 0 if a file is a BIOM table in HDF5. Run as a program by path, never imported.

BIOM 2.1: attributes id, type, format-version, shape and nnz, and the groups observation and sample,
each with ids and a sparse matrix (data, indices, indptr) whose sizes agree.
"""

import resource
import sys

MEMORY_BYTES = 4 << 30
NOT_INSTALLED = 3


def main(path: str) -> int:
    """Return 0 for a BIOM table, 1 for any other file, 3 if h5py is not installed."""
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError:
        return NOT_INSTALLED
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        with h5py.File(path, "r") as table:
            rows, columns = (int(size) for size in table.attrs["shape"])
            count = int(table.attrs["nnz"])
            is_valid = {"id", "format-version"} <= set(table.attrs)
            for group, ids, other_count in (
                ("observation", rows, columns),
                ("sample", columns, rows),
            ):
                matrix = table[group]["matrix"]
                is_valid &= table[group]["ids"].shape == (ids,) or ids == 0
                is_valid &= matrix["data"].shape == matrix["indices"].shape == (count,)
                is_valid &= matrix["indptr"].shape == (ids + 1,)
                is_valid &= other_count >= 0
            return 0 if is_valid else 1
    except Exception:  # noqa: BLE001 - a file that h5py cannot read is not a table
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
