"""From a conversion of layouts to code: steps, a check of them, and their text for CUDA and HIP."""

from mosaic.layouts.emit.emit import DeviceFunction, emit

__all__ = ["DeviceFunction", "emit"]
