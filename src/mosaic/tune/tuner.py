"""A plan whose launches are the fastest of those that were tried, on the device that is there.

before   each launch by the recipe that costs least by the cost model
after    by the one that took the least time: of a shortlist first, then of the best's neighbours, while that gains

What kernels a launch holds stays as planned, but for launches of several groups that are faster apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm.ir import structural_hash

from mosaic.errors import InputError
from mosaic.stitch.cost import fits
from mosaic.stitch.plan import Launch, Plan, Planner
from mosaic.stitch.recipe import Group, Recipe
from mosaic.targets.cache import Cache
from mosaic.targets.target import Target
from mosaic.tune.shortlist import DEARER, NEAR, build, first, neighbours
from mosaic.tune.tuning import Trial, Tuned, Tuning
from mosaic.tune.workers import Ranges, Workers

ROUNDS: Final = 2
WIDTH: Final = 10
"""Recipes of a launch that are tried in one round."""

SMALL: Final = 0.02
"""A launch that takes less of the whole than this by the cost model, with all that are like it, is left as it is."""

GAIN: Final = 0.01
"""A round that gains less is a launch's last."""

APART: Final = 0.95
"""Part of the time of a launch of several groups that they must take apart, to be launches of their own."""

CONFIRMED: Final = 3
"""The best of a launch, and the plan's own, that are timed once more in the end: the fastest of many was also lucky."""

Progress = Callable[[str], None]


@dataclass
class _Subject:
    """What is tuned: the groups of one structure in a launch, all by the same recipe. The plan's own recipe is tried first."""

    launch: Launch
    group: Group
    trials: dict[Recipe, Trial] = field(default_factory=dict)
    programs: set[int] = field(default_factory=set)
    """Hashes of what was tried: recipes that differ may give the same program."""
    refused: set[Recipe] = field(default_factory=set)
    is_done: bool = False

    def best(self) -> Recipe:
        """The fastest that was not refused; the plan's own if none runs."""
        own = self.group.recipe
        runs = [trial for trial in self.trials.values() if trial.samples and trial.recipe not in self.refused]
        # Times of one round compare best: they were taken shortly after each other.
        runs = [trial for trial in runs if trial.confirmed] or runs
        return min(runs, key=lambda trial: trial.seconds).recipe if runs else own

    def seconds(self) -> float:
        found = self.trials.get(self.best())
        return found.seconds if found is not None else float("inf")


