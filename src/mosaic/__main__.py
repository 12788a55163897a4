"""`python -m mosaic` is `mosaic`."""

from __future__ import annotations

from mosaic.cli import main

main()
