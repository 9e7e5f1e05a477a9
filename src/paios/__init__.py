"""PAIOS: a personal AI operating system. Importing this package imports nothing else."""

__version__ = "0.1.0"
