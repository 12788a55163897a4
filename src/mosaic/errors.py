"""Errors that Mosaic raises. Each message is one sentence: what is wrong, where, and what to do.

Whatever a user can cause is a `MosaicError`; anything else that escapes is a defect of Mosaic.
"""

from __future__ import annotations


class MosaicError(Exception):
    """Base of every error a user can cause.

    `exit_code` is what the command line returns for it.
    """

    exit_code: int = 1


class InputError(MosaicError):
    """A file, an option or an argument makes no sense."""

    exit_code = 2


class GraphError(MosaicError):
    """A graph makes no sense: shapes or dtypes that don't meet, a cycle, a missing tensor."""

    exit_code = 3


class KernelError(MosaicError):
    """A kernel's registration makes no sense, or no kernel has this name."""

    exit_code = 4


class ReadError(KernelError):
    """A kernel's PrimFunc holds something that cannot be read as a tile program."""


class TargetError(MosaicError):
    """A target is unknown, or refuses the program."""

    exit_code = 5


class ToolMissingError(TargetError):
    """A compiler or tool that this step needs is not on the machine."""


class VerificationError(MosaicError):
    """A compiled program does not compute what its graph says."""

    exit_code = 6
