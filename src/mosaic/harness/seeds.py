"""Seeds that are secret until the candidate is done, and open afterwards: their hash goes out first.

seed = commit()          # seed.commitment may be shown to anyone
seed.key("trial", 3)     # what the run draws from
seed.reveal()            # for the packet: with it the same run can be made again
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from mosaic.errors import InputError
from mosaic.evidence.categories import Seed


@dataclass(frozen=True)
class Commitment:
    """A seed and its commitment. The text is never shown by `repr`, so that no log holds it."""

    text: str = field(repr=False)

    @property
    def commitment(self) -> str:
        """SHA-256 of the seed's UTF-8 bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def key(self, *parts: object) -> str:
        """A key of its own for everything that is drawn. From one key neither the seed nor another key can be told."""
        return hashlib.sha256("/".join((self.text, *map(str, parts))).encode()).hexdigest()

    def number(self, *parts: object) -> int:
        """The same as a whole number below 2^63."""
        return int(self.key(*parts)[:16], 16) >> 1

    def reveal(self) -> Seed:
        """The record for a packet."""
        return Seed(commitment=self.commitment, revealed=self.text)


def commit(seed: str | None = None) -> Commitment:
    """A new secret seed; or a given one, to make a run again. Raises InputError for a blank one."""
    if seed is not None and not seed.strip():
        raise InputError("a seed must not be blank")
    return Commitment(secrets.token_hex(32) if seed is None else seed)
