"""What `mosaic lower --intent` shows: a launch's intent, where its code misses that, and what could not be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic.errors import InputError

if TYPE_CHECKING:
    from mosaic.targets.intent import Diagnosis, Intent
    from mosaic.targets.lowered import Lowered
    from mosaic.tiles.program import TileProgram


@dataclass(frozen=True)
class Checked:
    """One launch's intent against its code; `untold` are limits of which the code says nothing, None if there is no code."""

    intent: Intent
    diagnoses: tuple[Diagnosis, ...]
    untold: tuple[str, ...] | None

    def __str__(self) -> str:
        if self.untold is None:
            return "  intent: nothing is read of this target's code, so nothing is told"
        lines = [f"  intent: {diagnosis}" for diagnosis in self.diagnoses] or ["  intent: the code holds what it should"]
        lines += [f"  intent: not told by it: {', '.join(self.untold)}"] if self.untold else []
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        from mosaic.targets.intent import to_dict

        found = [diagnosis.to_dict() for diagnosis in self.diagnoses]
        return {"wanted": to_dict(self.intent), "diagnoses": found, "untold": list(self.untold) if self.untold is not None else None}


def read_intent(given: str | None) -> Intent | None:
    """The intent of a file; None for auto, or where none is asked for. Raises InputError for a file that is none."""
    from mosaic.targets.intent import from_json

    if given in (None, "auto"):
        return None
    path = Path(str(given))
    try:
        return from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read the intent {path}: {(error.strerror or str(error)).lower()}; give a file, or auto") from None


def check(program: TileProgram, lowered: Lowered, intent: Intent | None) -> Checked:
    """Compare a launch's code with the intent given, or with the one that its tiles tell."""
    from mosaic.targets.intend import intend
    from mosaic.targets.intent import compare, untold

    wanted = intent or intend(program, lowered.target)
    if wanted.target != lowered.target.name:
        raise InputError(f"the intent is for {wanted.target}, and this was lowered for {lowered.target.name}; choose one of them")
    if lowered.emitted is None:
        return Checked(wanted, (), None)
    return Checked(wanted, compare(wanted, lowered.emitted), untold(wanted, lowered.emitted))
