"""What programs are lowered to: a target's source and binary, and a callable that runs it.

This much is cheap to import. `targets.lower` (`lower`, `load`) needs TileLang, which takes seconds.
"""

from mosaic.targets.emitted import Emitted
from mosaic.targets.target import TARGETS, Target, default_target, find

__all__ = ["TARGETS", "Emitted", "Target", "default_target", "find"]
