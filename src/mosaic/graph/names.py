"""Names of graphs, nodes and tensors: a letter or `_`, then letters, digits, `_` and dots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from mosaic.errors import GraphError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

ARTICLES: Final = {"input": "an input", "constant": "a constant", "intermediate": "an intermediate"}
"""A tensor's kind as it stands in a sentence."""


def checked_name(name: object, what: str) -> str:
    """`name`, if it is one. Raises GraphError, which calls the thing to be named `what`."""
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise GraphError(f"{what} cannot be called {name!r}; a name is a letter or _, then letters, digits, _ and dots")
    return name


def output_names(node: str, roles: Sequence[str]) -> tuple[str, ...]:
    """The tensors that a node makes: its own name if it makes one, `node.role` for each if several."""
    return (node,) if len(roles) == 1 else tuple(f"{node}.{role}" for role in roles)


def fresh_name(base: str, roles: Sequence[str], counters: dict[str, int], taken: Callable[[str], bool]) -> str:
    """A node name made of `base` and a counter, such that neither it nor its output tensors' names are taken.

    `counters` holds the next number for each base, and is moved on.
    """
    base = re.sub(r"[^A-Za-z0-9_.]", "_", base)
    base = base if NAME.fullmatch(base) else f"_{base}"
    while True:
        number = counters.get(base, 0)
        counters[base] = number + 1
        label = f"{base}_{number}"
        if not any(taken(name) for name in (label, *output_names(label, roles))):
            return label
