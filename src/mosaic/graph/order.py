"""Orders and paths in a graph: who must come before whom, and what closes a circle."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


def topological_order(before: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """An order in which each node comes after those in `before[node]`; None if there is a cycle.

    It is stable: of the nodes that may come next, the one with the smallest number does, so that
    an order that is already topological stays as it is. Takes O((N + E) log N).
    """
    waiting = [len(set(nodes)) for nodes in before]
    after: list[list[int]] = [[] for _ in before]
    for node, nodes in enumerate(before):
        for earlier in set(nodes):
            after[earlier].append(node)
    ready = [node for node, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for later in after[node]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heapq.heappush(ready, later)
    return tuple(order) if len(order) == len(before) else None


def find_cycle(before: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The nodes of one cycle, each before the next and the last before the first; empty if there is none."""
    state: dict[int, bool] = {}  # True while on the path, False when done
    for start in range(len(before)):
        path: list[int] = []
        stack = [(start, iter(before[start]))] if start not in state else []
        while stack:
            node, rest = stack[-1]
            if node not in state:
                state[node] = True
                path.append(node)
            for earlier in rest:
                if state.get(earlier):
                    return tuple(reversed(path[path.index(earlier) :]))
                if earlier not in state:
                    stack.append((earlier, iter(before[earlier])))
                    break
            else:
                state[node] = False
                path.pop()
                stack.pop()
    return ()


def is_convex(order: Sequence[str], before: Mapping[str, Sequence[str]], group: set[str]) -> bool:
    """Whether no path leaves `group` and returns to it; `order` is topological, `before` gives each node's predecessors."""
    left: set[str] = set()  # nodes outside that depend on the group
    for node in order:
        if node in group:
            if not left.isdisjoint(before[node]):
                return False
        elif any(earlier in group or earlier in left for earlier in before[node]):
            left.add(node)
    return True
