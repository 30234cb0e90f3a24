"""Change a warehouse: run the change, publish it to the bucket, log it, materialize views.

A local warehouse is changed in place. A warehouse in a bucket is changed in its mirror and then
published; if another writer published first, the change is repeated. ``Opened`` is the part of
``Warehouse`` that functions of other packages use when they serve as its methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from warehouse.catalog.materialized import materialize_if_worthwhile
from warehouse.errors import UsageError
from warehouse.store.audit import newest_version, note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.store.mirror import Mirror

_Answer = TypeVar("_Answer")

Action: TypeAlias = "Callable[[Callable[[], None] | None], _Answer]"
"""A function that changes the folder. Its argument is a function that publishes the work done so
far, or None without a bucket."""


def _ignore_commit() -> None:
    """Do nothing after a change. A module-level function, unlike a lambda, can be pickled."""


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a warehouse, and the only way to change it."""

    root: Path
    """Local folder."""
    mirror: Mirror | None = None
    """Publishes the folder if it is the mirror of a bucket."""
    version: int | None = None
    """Older version that was opened and is read-only; None for the newest."""
    changed: Callable[[], None] = _ignore_commit
    """Called by ``change`` after rows have changed, so that the catalog is reopened."""

    @property
    def url(self) -> str:
        """URL of the bucket, or path of the local folder."""
        return self.mirror.url if self.mirror else str(self.root)

    def publish(
        self,
        action: Action[_Answer],
        *,
        what: str,
        materialize: Callable[[], bool] = lambda: True,
    ) -> _Answer:
        """Change the warehouse.

        Parameters
        ----------
        action
            Function that changes the folder; called again if another writer published first.
        what
            Name of the change in the audit log, see ``warehouse.store.audit``. Empty if the action
            changes nothing; it is then not logged.
        materialize
            Called afterwards; returns whether to update the materialized views.

        Returns
        -------
        object
            Return value of the action.

        Raises
        ------
        UsageError
            An older version was opened.
        Outrun
            Other writers published to the bucket first in every attempt.
        """
        if self.version is not None:
            raise UsageError("this is an older version, which cannot change; open the newest one")
        if self.mirror is None:
            done = self._noted(action, None, what)
        else:
            push = self.mirror.push
            self.mirror.pull()
            done = self.mirror.work(lambda: self._noted(action, push, what))
        if materialize():
            materialize_if_worthwhile(self.root)
        return done

    def change(self, action: Action[_Answer], *, what: str, materialize: bool = True) -> _Answer:
        """Change rows with ``publish``, then call ``changed``."""
        done = self.publish(action, what=what, materialize=lambda: materialize)
        self.changed()
        return done

    def keep(self, action: Callable[[], _Answer], what: str) -> _Answer:
        """Store data other than rows, such as a run of a cohort."""
        return self.publish(lambda _: action(), what=what, materialize=lambda: False)

    def _noted(
        self, action: Action[_Answer], push: Callable[[], None] | None, what: str
    ) -> _Answer:
        """Change the folder and write an entry to the audit log."""
        if not what:
            return action(push)
        before = newest_version(self.root)
        how = "failed"
        try:
            done = action(push)
            how = "done"
        finally:
            note(self.root, what, how, before, own="" if self.mirror is None else self.root.name)
        return done


class Opened(Protocol):
    """The part of ``Warehouse`` that functions use when they serve as its methods."""

    root: Path

    @property
    def place(self) -> Location:
        """Location of the warehouse, with the methods that change it."""

    @property
    def catalog(self) -> Catalog:
        """Catalog of the open version."""
