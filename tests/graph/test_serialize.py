"""Graphs to JSON and to files, and back."""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, InputError, KernelError, MosaicError
from mosaic.graph import Graph, KernelChangedWarning, Tensor, from_json, load, run, save, to_json
from tests.graph import tiny

WEIGHT: Final = torch.ones(6, 8, dtype=torch.float16)


def small(weight: torch.Tensor = WEIGHT) -> Graph:
    graph = Graph("small")
    x = graph.input("x", (4, 6), "float16")
    y = graph.call("tiny_matmul", x, graph.constant("w", weight), name="up")
    z = graph.call("tiny_scale", graph.view(y, (8, 4), name="flat"), factor=0.25)
    graph.output(z, *graph.call("tiny_rows", y, name="rows"))
    return graph


def edited(change: Callable[[Any], object]) -> str:
    document = json.loads(to_json(small()))
    change(document)
    return json.dumps(document)


def describe(graph: Graph) -> tuple[Any, ...]:
    nodes = [
        (node.name, node.kernel and node.kernel.name, node.inputs, node.outputs, repr(node.attributes), node.binding)
        for node in graph.nodes
    ]
    return graph.name, list(graph.tensors.values()), nodes, graph.inputs, graph.outputs, list(graph.constants)


@settings(max_examples=100)
@given(tiny.random_graphs())
def test_json_and_back_is_the_same_graph(graph: Graph) -> None:
    text = to_json(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = from_json(text)
    assert describe(again) == describe(graph)
    assert to_json(again) == text
    assert again.digest() == graph.digest()
    assert all(content is None for content in again.constants.values())
    assert again.bytes_between() == graph.bytes_between()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=tiny.random_graphs())
