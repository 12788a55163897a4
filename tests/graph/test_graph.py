"""Building graphs, and reading what was built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.errors import GraphError, KernelError
from mosaic.graph import Graph, Spec, Tensor, find, to_json
from tests.graph import tiny


def feed_forward() -> Graph:
    """Two products with a constant each, a scale between them, a residual add, and the largest of each row."""
    graph = Graph("ffn")
    x = graph.input("x", (4, 6), "float16")
    up = graph.call("tiny_matmul", x, graph.constant("w.up", torch.ones(6, 8, dtype=torch.float16)), name="up")
    scaled = graph.call("tiny_scale", up, factor=0.125)
    down = graph.call("tiny_matmul", scaled, graph.constant("w.down", torch.ones(8, 6, dtype=torch.float16)), name="down")
    total = graph.call("tiny_add", down, x, name="ffn.total")
    top, _ = graph.call("tiny_rows", total, name="rows")
    graph.output(total, top)
    return graph


def test_a_graph_holds_what_was_built() -> None:
    graph = feed_forward()
    graph.validate()
    assert graph.inputs == ("x",)
    assert graph.outputs == ("ffn.total", "rows.top")
    assert [node.name for node in graph.nodes] == ["up", "tiny_scale_0", "down", "ffn.total", "rows"]
    assert list(graph.tensors) == ["x", "w.up", "up", "tiny_scale_0", "w.down", "down", "ffn.total", "rows.top", "rows.index"]
    assert graph.tensors["up"] == Tensor("up", Spec((4, 8), "float16"), "intermediate")
    assert graph.tensors["rows.index"].dtype == "int32"
    assert graph.tensors["rows.index"].shape == (4,)
    assert graph.tensors["w.up"].kind == "constant"
    assert graph.tensors["w.up"].bytes == 96
    assert graph.kernel_count == 5
    assert repr(graph) == "Graph('ffn': 5 kernels, 1 inputs, 2 outputs)"
    node = graph.node("tiny_scale_0")
    assert (node.kernel, node.inputs, node.outputs) == (find("tiny_scale"), ("up",), ("tiny_scale_0",))
    assert node.attributes == {"factor": 0.125, "negate": False}
    assert node.binding is not None
    assert node.binding.symbols["M"] == 4
    assert not node.is_view
    assert len(set(graph.nodes)) == 5  # nodes and tensors can be kept in sets
    assert len(set(graph.tensors.values())) == 9


def test_producers_and_consumers() -> None:
    graph = feed_forward()
    assert graph.producer("x") is None
    assert graph.producer("w.up") is None
    assert graph.producer("rows.index") is graph.node("rows")
    assert [node.name for node in graph.consumers("x")] == ["up", "ffn.total"]
    assert graph.consumers("rows.top") == ()
    with pytest.raises(GraphError, match=r"no tensor 'w.upp'; did you mean w.up"):
        graph.producer("w.upp")
    with pytest.raises(GraphError, match="no node 'rowz'; did you mean rows"):
        graph.node("rowz")


def test_a_tensor_read_twice_by_a_node_has_one_consumer() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    graph.call("tiny_add", x, x)
    assert len(graph.consumers("x")) == 1


def test_kernels_may_be_given_as_objects() -> None:
    graph = Graph("g")
    y = graph.call(tiny.tiny_scale, graph.input("x", (2, 2), torch.bfloat16))
    assert y.name == "tiny_scale_0"
    assert y.dtype == "bfloat16"


def test_a_failed_call_leaves_the_graph_as_it_was() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    graph.input("rows.index", (2, 2), "float32")
    before = tiny.contents(graph)
    with pytest.raises(GraphError, match=r"'rows.index' is taken"):
        graph.call("tiny_rows", x, name="rows")
    with pytest.raises(GraphError, match="K is already 2"):
        graph.call("tiny_matmul", x, graph.input("y", (3, 2), "float32"))
    assert tiny.contents(graph) == ([*before[0], "y"], before[1])


def test_shapes_that_do_not_meet_name_the_graph_and_the_node() -> None:
    graph = Graph("g")
    x, y = graph.input("x", (2, 3), "float32"), graph.input("y", (2, 3), "float32")
    with pytest.raises(GraphError, match="graph 'g', node 'up': kernel 'tiny_matmul': dim 0 of 'b' is 2, but K is already 3"):
        graph.call("tiny_matmul", x, y, name="up")
    with pytest.raises(KernelError, match="graph 'g', node 'tiny_scale_0': kernel 'tiny_scale' has no attribute 'fctor'"):
        graph.call("tiny_scale", x, fctor=2)
    with pytest.raises(KernelError, match="no kernel is named 'tiny_scal'; did you mean tiny_scale"):
        graph.call("tiny_scal", x)


@pytest.mark.parametrize(
    ("foreign", "problem"),
    [
        (torch.ones(2, 2), "a PyTorch tensor; make it a constant"),
        ("x", "a str, not a tensor of the graph"),
        (Tensor("x", Spec((2, 2), "float32"), "input"), "the tensor 'x' of no graph"),
        (Graph("other").input("x", (2, 2), "float32"), "the tensor 'x' of graph 'other'"),
    ],
)
def test_tensors_that_are_not_of_this_graph(foreign: Any, problem: str) -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    made_up = Tensor("z", x.spec, "input", graph)
    for tensor, said in ((foreign, problem), (made_up, "the tensor 'z' of graph 'g'")):
        for attempt in (
            lambda t=tensor: graph.call("tiny_add", x, t),
            lambda t=tensor: graph.view(t, (4,)),
            lambda t=tensor: graph.output(t),
        ):
            with pytest.raises(GraphError, match=said):
                attempt()


def test_call_takes_kernels() -> None:
    graph = Graph("g")
    no_kernel: Any = 3
    with pytest.raises(GraphError, match="not a int"):
        graph.call(no_kernel)


@pytest.mark.parametrize("shape", [(0, 2), (2, -1), (2.0,), ("2",), 4, None])
def test_shapes_that_are_none(shape: Any) -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    attempts: list[Callable[[], object]] = [lambda: graph.input("y", shape, "float32"), lambda: graph.view(x, shape)]
    for attempt in attempts:
        with pytest.raises(GraphError, match="has the shape"):
            attempt()


def test_unknown_dtypes() -> None:
    graph = Graph("g")
    with pytest.raises(GraphError, match="unknown dtype 'half'; the known ones are float64"):
        graph.input("x", (2,), "half")
    with pytest.raises(GraphError, match=r"unknown dtype 'torch\.complex64'"):
        graph.constant("w", torch.ones(2, dtype=torch.complex64))


def test_views_keep_elements_and_dtype() -> None:
    graph = Graph("g")
    x = graph.input("x", (4, 6), "float16")
    heads = graph.view(x, (2, 2, 6), name="heads")
    again = graph.view(heads, torch.Size([24]))
    assert again.shape == (24,)
    assert again.dtype == "float16"
    assert graph.node("heads").is_view
    assert graph.node("heads").binding is None
    assert graph.kernel_count == 0
    assert graph.root(again.name).name == "x"
    with pytest.raises(GraphError, match=r"cannot show 'x', float16\[4, 6\], as float16\[5, 5\]: the number of elements differs"):
        graph.view(x, (5, 5))


def test_scalars() -> None:
    graph = Graph("g")
    x = graph.input("x", (), "float32")
    assert x.bytes == 4
    assert graph.view(x, (1, 1)).shape == (1, 1)


def test_constants_are_kept_detached_and_dense() -> None:
    graph = Graph("g")
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    graph.constant("w", weight)
    graph.constant("w.t", weight.T)
    kept, transposed = graph.constants["w"], graph.constants["w.t"]
    assert kept is not None
    assert transposed is not None
    assert not kept.requires_grad
    assert kept.data_ptr() == weight.data_ptr()  # a weight is not copied
    assert transposed.is_contiguous()
    assert torch.equal(transposed, weight.T)
    with pytest.raises(GraphError, match="dense"):
        graph.constant("sparse", torch.eye(2).to_sparse())
    with pytest.raises(GraphError, match="meta"):
        graph.constant("meta", torch.empty(2, device="meta"))
    with pytest.raises(GraphError, match=r"has the shape \(0,\)"):
        graph.constant("empty", torch.empty(0))
    no_tensor: Any = [1.0]
    with pytest.raises(GraphError, match="must be a PyTorch tensor, not a list"):
        graph.constant("list", no_tensor)


def test_what_a_graph_hands_out_cannot_change_it() -> None:
    graph = feed_forward()
    handed_out: list[Any] = [graph.tensors, graph.constants]
    for mapping in handed_out:
        with pytest.raises(TypeError):
            mapping["w.up"] = None


def test_outputs() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    w = graph.constant("w", torch.ones(2, 2))
    y = graph.call("tiny_add", x, w)
    with pytest.raises(GraphError, match="graph 'g': it has no outputs"):
        graph.validate()
    with pytest.raises(GraphError, match="the output 'x' is an input, which no node makes"):
        graph.output(x)
    with pytest.raises(GraphError, match="the output 'w' is a constant, which no node makes"):
        graph.output(w)
    graph.output(y)
    with pytest.raises(GraphError, match="'tiny_add_0' is an output twice"):
        graph.output(y)
    graph.validate()


def test_bytes_between_counts_each_write_and_each_read() -> None:
    graph = feed_forward()
    # up: 4×8 halves written and read; scaled: the same; down: 4×6 written and read; total: 4×6 written, read by rows.
    assert graph.bytes_between() == 2 * (64 + 64 + 48 + 48)


def test_bytes_between_sees_through_views() -> None:
    graph = Graph("g")
    x = graph.input("x", (4, 6), "float32")
    flat = graph.view(x, (24, 1))
    y = graph.call("tiny_scale", flat)  # reads an input: nothing moves between kernels
    assert graph.bytes_between() == 0
    wide = graph.view(graph.view(y, (24,)), (6, 4))
    assert graph.bytes_between() == 0  # nobody reads it yet
    graph.output(graph.call("tiny_add", wide, wide))
    assert graph.bytes_between() == 96 * 3  # one write; the add reads both of its operands


def test_a_group_as_a_graph_of_its_own() -> None:
    graph = feed_forward()
    group = graph.subgraph(["down", "tiny_scale_0"])
    assert group.name == "ffn.tiny_scale_0"
    assert group.inputs == ("up",)
    assert group.tensors["up"].kind == "input"
    assert group.constants["w.down"] is not None
    assert list(group.constants) == ["w.down"]
    assert group.outputs == ("down",)
    assert [node.name for node in group.nodes] == ["tiny_scale_0", "down"]
    assert group.node("tiny_scale_0").attributes["factor"] == 0.125
    assert graph.subgraph(["ffn.total"], name="last").outputs == ("ffn.total",)
    assert graph.subgraph([node.name for node in graph.nodes], name="ffn").digest() == whole_digest(graph)


def whole_digest(graph: Graph) -> str:
    """The digest of `graph` with its tensors in the order in which a subgraph lists them: as its nodes use them."""
    order = list(dict.fromkeys(name for node in graph.nodes for name in (*node.inputs, *node.outputs)))
    return Graph.from_parts(graph.name, [graph.tensors[name] for name in order], graph.nodes, graph.outputs, graph.constants).digest()


def test_groups_that_are_none() -> None:
    graph = feed_forward()
    with pytest.raises(GraphError, match="at least one node"):
        graph.subgraph([])
    with pytest.raises(GraphError, match="no node 'dwn'; did you mean down"):
        graph.subgraph(["dwn"])
    graph.call("tiny_scale", graph.tensors["up"], name="dead")
    with pytest.raises(GraphError, match="nothing that the nodes dead make is used outside"):
        graph.subgraph(["dead"])


def test_convex_groups() -> None:
    graph = feed_forward()
    assert graph.is_convex(["up", "tiny_scale_0"])
    assert graph.is_convex(["up", "rows", "ffn.total", "down", "tiny_scale_0"])
    assert not graph.is_convex(["up", "down"])
    assert graph.is_convex([])
    with pytest.raises(GraphError, match="no node 'u'"):
        graph.is_convex(["u"])


def paths_between(graph: Graph, group: set[str]) -> bool:
    """Whether some path leaves the group and returns, by following every path."""

    def returns(name: str, left: bool) -> bool:
        users = {user.name for output in graph.node(name).outputs for user in graph.consumers(output)}
        return any((user in group and left) or returns(user, left or user not in group) for user in users)

    return any(returns(name, False) for name in group)


@settings(max_examples=50)
@given(tiny.random_graphs(), st.data())
def test_groups_of_random_graphs(graph: Graph, data: st.DataObject) -> None:
    names = [node.name for node in graph.nodes]
    group = set(data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True)))
    assert graph.is_convex(group) is not paths_between(graph, group)
    used = {
        t
        for t in itertools.chain(*(graph.node(n).outputs for n in group))
        if t in graph.outputs or {u.name for u in graph.consumers(t)} - group
    }
    if not used:
        with pytest.raises(GraphError, match="is used outside"):
            graph.subgraph(group)
        return
    part = graph.subgraph(group)
    part.validate()
    assert {node.name for node in part.nodes} == group
    assert set(part.outputs) == used
    assert all(part.tensors[name].spec == graph.tensors[name].spec for name in part.tensors)
    assert part.bytes_between() <= graph.bytes_between()


@settings(max_examples=50)
@given(tiny.random_graphs(), st.randoms())
def test_parts_in_any_order_make_the_same_graph(graph: Graph, random: Any) -> None:
    nodes = list(graph.nodes)
    random.shuffle(nodes)
    again = Graph.from_parts(graph.name, graph.tensors.values(), nodes, graph.outputs, graph.constants)
    position = {node.name: index for index, node in enumerate(again.nodes)}
    for node in again.nodes:
        assert all(position[before.name] < position[node.name] for name in node.inputs if (before := again.producer(name)) is not None)
    assert set(again.nodes) == set(graph.nodes)
    assert again.bytes_between() == graph.bytes_between()
    in_order = Graph.from_parts(graph.name, again.tensors.values(), again.nodes, again.outputs, again.constants)
    assert in_order.nodes == again.nodes  # a topological order stays as it is
    assert to_json(in_order) == to_json(again)


@given(tiny.random_graphs())
@settings(max_examples=50)
def test_inferred_shapes_are_what_the_references_give(graph: Graph) -> None:
    for node in graph.nodes:
        inputs = [torch.ones(graph.tensors[name].shape) for name in node.inputs]
        if node.kernel is not None and node.binding is not None:
            results = node.kernel.run_reference(inputs, node.binding)
            assert [tuple(result.shape) for result in results] == [graph.tensors[name].shape for name in node.outputs]
        else:
            assert math.prod(graph.tensors[node.outputs[0]].shape) == inputs[0].numel()
