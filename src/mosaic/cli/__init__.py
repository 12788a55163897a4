"""The command line, one file a verb. `main` is what the command `mosaic` runs.

Nothing here imports PyTorch or TileLang until a verb needs it, so that help answers at once.
"""

from __future__ import annotations

from mosaic.cli.app import main

__all__ = ["main"]
