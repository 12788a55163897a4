"""Fragments split into versions, so that no version has to lie in two ways at once.

A fragment that several anchors bind differently becomes several fragments, each with the layout that its own uses want, and a
conversion stands wherever a value goes from one version to another:

    before   T.clear(c);  T.gemm(a, b, c, FullRow);  T.gemm(d, e, c, FullCol);  T.copy(c, out)
    after    T.clear(c);  T.gemm(a, b, c, FullRow);  convert(c, c_1);  T.gemm(d, e, c_1, FullCol);  T.copy(c_1, out)

Three rules, in this order: operators that write bind the versions that they write; operators that bind nothing tie together what they
touch, and where that would tie differently bound versions they take, of the cheaper side, versions of their own; operands that a product
only reads are converted before it, outside of the loops that don't change them. What turns out to agree is united again (`convert`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mosaic.dtypes import DTYPES
from mosaic.stitch.uses import Anchor, Mode, Operator, Scope, bytes_of, opaque

Level = Literal["products", "reductions", "matrices", "everything"]
LEVELS: Final[tuple[Level, ...]] = ("products", "reductions", "matrices", "everything")
"""Which operators bind layouts: products, also the results of reductions, also what is reduced, all. Each cuts more than the one before."""

Where = Literal["before", "after", "end"]


@dataclass(eq=False)
class Version:
    """One of the fragments that a fragment becomes. `tie` leads to another of its class: those that lie alike, by a common operator."""

    buffer: Any
    anchor: Anchor | None = None
    number: int = 0
    tie: Version | None = None

    def root(self) -> Version:
        found = self
        while found.tie is not None:
            found = found.tie
        return found

    @property
    def bytes(self) -> int:
        dtype = DTYPES.get(str(self.buffer.dtype))
        return bytes_of(self.buffer, dtype.bits if dtype else 32)


@dataclass(frozen=True, eq=False)
class Handover:
    """A value goes from one version to another, at a place of the program: before or after an operator or loop, or at a body's end."""

    source: Version
    target: Version
    place: Operator | Scope
    where: Where


@dataclass
class Versions:
    """Of each operator's fragments, the versions it uses; and the handovers between them, in no order."""

    uses: dict[Operator, dict[Any, Version]] = field(default_factory=dict)
    handovers: list[Handover] = field(default_factory=list)
    of: dict[Any, list[Version]] = field(default_factory=dict)

    def new(self, buffer: Any, anchor: Anchor | None = None) -> Version:
        known = self.of.setdefault(buffer, [])
        known.append(Version(buffer, anchor, len(known)))
        return known[-1]


def split(root: Scope, level: Level) -> Versions:
    """The versions that this level's anchors ask for."""
    found = Versions()
    fixed = opaque(root)
    buffers: dict[Any, None] = {buffer: None for operator in root.operators() for buffer in operator.uses}
    for buffer in buffers:
        walk = _Walk(found, root, buffer, level, fixed=buffer in fixed)
        walk.scope(root, found.new(buffer))
        walk.unite()
    _tie(found, root, level, fixed)
    for operator in root.operators():
        for buffer, mode in operator.uses.items():
            if mode == "read" and buffer not in fixed:
                _bind_read(found, operator, buffer, level)
    return found


def _anchor(operator: Operator, buffer: Any, level: Level) -> Anchor | None:
    if level == "everything":
        return ("own", id(operator))
    anchor = operator.anchors.get(buffer)
    bound_from = {"reduce": 1, "matrix": 2}.get(str(anchor[0]) if anchor else "", 0)
    return anchor if LEVELS.index(level) >= bound_from else None


