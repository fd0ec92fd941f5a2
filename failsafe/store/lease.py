"""One controller acts. A lease with an epoch that only grows, taken and kept by compare-and-set.

A lease says who may act; only a check inside the same transaction as the act fences a stale holder, so `demand` is called there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from failsafe.errors import LeaseLost, StoreError
from failsafe.store.engine import Store
from failsafe.store.schema import lease

NAME = "controller"
FAR_AHEAD = timedelta(days=1)  # no lease lasts so long: its holder's clock was wrong, or ours is
LIFETIME = timedelta(minutes=3)  # longer than a renewal interval plus the longest provider call


@dataclass(frozen=True, slots=True)
class Lease:
    holder: str
    epoch: int


class LeaseStore:
    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._far: tuple[tuple[str, int, datetime], float] | None = None  # a lease that ends far ahead, and since when it is seen

    def acquire(self, holder: str, now: datetime) -> Lease | None:
        """Takes the lease if it is free, expired or already ours (then its epoch stays); None while another holds it.

        One that ends more than a day ahead is another's while he renews it: whose clock is wrong cannot be told, but the dead renew nothing.
        """
        try:
            with self._store.begin() as connection:
                row = connection.execute(select(lease).where(lease.c.name == NAME)).first()
                if row is None:
                    connection.execute(
                        insert(lease).values(name=NAME, holder=holder, epoch=1, acquired_at=now, expires_at=now + LIFETIME)
                    )
                    return Lease(holder, 1)
                if (
                    row.holder != holder
                    and row.expires_at > now
                    and not self._is_abandoned((row.holder, row.epoch, row.expires_at), now)
                ):
                    return None
                epoch = row.epoch if row.holder == holder else row.epoch + 1
                acquired_at = row.acquired_at if row.holder == holder else now
                mine = update(lease).where(lease.c.name == NAME, lease.c.epoch == row.epoch, lease.c.holder == row.holder)
                changed = connection.execute(
                    mine.values(holder=holder, epoch=epoch, acquired_at=acquired_at, expires_at=now + LIFETIME)
                )
                return Lease(holder, epoch) if changed.rowcount == 1 else None
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):  # two took the free lease at once; the other one won
                return None
            raise

    def _is_abandoned(self, seen: tuple[str, int, datetime], now: datetime) -> bool:
        """Whether it ends far ahead, and was not renewed for its lifetime, by a clock that nobody sets."""
        if seen[2] <= now + FAR_AHEAD:
            self._far = None
            return False
        if self._far is None or self._far[0] != seen:
            self._far = (seen, self._monotonic())
        return self._monotonic() - self._far[1] > LIFETIME.total_seconds()

    def take_over(self, holder: str, now: datetime, above: int) -> Lease:
        """Takes it whoever holds it, with an epoch greater than every one before and than `above`: whoever held it is fenced by that."""
        with self._store.begin() as connection:
            row = connection.execute(select(lease).where(lease.c.name == NAME)).first()
            held = Lease(holder, max(above, 0 if row is None else row.epoch) + 1)
            values = {"holder": holder, "epoch": held.epoch, "acquired_at": now, "expires_at": now + LIFETIME}
            if row is None:
                connection.execute(insert(lease).values(name=NAME, **values))
            else:
                connection.execute(update(lease).where(lease.c.name == NAME).values(**values))
            return held

    def release(self, held: Lease, now: datetime) -> None:
        with self._store.begin() as connection:
            connection.execute(
                update(lease)
                .where(lease.c.name == NAME, lease.c.epoch == held.epoch, lease.c.holder == held.holder)
                .values(expires_at=now)
            )

    def holder(self) -> tuple[str, datetime] | None:
        with self._store.read() as connection:
            row = connection.execute(select(lease).where(lease.c.name == NAME)).first()
        return None if row is None else (row.holder, row.expires_at)


def demand(connection: Connection, held: Lease) -> None:
    """Inside the transaction of an act: raises LeaseLost unless `held` is still the newest."""
    row = connection.execute(select(lease.c.holder, lease.c.epoch).where(lease.c.name == NAME)).first()
    if row is None or row.epoch != held.epoch or row.holder != held.holder:
        raise LeaseLost("another controller has taken over; this one does nothing more")
