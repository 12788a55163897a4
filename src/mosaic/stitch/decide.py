"""A plan with the layout planner's decisions in it: the memory of each handover, and the warp policies of products.

before   Choice(block_M=128 ..., depth 0, shared), policies as the authors wrote them, stages row by row
after    Choice(block_M=128 ..., depth 0, register), policies of the least conversions, stages swizzled

What a decision makes worse for a later stage (a target that refuses it, a check that fails) is taken back: such a group stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mosaic.errors import MosaicError
from mosaic.layouts.facts import Facts, Limits
from mosaic.layouts.plan import LayoutPlan, plan_layouts
from mosaic.stitch.cost import fits
from mosaic.stitch.facts import facts_of
from mosaic.stitch.legality import Refusal
from mosaic.stitch.plan import Launch, Plan, Planner
from mosaic.stitch.recipe import Choice, Group
from mosaic.stitch.stage import Scope
from mosaic.stitch.swizzle import stages

ROUNDS = 4
"""Plans whose layouts are solved before the last one is taken as it is."""


class Decider:
    """Solves the layouts of a planner's plans, and rebuilds their groups accordingly."""

    def __init__(self, planner: Planner, limits: Limits, annotations: Mapping[str, str] | None = None) -> None:
        self.planner, self.limits, self.annotations = planner, limits, dict(annotations or {})
        self.left_alone: dict[object, Refusal] = {}
        self._changed: set[frozenset[str]] = set()

    def decide(self, plan: Plan) -> tuple[Plan, LayoutPlan]:
        """The plan with the best layouts, and these.

        Raises ConflictError if the user's annotations contradict each other or what a kernel's instructions give.
        """
        for _ in range(ROUNDS):
            alone = len(self.left_alone)
            layouts = plan_layouts(self.facts(plan))
            if cut := [c.edge for c in layouts.choices if c.memory == "device" and c.edge.group is not None]:
                # What is cheaper through device memory is planned apart.
                self.planner.cut |= {(edge.producer, edge.consumer) for edge in cut}
                plan = self.planner.plan()
                continue
            decided = self._decided(plan, layouts)
            # A group that can't be rebuilt stays as it is, which the rest of the graph should know.
            if len(self.left_alone) == alone:
                return decided, layouts
        return plan, plan_layouts(self.facts(plan, all_fixed=True))

    def facts(self, plan: Plan, *, all_fixed: bool = False) -> Facts:
        """What is decided about; with `all_fixed` only described."""
        return facts_of(
            plan,
            self.planner.library,
            self.limits,
            self.annotations,
            fixed=lambda group: all_fixed or self._structure(group) in self.left_alone,
        )

    def _decided(self, plan: Plan, layouts: LayoutPlan) -> Plan:
        launches = [self._launch(launch, layouts) for launch in plan.launches]
        self._changed = {frozenset(new.nodes) for new, old in zip(launches, plan.launches, strict=True) if new is not old}
        groups = [group for launch in launches for group in launch.groups]
        for group in groups:
            self.planner.group_of.update(dict.fromkeys(group.nodes, group))
        return replace(plan, launches=tuple(launches), edges=self.planner.edges(groups))

    def refuse(self, launch: Launch, refusal: Refusal) -> bool:
        """Take the decisions about a launch back, if there were any; whether there were."""
        if frozenset(launch.nodes) not in self._changed:
            return False
        for group in launch.groups:
            self.left_alone[self._structure(group)] = refusal
        return True

    def _structure(self, group: Group) -> object:
        return self.planner.searcher.structure([self.planner.graph.node(name) for name in group.nodes])

    def _launch(self, launch: Launch, layouts: LayoutPlan) -> Launch:
        groups = tuple(self._group(group, layouts) for group in launch.groups)
        if groups == launch.groups:
            return launch
        made = [Launch(group.program.name, (group,), group.program, group.cost) for group in groups]
        joined = made[0]
        for other in made[1:]:
            joined = self.planner.join(joined, other)
        if limit := fits(joined.program, self.planner.device):
            self.left_alone |= {self._structure(group): Refusal("on-chip-limits", limit) for group in groups}
            return launch
        return replace(joined, name=launch.name)

    def _group(self, group: Group, layouts: LayoutPlan) -> Group:
        """The group rebuilt as decided; as it was if that changes nothing, does not fit, or was refused before."""
        if self.limits.kind == "cpu" or self._structure(group) in self.left_alone:
            return group
        choices = tuple(self._choice(node, choice, group, layouts) for node, choice in zip(group.nodes, group.recipe.choices, strict=True))
        turned = self._swizzles(group, layouts)
        if choices == group.recipe.choices and not (turned and stages(group.program.func)):
            return group
        nodes = [self.planner.graph.node(name) for name in group.nodes]
        try:
            built = self.planner.searcher.build(nodes, replace(group.recipe, choices=choices, swizzled=turned))
        except MosaicError as error:
            self.left_alone[self._structure(group)] = Refusal("layouts", str(error))
            return group
        if limit := fits(built.program, self.planner.device):
            self.left_alone[self._structure(group)] = Refusal("on-chip-limits", limit)
            return group
        return built

    @staticmethod
    def _swizzles(group: Group, layouts: LayoutPlan) -> bool:
        """Whether the group's stages are swizzled: so it is unless the plan has left one plain that could be."""
        staged = [c for c in layouts.choices if c.edge.consumer in group.nodes and c.memory == "shared" and any(c.edge.swizzles)]
        return all(choice.swizzle for choice in staged)

    def _choice(self, node: str, choice: Choice, group: Group, layouts: LayoutPlan) -> Choice:
        move = next((m for m in group.moves if m.producer == node), None)
        scope: Scope = choice.scope
        if move is not None:
            found = {c.memory for c in layouts.choices if c.edge.producer == node and c.edge.tensor in move.tensors and not c.edge.inner}
            found -= {"device"}
            scope = "register" if found == {"register"} else "shared" if found else choice.scope
        products = [p for p in layouts.facts.products if p.name == node or p.name.startswith(f"{node}#")]
        wanted = tuple(layouts.policy(product) for product in products)
        author = tuple(product.policies[0] for product in products)
        return replace(choice, scope=scope, policies=choice.policies if wanted == author else wanted)
