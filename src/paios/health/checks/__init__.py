"""One file a check."""

from paios.health.check import Check
from paios.health.checks import brains, disk, home, routing, store

ALL: list[Check] = [home.check, store.check, disk.check, routing.check, brains.check]
