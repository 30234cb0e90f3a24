"""One place where a change of a warehouse is made, published and followed up.

A folder is changed where it lies. A bucket is changed in its mirror and published; where another
writer published first, the work begins anew. Afterwards the materialized views follow. ``Opened``
is what a station sees of ``Warehouse``, whose methods are in part functions of stations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from warehouse.catalog.kept import keep_if_worthwhile
from warehouse.errors import UsageError
from warehouse.store.audit import newest_version, note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.store.mirror import Mirror

_Answer = TypeVar("_Answer")

Action: TypeAlias = "Callable[[Callable[[], None] | None], _Answer]"
"""What changes a folder; it is given what publishes a part of its work, or None."""


def _tell_nobody() -> None:
    """Stand for somebody who shows rows; a function of a module is sent to other processes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a warehouse is."""

    root: Path
    """Folder that is worked with."""
    mirror: Mirror | None = None
    """What publishes the folder, if it stands for a bucket."""
    version: int | None = None
    """An older version, which cannot be changed."""
    changed: Callable[[], None] = _tell_nobody
    """Told by ``change`` that rows are others now: who shows them looks at them again."""

    @property
    def url(self) -> str:
        """How people name it: the bucket, not the folder that stands for it."""
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
            What changes the folder; called again if another writer was faster.
        what
            Its name for the audit, see ``warehouse.store.audit``; empty if nothing is to change.
        materialize
            Asked afterwards whether the materialized views are to follow.

        Raises
        ------
        UsageError
            This is an older version.
        Outrun
            Other writers of the bucket were faster each time.
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
            keep_if_worthwhile(self.root)
        return done

    def change(self, action: Action[_Answer], *, what: str, materialize: bool = True) -> _Answer:
        """Change rows (see ``publish``), and tell who shows them."""
        done = self.publish(action, what=what, materialize=lambda: materialize)
        self.changed()
        return done

    def keep(self, action: Callable[[], _Answer], what: str) -> _Answer:
        """Keep something beside the rows, such as a run; the rows stay as they are."""
        return self.publish(lambda _: action(), what=what, materialize=lambda: False)

    def _noted(
        self, action: Action[_Answer], push: Callable[[], None] | None, what: str
    ) -> _Answer:
        """Change the folder, and note it for the audit."""
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
    """An open warehouse, as functions see it that are methods of ``Warehouse``."""

    root: Path

    @property
    def place(self) -> Place:
        """Where it is, and what changes it."""

    @property
    def catalog(self) -> Catalog:
        """Open catalog of the version that is shown."""
