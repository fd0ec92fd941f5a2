"""The only module that asks what time it is."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time in aware UTC, and a monotonic clock that suspend does not stop where the system has one."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the place that may

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
        return time.clock_gettime(boot_clock) if boot_clock is not None else time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
