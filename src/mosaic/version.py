"""The version, in a file of its own so that building the wheel needs no import."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