class _Walk:
    """The first rule, for one fragment: through the program in order, with the version that holds its value."""

    def __init__(self, found: Versions, root: Scope, buffer: Any, level: Level, *, fixed: bool) -> None:
        self.found, self.root, self.buffer, self.level, self.fixed = found, root, buffer, level, fixed

    def scope(self, scope: Scope, current: Version) -> Version:
        for child in scope.children:
            if isinstance(child, Operator):
                current = self.operator(child, current)
            elif child.kind == "plain":
                current = self.scope(child, current)
            else:
                current = self.nested(child, current)
        return current

    def nested(self, scope: Scope, current: Version) -> Version:
        """A loop or a branch: what comes out of it must be where it was when it went in."""
        own = [operator for operator in scope.operators() if self.buffer in operator.uses]
        if not own:
            return current
        starts_anew = own[0].uses[self.buffer] == "write"
        wanted = {anchor for operator in own if (anchor := self.bound(operator)) is not None}
        if scope.kind == "loop" and not starts_anew and len(wanted) == 1:
            current = self.turn(current, next(iter(wanted)), scope)
        last = self.scope(scope, current)
        if last is not current and (not starts_anew or self.is_read_after(scope)):
            self.found.handovers.append(Handover(last, current, scope, "end"))
        return current

    def operator(self, operator: Operator, current: Version) -> Version:
        mode = operator.uses.get(self.buffer)
        if mode is None:
            return current
        anchor = self.bound(operator)
        if mode == "write" and not self.fixed:
            current = self.found.new(self.buffer, anchor)
        elif anchor is not None:
            current = self.turn(current, anchor, operator)
        self.found.uses.setdefault(operator, {})[self.buffer] = current
        return current

    def turn(self, current: Version, anchor: Anchor, place: Operator | Scope) -> Version:
        """The version that lies as `anchor` says, from `place` on."""
        if self.fixed or current.anchor in (None, anchor):
            current.anchor = anchor
            return current
        following = self.found.new(self.buffer, anchor)
        self.found.handovers.append(Handover(current, following, place, "before"))
        return following

    def bound(self, operator: Operator) -> Anchor | None:
        return None if operator.uses[self.buffer] == "read" else _anchor(operator, self.buffer, self.level)

    def is_read_after(self, scope: Scope) -> bool:
        """Whether the value may be looked at after this scope: in what follows, or in the next turn of a loop around."""
        inside = set(map(id, scope.operators()))
        every = [operator for operator in self.root.operators() if self.buffer in operator.uses]
        last = max(position for position, operator in enumerate(every) if id(operator) in inside)
        if last + 1 < len(every) and every[last + 1].uses[self.buffer] != "write":
            return True
        around = scope.parent
        while around is not None:
            if around.kind == "loop":
                first = next(operator for operator in around.operators() if self.buffer in operator.uses)
                if first.uses[self.buffer] != "write":
                    return True
            around = around.parent
        # The next use writes it whole, but perhaps not in every turn of what is around it.
        return last + 1 < len(every) and every[last + 1].parent is not scope.parent

    def unite(self) -> None:
        """One version for each anchor; those that nothing binds go with the first that is bound, or the first."""
        versions = self.found.of[self.buffer]
        first = next((version for version in versions if version.anchor is not None), versions[0])
        kept: dict[Anchor | None, Version] = {None: first}
        chosen = {version: kept.setdefault(version.anchor, version) for version in versions}
        for uses in self.found.uses.values():
            if self.buffer in uses:
                uses[self.buffer] = chosen[uses[self.buffer]]
        moved = [Handover(chosen.get(h.source, h.source), chosen.get(h.target, h.target), h.place, h.where) for h in self.found.handovers]
        self.found.handovers = [h for h in moved if h.source is not h.target]
        self.found.of[self.buffer] = [version for version in versions if chosen[version] is version]


def _tie(found: Versions, root: Scope, level: Level, fixed: set[Any]) -> None:
    """The second rule."""
    for operator in root.operators():
        uses = found.uses.get(operator, {})
        if operator.kind == "gemm" or level == "everything":
            continue
        bound_alone = {buffer for buffer in uses if operator.kind == "reduce" and _anchor(operator, buffer, level) is not None}
        free = {buffer: version for buffer, version in uses.items() if buffer not in bound_alone}
        classes: dict[Version, list[Version]] = {}
        for version in free.values():
            classes.setdefault(version.root(), []).append(version)
        bound = {leader: members for leader, members in classes.items() if leader.anchor is not None}
        kept = next(iter(bound), None)
        if len({leader.anchor for leader in bound}) > 1:
            # Everything that lies otherwise is converted: cheapest where the class that stays has the most bytes here.
            weights = {leader: (not _is_movable(own, fixed), sum(version.bytes for version in own)) for leader, own in bound.items()}
            kept = max(bound, key=weights.__getitem__)
            for version in [version for leader in bound if leader.anchor != kept.anchor for version in bound[leader]]:
                free[version.buffer] = _take_own(found, operator, version, operator.uses[version.buffer])
        kept = kept or next(iter(classes), None)
        for version in free.values():
            if kept is not None and version.root() is not kept.root():
                version.root().tie = kept.root()


def _is_movable(members: list[Version], fixed: set[Any]) -> bool:
    return not any(version.buffer in fixed for version in members)


def _take_own(found: Versions, operator: Operator, version: Version, mode: Mode) -> Version:
    """A version for this operator alone, filled before and read back after as its use asks for."""
    own = found.new(version.buffer)
    found.uses[operator][version.buffer] = own
    if mode != "write":
        found.handovers.append(Handover(version, own, operator, "before"))
    if mode != "read":
        found.handovers.append(Handover(own, version, operator, "after"))
    return own


def _bind_read(found: Versions, operator: Operator, buffer: Any, level: Level) -> None:
    """The third rule, for one operand that an operator reads."""
    anchor = _anchor(operator, buffer, level)
    version = found.uses[operator][buffer]
    root = version.root()
    if anchor is None or anchor[0] == "annotated" or root.anchor == anchor:
        return
    if root.anchor is None and anchor[0] != "matrix":
        root.anchor = anchor
        return
    own = found.new(buffer, anchor)
    found.uses[operator][buffer] = own
    place: Operator | Scope = operator
    around = operator.parent
    while around is not None and not _writes(around, buffer) and around.kind != "branch":
        if around.kind == "loop":
            place = around
        around = around.parent
    found.handovers.append(Handover(version, own, place, "before"))


def _writes(scope: Scope, buffer: Any) -> bool:
    return any(operator.uses.get(buffer, "read") != "read" for operator in scope.operators())


def merged(found: Versions, pairs: Mapping[Version, Version]) -> Versions:
    """With versions that proved to lie alike united: `pairs` leads from one to another. Handovers within one are gone."""

    def final(version: Version) -> Version:
        while version in pairs:
            version = pairs[version]
        return version

    handovers = [Handover(final(h.source), final(h.target), h.place, h.where) for h in found.handovers]
    return Versions(
        {operator: {buffer: final(version) for buffer, version in uses.items()} for operator, uses in found.uses.items()},
        [h for h in handovers if h.source is not h.target],
        {buffer: [version for version in versions if version not in pairs] for buffer, versions in found.of.items()},
    )
