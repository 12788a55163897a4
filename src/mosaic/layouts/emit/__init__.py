"""From a conversion of layouts to code: steps, a check of them, and their text for CUDA and HIP."""

from mosaic.layouts.emit.emit import DeviceFunction, emit
from mosaic.layouts.emit.text import WHOLE_BLOCK, Callers

__all__ = ["WHOLE_BLOCK", "Callers", "DeviceFunction", "emit"]
