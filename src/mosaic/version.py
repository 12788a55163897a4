"""The version, in a file of its own so that building the wheel needs no import."""

from __future__ import annotations

__version__ = "0.1.0"
