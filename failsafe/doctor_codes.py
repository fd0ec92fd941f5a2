"""Every code that the doctor can find: whether it blocks a failover, and what is looked at. docs/doctor.md explains each."""

from __future__ import annotations

from collections.abc import Mapping

from failsafe.backup.doctor import CODES as BACKUP_CODES
from failsafe.failover.doctor import CODES as DOMAIN_CODES
from failsafe.failover.doctor_delivery import CODES as DELIVERY_CODES
from failsafe.failover.doctor_inside import CODES as INSIDE_CODES

CODES: Mapping[str, tuple[bool, str]] = {**DOMAIN_CODES, **INSIDE_CODES, **DELIVERY_CODES, **BACKUP_CODES}