def test_a_file_and_back_computes_the_same(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    save(graph, path)
    again = load(path)
    assert describe(again) == describe(graph)
    inputs = tiny.random_inputs(graph)
    expected, found = (run(g, inputs, precision="native", keep="outputs") for g in (graph, again))
    for name in graph.outputs:
        assert torch.equal(expected[name].view(torch.uint8), found[name].view(torch.uint8))


@given(st.one_of(st.floats(), st.integers(-(2**80), 2**80)), st.booleans())
def test_attributes_keep_their_values_and_types(factor: float, negate: bool) -> None:
    graph = Graph("g")
    graph.output(graph.call("tiny_scale", graph.input("x", (2, 2), "float32"), factor=factor, negate=negate))
    text = to_json(graph)
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    again = from_json(text).nodes[0].attributes
    assert repr(again) == repr(graph.nodes[0].attributes)  # tells 1, 1.0 and True apart, and keeps -0.0 and nan


def test_the_file_reads_well() -> None:
    document = json.loads(to_json(small()))
    assert document["format"] == "mosaic-graph"
    assert document["version"] == 1
    assert document["outputs"] == ["tiny_scale_0", "rows.top", "rows.index"]
    assert document["tensors"][1] == {
        "kind": "constant",
        "name": "w",
        "shape": [6, 8],
        "dtype": "float16",
        "sha256": small().constant_digest("w"),
    }
    assert document["nodes"][0] == {
        "kind": "kernel",
        "name": "up",
        "kernel": "tiny_matmul",
        "sha256": tiny.tiny_matmul.digest(),
        "inputs": ["x", "w"],
        "outputs": ["up"],
        "attributes": {},
    }
    assert document["nodes"][1] == {"kind": "view", "name": "flat", "inputs": ["up"], "outputs": ["flat"]}


def test_a_graph_that_is_not_valid_is_not_written(tmp_path: Path) -> None:
    graph = Graph("g")
    graph.call("tiny_scale", graph.input("x", (2, 2), "float32"))
    with pytest.raises(GraphError, match="no outputs"):
        save(graph, tmp_path / "graph.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("share", range(0, 100, 4))
def test_truncated_json(share: int) -> None:
    text = to_json(small()).rstrip()
    with pytest.raises(InputError, match="truncated or no JSON"):
        from_json(text[: len(text) * share // 100])


@settings(max_examples=200)
@given(st.data())
def test_damaged_json_is_refused_in_one_sentence_or_still_a_graph(data: st.DataObject) -> None:
    text = to_json(small())
    start = data.draw(st.integers(0, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=3)) + text[start + data.draw(st.integers(0, 3)) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelChangedWarning)
        try:
            from_json(damaged).validate()
            said = ""
        except MosaicError as error:
            said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "truncated or no JSON"),
        ("not json", "truncated or no JSON"),
        (b"\xff\xfe\x00", "truncated or no JSON"),
        ("[" * 100_000, "truncated or no JSON"),
        ("[]", "malformed at the whole"),
        ("{}", "its \"format\" is None, not 'mosaic-graph'"),
        ('{"format": "onnx", "version": 1}', "its \"format\" is 'onnx'"),
        ('{"format": "mosaic-graph", "version": 2}', "version 2 of the format, but this Mosaic reads version 1"),
        ('{"format": "mosaic-graph"}', "version None"),
        ('{"format": "mosaic-graph", "version": 1}', "malformed at name: Field required"),
    ],
)
def test_what_is_no_graph(text: str | bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        (lambda d: d.update(extra=1), InputError, "malformed at extra: Extra inputs"),
        (lambda d: d["tensors"][0].update(shape="46"), InputError, "malformed at tensors.0.input.shape"),
        (lambda d: d["tensors"][0].update(shape=[4, 6.5]), InputError, "malformed at tensors.0.input.shape.1"),
        (lambda d: d["tensors"][0].update(shape=[4, "6"]), InputError, "malformed at tensors.0.input.shape.1"),
        (lambda d: d["tensors"][0].update(shape=[4, 0]), GraphError, "sizes are not all at least 1"),
        (lambda d: d["tensors"][0].update(dtype="float17"), GraphError, "unknown dtype 'float17'"),
        (lambda d: d["tensors"][0].update(dtype="float32"), GraphError, "node 'up': .*'w' is|'b' is float16, but T is already float32"),
        (lambda d: d["tensors"][0].update(kind="output"), InputError, "malformed at tensors.0"),
        (lambda d: d["tensors"][1].update(sha256="0"), InputError, "malformed at tensors.1.constant.sha256"),
        (lambda d: d["tensors"].pop(0), GraphError, "node 'up': the tensor 'x' is missing"),
        (lambda d: d["tensors"].append(d["tensors"][0]), GraphError, "the name 'x' is taken"),
        (lambda d: d["nodes"].append(d["nodes"][0]), GraphError, "two nodes have the name 'up'"),
        (lambda d: d["nodes"].append({**d["nodes"][0], "name": "again"}), GraphError, "'up' is made by two nodes, 'up' and 'again'"),
        (lambda d: d["nodes"].pop(0), GraphError, "no node makes the tensor 'up'"),
        (lambda d: d["nodes"][0].update(kernel="tiny_matmull"), KernelError, "no kernel is named 'tiny_matmull'; did you mean tiny_matmul"),
        (lambda d: d["nodes"][0].update(attributes={"eps": 1}), KernelError, "kernel 'tiny_matmul' has no attribute 'eps'"),
        (lambda d: d["nodes"][0].update(attributes={"eps": None}), InputError, r"malformed at nodes\.0\.kernel\.attributes\.eps"),
        (lambda d: d["nodes"][1].update(inputs=["up", "x"]), InputError, "malformed at nodes.1.view.inputs"),
        (lambda d: d["nodes"][2].update(attributes={"factor": {"number": "1"}}), InputError, "malformed at nodes.2"),
        (lambda d: d.update(outputs=[]), GraphError, "no outputs"),
        (lambda d: d.update(outputs=["y"]), GraphError, "the output 'y' is missing"),
        (lambda d: d.update(name="a b"), GraphError, "cannot be called 'a b'"),
    ],
)
def test_documents_that_make_no_sense(change: Callable[[Any], object], error: type[MosaicError], problem: str) -> None:
    with pytest.raises(error, match=problem) as caught:
        from_json(edited(change))
    assert "\n" not in str(caught.value)


def test_a_cycle_in_a_document() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    first = graph.call("tiny_add", x, x, name="first")
    graph.output(graph.call("tiny_add", first, x, name="second"))
    document = json.loads(to_json(graph))
    document["nodes"][0]["inputs"] = ["x", "second"]
    with pytest.raises(GraphError, match=r"graph 'g': the nodes .*first -> second.* form a cycle"):
        from_json(json.dumps(document))


def test_nodes_may_stand_in_any_order() -> None:
    text = edited(lambda document: document["nodes"].reverse())
    assert from_json(text).nodes[0].name == "up"


def test_a_changed_kernel_is_a_warning_once() -> None:
    def change(document: Any) -> None:
        for node in document["nodes"]:
            if node.get("kernel") == "tiny_add":
                node["sha256"] = "0" * 64

    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    graph.output(graph.call("tiny_add", graph.call("tiny_add", x, x), x))
    document = json.loads(to_json(graph))
    change(document)
    with pytest.warns(KernelChangedWarning, match="kernel 'tiny_add' has changed since graph 'g' was written") as caught:
        again = from_json(json.dumps(document))
    assert len(caught) == 1
    assert again.digest() == graph.digest()  # it is a graph of the kernels as they are now