class Tuner:
    """Tunes the plans of one planner; what it learned serves all of them."""

    def __init__(
        self,
        planner: Planner,
        target: Target,
        *,
        cache: Cache | None = None,
        ranges: Ranges | None = None,
        progress: Progress = lambda _: None,
        known: Tuning | None = None,
    ) -> None:
        self.planner, self.target, self.cache, self.progress, self.known = planner, target, cache, progress, known
        self.ranges = {planner.library.label(name): span for name, span in (ranges or {}).items()}
        self._subjects: dict[object, _Subject] = {}
        self._tuned: dict[frozenset[str], _Subject] = {}

    def tune(self, plan: Plan) -> tuple[Plan, Tuning]:
        """The plan by the fastest recipes, and what was tried.

        Raises InputError if recipes that were given are of another plan.
        """
        distinct = {self.planner.key(launch): launch for launch in reversed(plan.launches)}
        if self.known is not None:
            taken = self._recorded(distinct, self.known)
        else:
            counts = Counter(self.planner.key(launch) for launch in plan.launches)
            shares = {key: counts[key] * launch.cost.seconds / plan.seconds for key, launch in distinct.items()}
            self._measure([subject for key, launch in distinct.items() if shares[key] >= SMALL for subject in self._of(launch)])
            taken = {key: self._taken(launch) for key, launch in distinct.items()}
        self._tuned = {}
        launches = [new for launch in plan.launches for new in self._applied(launch, taken[self.planner.key(launch)])]
        groups = [group for launch in launches for group in launch.groups]
        for group in groups:
            self.planner.group_of.update(dict.fromkeys(group.nodes, group))
        tuned = replace(plan, launches=tuple(self.planner.runnable(launches)), edges=self.planner.edges(groups))
        return tuned, Tuning(self.target.device, tuple(taken.values()))

    def refuse(self, launch: Launch) -> bool:
        """Take the recipe of a launch back, as something is wrong with what it gives; whether it was one of tuning."""
        subject = self._tuned.get(frozenset(launch.nodes))
        if subject is None or subject.best() == subject.group.recipe:
            return False
        subject.refused.add(subject.best())
        return True

    # -- what there is to tune

    def _structure(self, group: Group) -> object:
        return self.planner.searcher.structure([self.planner.graph.node(name) for name in group.nodes])

    def _of(self, launch: Launch) -> Iterator[_Subject]:
        """The launch, by its first group's structure; if it holds several groups, also the first of them alone."""
        yield self._subject(launch, launch.groups[0])
        if self._is_alike(launch):
            yield self._alone(launch)

    def _is_alike(self, launch: Launch) -> bool:
        """Whether a launch holds several groups of one structure."""
        return len(launch.groups) > 1 and len({self._structure(group) for group in launch.groups}) == 1

    def _alone(self, launch: Launch) -> _Subject:
        group = launch.groups[0]
        return self._subject(Launch(group.program.name, (group,), group.program, group.cost), group)

    def _subject(self, launch: Launch, group: Group) -> _Subject:
        key = self.planner.key(launch)
        return self._subjects.setdefault(key, _Subject(launch, group))

    # -- measuring

    def _measure(self, subjects: list[_Subject]) -> None:
        fresh = [subject for subject in subjects if not subject.is_done]
        if not fresh:
            return
        with Workers(self.target, self.cache) as workers:
            for number in range(ROUNDS):
                active = [subject for subject in fresh if not subject.is_done]
                batch = [(subject, launch) for subject in active for launch in self._round(subject, begins=not subject.trials)]
                before = {id(subject): subject.seconds() for subject in active}
                self._time(workers, batch, f"tuning round {number + 1} of at most {ROUNDS}")
                for subject in active:
                    subject.is_done = subject.seconds() > before[id(subject)] * (1 - GAIN)
            again = [(subject, launch) for subject in fresh for launch in self._confirmed(subject)]
            self._time(workers, again, "tuning the best once more", confirmed=True)
        for subject in fresh:
            subject.is_done = True

    def _round(self, subject: _Subject, *, begins: bool) -> list[Launch]:
        searcher = self.planner.searcher
        if begins:
            recipes: Iterator[Recipe] = iter(first(searcher, subject.group, WIDTH))
        else:
            best = self._variant(subject, subject.best())
            recipes = neighbours(searcher, best.groups[0], gpu=self.target.kind != "cpu") if best is not None else iter(())
        found: list[Launch] = []
        for recipe in recipes:
            if recipe in subject.trials or (launch := self._variant(subject, recipe, DEARER if begins else NEAR)) is None:
                continue
            program = structural_hash(launch.program.func, map_free_vars=True)
            if program not in subject.programs:
                subject.programs.add(program)
                found.append(launch)
            if len(found) == WIDTH:
                break
        return found

    def _confirmed(self, subject: _Subject) -> list[Launch]:
        ranked = sorted((trial for trial in subject.trials.values() if trial.samples), key=lambda trial: trial.seconds)
        recipes = dict.fromkeys([*(trial.recipe for trial in ranked[: CONFIRMED - 1]), subject.group.recipe])
        return [launch for recipe in recipes if (launch := self._variant(subject, recipe)) is not None]

    def _variant(self, subject: _Subject, recipe: Recipe, limit: float = DEARER) -> Launch | None:
        """The subject's launch, with all groups of its structure by another recipe; None if that can't be."""
        return self._rebuilt(subject.launch, self._structure(subject.group), recipe, limit)

    def _rebuilt(self, launch: Launch, structure: object, recipe: Recipe, limit: float) -> Launch | None:
        groups: list[Group] = []
        for group in launch.groups:
            made = build(self.planner.searcher, group, recipe, limit) if self._structure(group) == structure else group
            if made is None:
                return None
            groups.append(made)
        parts = [Launch(group.program.name, (group,), group.program, group.cost) for group in groups]
        joined = parts[0]
        for other in parts[1:]:
            joined = self.planner.join(joined, other)
        return None if fits(joined.program, self.planner.device) else replace(joined, name=launch.name)

    def _time(self, workers: Workers, batch: list[tuple[_Subject, Launch]], what: str, *, confirmed: bool = False) -> None:
        if not batch:
            return
        answers = workers.time([launch.program for _, launch in batch], self.ranges, lambda done: self.progress(f"{what}: {done}"))
        for (subject, launch), answer in zip(batch, answers, strict=True):
            recipe = launch.groups[0].recipe
            failure, samples = (answer, ()) if isinstance(answer, str) else ("", answer)
            subject.trials[recipe] = Trial(recipe, launch.cost.seconds, samples, failure, confirmed=confirmed)

    # -- what is taken

    def _taken(self, launch: Launch) -> Tuned:
        joined = self._subject(launch, launch.groups[0])
        nodes = tuple(group.nodes for group in launch.groups)
        if self._is_alike(launch):
            alone = self._alone(launch)
            if len(launch.groups) * alone.seconds() < APART * joined.seconds():
                return Tuned(nodes, tuple(alone.trials.values()), alone.best(), apart=True)
        return Tuned(nodes, tuple(joined.trials.values()), joined.best())

    @staticmethod
    def _recorded(distinct: Mapping[object, Launch], known: Tuning) -> dict[object, Tuned]:
        by_nodes = {tuned.nodes: tuned for tuned in known.launches}
        found: dict[object, Tuned] = {}
        for key, launch in distinct.items():
            nodes = tuple(group.nodes for group in launch.groups)
            if nodes not in by_nodes:
                raise InputError(f"the tuning says nothing of launch {launch.name!r}: it is of another plan or device; tune again")
            found[key] = by_nodes[nodes]
        return found

    def _applied(self, launch: Launch, tuned: Tuned) -> list[Launch]:
        structure = self._structure(launch.groups[0])
        if tuned.apart:
            made = [build(self.planner.searcher, group, tuned.taken, float("inf")) for group in launch.groups]
            groups = [group for group in made if group is not None]
            if len(groups) == len(made):
                return [self._noted(Launch(g.program.name, (g,), g.program, g.cost), self._alone(launch)) for g in groups]
        rebuilt = self._rebuilt(launch, structure, tuned.taken, float("inf"))
        if rebuilt is None:
            if self.known is not None:
                raise InputError(f"the tuning's recipe for {launch.name!r} does not fit its kernels: it is of other ones; tune again")
            return [launch]
        return [self._noted(rebuilt, self._subject(launch, launch.groups[0]))]

    def _noted(self, launch: Launch, subject: _Subject) -> Launch:
        self._tuned[frozenset(launch.nodes)] = subject
        return launch
