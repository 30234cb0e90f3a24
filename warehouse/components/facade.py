"""``Warehouse.components``: one-line methods over the functions of this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.components import interfaces, set_files, sets, socket_store, stored, values
from warehouse.components.checking import check_stored
from warehouse.components.values import MISSING, Added, Given
from warehouse.errors import UsageError
from warehouse.given import checks_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from warehouse.components.checking import Checked
    from warehouse.components.socket_store import Edited
    from warehouse.components.sockets import Socket
    from warehouse.publishing import Location


_Answer = TypeVar("_Answer")


@checks_arguments
class Components:
    """Sockets, values, annotations and sets of values of one warehouse.

    Views to query are ``kinds``, ``sockets``, ``socket_values``, ``values_about``, ``annotations``,
    ``annotations_about`` and ``value_sets``.

    Examples
    --------
    >>> parts = wh.components
    >>> made = parts.create_socket(title="Age group", kind="STR", relative_path="age.json")
    >>> parts.add_value(made.slug, "adult", series=uid, by="reader 1").is_new
    True
    >>> wh.sql("select slug, value from values_about").fetchall()
    [('age-group', '"adult"')]
    """

    def __init__(self, place: Location) -> None:
        self._place, self._root = place, place.root

    def _commit(self, action: Callable[[], _Answer]) -> _Answer:
        return self._place.change(lambda _: action(), what="components", materialize=False)

    # -- sockets ----------------------------------------------------------------------------------

    def sockets(self, *, for_algorithms: bool = False) -> dict[str, Socket]:
        """Return the newest version of every socket by slug."""
        return socket_store.known_sockets(self._root, for_algorithms=for_algorithms)

    def socket(self, slug: str, version: int | None = None) -> Socket:
        """Return one socket."""
        return socket_store.find_socket(self._root, slug, version)

    def create_socket(self, *, by: str = "", **given: Any) -> Socket:
        """Create a socket from ``title``, ``kind``, ``relative_path`` and other fields."""
        return self._commit(lambda: socket_store.create_socket(self._root, given, by=by))

    def edit_socket(
        self, slug: str, /, *, by: str = "", even_if_values_fail: bool = False, **changes: Any
    ) -> Edited:
        """Add the next version of a socket, and validate existing values by it."""
        return self._commit(
            lambda: socket_store.edit_socket(
                self._root, slug, changes, by=by, even_if_values_fail=even_if_values_fail
            )
        )

    def retire_socket(self, slug: str, *, by: str = "") -> Socket:
        """Retire a socket, which then accepts no more values; existing ones stay."""
        return self.edit_socket(slug, by=by, is_retired=True).socket

    # -- values -----------------------------------------------------------------------------------

    def add_value(
        self, slug: str, value: Any = MISSING, *, file: str | os.PathLike[str] | None = None,
        dicom_series: str | None = None, series: str | None = None, instance: str | None = None,
        study: str | None = None, patient: str | None = None, by: str = "", tool: str = "",
        tool_version: str = "", null_not_finite: bool = False, strict: bool = False,
    ) -> Added:  # fmt: skip
        """Add one value: a JSON value, a file, or a series as DICOM image set.

        Parameters
        ----------
        slug
            The socket.
        value, file, dicom_series
            Exactly one of them.
        series, instance, study, patient
            UID (or PatientID) of the entity that the value is about; at most one.
        by, tool, tool_version
            Who adds it, and the software that made it.
        null_not_finite
            Read NaN and Infinity in a JSON file as null.
        strict
            Also check geometry: rectangles, the last row of an affine matrix.

        Raises
        ------
        UnknownSocket, ValueRefused
        """
        given = new_value(
            slug, value, file=file, dicom_series=dicom_series, by=by, tool=tool,
            tool_version=tool_version, series=series, instance=instance, study=study,
            patient=patient,
        )  # fmt: skip
        return self.add_values([given], null_not_finite=null_not_finite, strict=strict)[0]

    def add_values(
        self, given: Sequence[Given], *, null_not_finite: bool = False, strict: bool = False
    ) -> list[Added]:
        """Add many values in one commit; see ``warehouse.components.values.Given``."""
        return self._commit(
            lambda: values.add_values(
                self._root, given, null_not_finite=null_not_finite, strict=strict
            )
        )

    def value(self, value_id: str) -> Any:
        """Return a JSON value; an annotation is reconstructed from its rows."""
        return stored.read_value(self._root, value_id)

    def is_json(self, value_id: str) -> bool:
        """Return whether a value is JSON, in the table or in a file."""
        row = stored.value_row(self._root, value_id)
        return self.socket(row["slug"], row["socket_version"]).of_kind.is_json

    def value_file(self, value_id: str) -> Path:
        """Return the file of a value."""
        return stored.value_path(self._root, value_id)

    def check(self, slug: str) -> list[Checked]:
        """Validate all values of a socket by its newest version, and verify their files."""
        return check_stored(self._root, self.socket(slug))

    # -- sets and interfaces ----------------------------------------------------------------------

    def put(
        self, set_name: str, item: str, put: Mapping[str, str | None], *, by: str = "",
        replace: bool = False, allowed: Iterable[str] | None = None,
    ) -> int:  # fmt: skip
        """Set the values of an item of a set, by socket; None removes a value."""
        return self._commit(
            lambda: sets.put(
                self._root, set_name, item, put, by=by, replace=replace, allowed=allowed
            )
        )

    def import_set(
        self, set_name: str, source: str | os.PathLike[str], *, by: str = "",
        keep_going: bool = False,
    ) -> list[set_files.Imported]:  # fmt: skip
        """Import a folder of ``<item>/<relative_path>``, or JSON of Grand Challenge's API."""
        return self._commit(
            lambda: set_files.import_set(
                self._root, set_name, Path(source), by=by, keep_going=keep_going
            )
        )

    def export_set(self, set_name: str, target: str | os.PathLike[str]) -> int:
        """Write a set as ``<item>/<relative_path>`` and ``archive_items.json``."""
        return set_files.export_set(self._root, set_name, Path(target))

    def add_interface(self, inputs: Iterable[str], outputs: Iterable[str]) -> interfaces.Interface:
        """Return the interface with these inputs and outputs, and store it if it is new."""
        return self._commit(lambda: interfaces.add_interface(self._root, inputs, outputs))


def new_value(
    slug: str, value: Any = MISSING, *, file: str | os.PathLike[str] | None = None,
    dicom_series: str | None = None, by: str = "", tool: str = "", tool_version: str = "",
    **about: str | None,
) -> Given:  # fmt: skip
    """Return an argument of ``add_values``; ``about`` is at most one entity: its kind and key.

    Raises
    ------
    UsageError
        More than one entity is given.
    """
    named = [(kind, key) for kind, key in about.items() if key is not None]
    if len(named) > 1:
        raise UsageError("a value is about one series, instance, study or patient; name one")
    kind, key = named[0] if named else (None, None)
    return Given(
        slug, value, Path(file) if file is not None else None, dicom_series, kind, key, by, tool,
        tool_version,
    )  # fmt: skip