def test_files_stand_beside_each_other(tmp_path: Path) -> None:
    save(small(), tmp_path / "model.v2.json")
    assert sorted(os.listdir(tmp_path)) == ["model.v2.json", "model.v2.safetensors"]
    assert load_file(tmp_path / "model.v2.safetensors").keys() == {"w"}
    other = tmp_path / "plain"
    other.write_text("")
    expected = stat.S_IMODE(other.stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {expected}  # as any new file here


def test_a_graph_without_constants_is_one_file(tmp_path: Path) -> None:
    graph = Graph("g")
    graph.output(graph.call("tiny_scale", graph.input("x", (2, 2), "float32")))
    save(graph, str(tmp_path / "graph"))
    assert os.listdir(tmp_path) == ["graph"]
    assert load(tmp_path / "graph").digest() == graph.digest()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_constants_of_every_dtype(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    graph = Graph("g")
    graph.output(graph.call("tiny_scale", graph.input("x", (2, 2), "float32")))
    content = (torch.arange(6) % 2).to(DTYPES[dtype].torch).reshape(2, 3)
    graph.constant("w", content if len(shape) == 2 else content[0] if shape else content[0, 1])
    save(graph, tmp_path / "g.json")
    found, kept = load(tmp_path / "g.json").constants["w"], graph.constants["w"]
    assert found is not None
    assert kept is not None
    assert found.dtype == kept.dtype
    assert found.shape == kept.shape == shape
    assert found.tolist() == kept.tolist()


def test_tied_and_sliced_weights(tmp_path: Path) -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    whole = torch.arange(12.0).reshape(6, 2)
    parts: list[Tensor] = [graph.constant(f"part{i}", whole[2 * i : 2 * i + 2]) for i in range(3)]
    tied = graph.constant("tied", whole[:2])
    graph.output(graph.call("tiny_add", x, parts[0]), graph.call("tiny_add", x, tied))
    save(graph, tmp_path / "g.json")
    assert (tmp_path / "g.safetensors").stat().st_size < 1000
    again = load(tmp_path / "g.json")
    assert again.digest() == graph.digest()
    content = again.constants["part2"]
    assert content is not None
    assert torch.equal(content, whole[4:])


def test_weights_need_not_be_loaded_but_then_cannot_be_saved(tmp_path: Path) -> None:
    save(small(), tmp_path / "g.json")
    (tmp_path / "g.safetensors").unlink()
    again = load(tmp_path / "g.json", weights=False)
    assert again.constants == {"w": None}
    assert again.digest() == small().digest()
    with pytest.raises(GraphError, match="the content of constant 'w' was never loaded"):
        save(again, tmp_path / "other.json")
    assert os.listdir(tmp_path) == ["g.json"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff" * 100), "cannot be read"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (lambda path: save_file({"w": 2 * WEIGHT}, path), "hold another 'w' than the graph was written with"),
        (lambda path: save_file({"w": WEIGHT.float()}, path), "hold another 'w' than the graph was written with"),
        (lambda path: save_file({"w": WEIGHT.reshape(8, 6)}, path), "hold another 'w' than the graph was written with"),
        (lambda path: save_file({"v": WEIGHT}, path), "hold 'v', which the graph does not know"),
        (lambda path: save_file({}, path), "lack the constant 'w'"),
    ],
)
def test_weights_that_do_not_fit(damage: Callable[[Path], object], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    save(small(), path)
    damage(path.with_suffix(".safetensors"))
    with pytest.raises(InputError, match=problem) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "g.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "none.json", "No such file"), (tmp_path, "directory|no name for a graph")):
        with pytest.raises(InputError, match=problem) as caught:
            load(path)
        assert str(path) in str(caught.value)
    broken = tmp_path / "broken.json"
    for text, error in ((to_json(small())[:100], InputError), (edited(lambda d: d.update(outputs=[])), GraphError)):
        broken.write_text(text)
        with pytest.raises(error, match=r"broken\.json: "):
            load(broken, weights=False)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "no" / "g.json", tmp_path / "file" / "g.json", tmp_path / "g.safetensors", Path()):
        with pytest.raises(InputError):
            save(small(), path)
    (tmp_path / "h.safetensors").mkdir()
    with pytest.raises(InputError, match=r"h\.safetensors"):
        save(small(), tmp_path / "h.json")
    assert sorted(os.listdir(tmp_path)) == ["file", "h.safetensors"]


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failed_rename_leaves_what_was_there(failing: int, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.json"
    if existing:
        save(small(), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    calls = []
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(InputError, match=r"g\.json: No space left on device"):
            save(small(2 * WEIGHT), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.json"
    save(small(), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(file: Path, *_: object, **__: object) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(InputError, match="No space left on device"):
        save(small(), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_saving_over_the_file_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    save(small(), path)
    again = load(path)
    save(again, path)
    assert load(path).digest() == small().digest()


def test_a_name_that_safetensors_keeps_for_itself(tmp_path: Path) -> None:
    graph = small()
    graph.constant("__metadata__", torch.ones(2))
    with pytest.raises(GraphError, match="__metadata__"):
        save(graph, tmp_path / "g.json")
    assert os.listdir(tmp_path) == []
