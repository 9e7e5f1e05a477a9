"""One file a check."""

from paios.health.check import Check
from paios.health.checks import brains, disk, home, store

ALL: list[Check] = [home.check, store.check, disk.check, brains.check]
