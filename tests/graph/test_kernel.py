"""What a registration binds, refuses and hands on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import GraphError, KernelError, MosaicError
from mosaic.graph import Kernel, Role, Spec, find, kernel, registered
from tests.graph import tiny


def made(build: Callable[..., Any] | None = None, **changes: Any) -> Kernel:
    """A kernel registered under a name of this file, with `changes` to a registration that is fine."""

    def test_kernel(M: int, N: int, block_M: int = 64) -> Any:
        """One line."""
        return (M, N, block_M)

    settings: dict[str, Any] = {
        "inputs": {"x": "M N : T"},
        "outputs": {"y": "N M : T"},
        "tunables": {"block_M": (32, 64)},
        "reference": lambda x: x.T,
        **changes,
    }
    return kernel(**settings)(build or test_kernel)


def test_a_registration_holds_what_was_written() -> None:
    found = made(attributes={"eps": 1e-5})
    assert found.name == "test_kernel"
    assert found.family == "test_kernel"
    assert found.inputs == (Role("x", ("M", "N"), "T"),)
    assert found.outputs == (Role("y", ("N", "M"), "T"),)
    assert found.doc == "One line."
    assert Path(found.source_file) == Path(__file__)
    assert find("test_kernel") is found
    assert registered()["test_kernel"] is found


def test_symbols_follow_from_shapes_and_dtypes() -> None:
    binding = tiny.tiny_matmul.bind([Spec((3, 5), "bfloat16"), Spec((5, 7), "bfloat16")])
    assert binding.symbols == {"M": 3, "K": 5, "N": 7, "T": "bfloat16"}
    assert binding.outputs == (Spec((3, 7), "bfloat16"),)


@pytest.mark.parametrize(
    ("length", "attributes", "size"), [(10, {}, 9), (10, {"W": 3, "S": 2}, 4), (10, {"W": 10}, 1), (7, {"W": 1, "S": 7}, 1)]
)
def test_expressions_follow_from_attributes(length: int, attributes: dict[str, int], size: int) -> None:
    assert tiny.tiny_window.bind([Spec((2, length), "float32")], attributes).outputs == (Spec((2, size), "float32"),)


def test_an_expression_of_an_input_is_checked_wherever_its_symbols_stand() -> None:
    packed = made(inputs={"q": "K//2 N : uint8", "x": "M K : T"}, outputs={"y": "M N : T"}, reference=lambda q, x: x @ q)
    assert packed.bind([Spec((4, 3), "uint8"), Spec((2, 8), "float16")]).outputs == (Spec((2, 3), "float16"),)
    with pytest.raises(GraphError, match=r"dim 0 of 'q' is 5, but K//2 is 4"):
        packed.bind([Spec((5, 3), "uint8"), Spec((2, 8), "float16")])


def test_fixed_sizes_and_scalars() -> None:
    fixed = made(lambda: None, name="fixed", tunables={}, inputs={"x": "4 -2+N : T", "N_like": "N : T", "s": ": T"}, outputs={"y": ": T"})
    assert fixed.bind([Spec((4, 3), "float32"), Spec((5,), "float32"), Spec((), "float32")]).outputs == (Spec((), "float32"),)
    with pytest.raises(GraphError, match="dim 0 of 'x' is 3, but 4 is 4"):
        fixed.bind([Spec((3, 3), "float32"), Spec((5,), "float32"), Spec((), "float32")])


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ([Spec((3, 5), "float16")], r"takes 2 inputs \(a, b\), not 1"),
        ([Spec((3, 5), "float16"), Spec((4, 7), "float16")], "dim 0 of 'b' is 4, but K is already 5"),
        ([Spec((3, 5), "float16"), Spec((5, 7), "float32")], "'b' is float32, but T is already float16"),
        ([Spec((3, 5), "float16"), Spec((5,), "float16")], r"'b' is float16\[5\], but has 2 dims: K N"),
    ],
)
def test_what_does_not_meet_is_one_sentence(shapes: list[Spec], problem: str) -> None:
    with pytest.raises(GraphError, match=problem) as caught:
        tiny.tiny_matmul.bind(shapes)
    assert "tiny_matmul" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fixed_dtype_must_match() -> None:
    with pytest.raises(GraphError, match="'ids' is int64, but must be int32"):
        tiny.tiny_gather.bind([Spec((3, 5), "float16"), Spec((5,), "int64")])


@pytest.mark.parametrize(
    ("attributes", "error", "problem"),
    [
        ({"W": 11}, GraphError, "which is no tensor"),
        ({"S": 0}, GraphError, "divides by zero"),
        ({"W": 1.5}, KernelError, "needs 'W', which nothing binds to a whole number"),
        ({"w": 1}, KernelError, "no attribute 'w'; it has W, S"),
        ({"W": "2"}, KernelError, "attribute 'W' is '2', but must be a number like 2"),
        ({"W": True}, KernelError, "attribute 'W' is True, but must be a number like 2"),
    ],
)
def test_attributes_that_make_no_sense(attributes: dict[str, Any], error: type[MosaicError], problem: str) -> None:
    with pytest.raises(error, match=problem):
        tiny.tiny_window.bind([Spec((2, 10), "float32")], attributes)


def test_a_whole_number_is_a_number() -> None:
    assert tiny.tiny_scale.bind([Spec((2, 2), "float32")], {"factor": 2}).symbols["factor"] == 2
    with pytest.raises(KernelError, match="must be a boolean"):
        tiny.tiny_scale.bind([Spec((2, 2), "float32")], {"negate": 1})


def test_an_attribute_may_name_the_output_dtype() -> None:
    assert tiny.tiny_cast.bind([Spec((2, 2), "float32")], {"U": "float16"}).outputs[0].dtype == "float16"
    with pytest.raises(GraphError, match="half"):
        tiny.tiny_cast.bind([Spec((2, 2), "float32")], {"U": "half"})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputs": {"x": "M N"}}, "tensor 'x' is written 'M N'; write it as 'dims : dtype'"),
        ({"inputs": {"x": "M N :"}}, "write it as 'dims : dtype'"),
        ({"inputs": {"x": "M N // 2 : T"}}, "tensor 'x': the dim '//' is no number"),
        ({"inputs": {"x": "M N f(N) : T"}}, r"the dim 'f\(N\)' is no number"),
        ({"inputs": {"x": "M N N/2 : T"}}, "the dim 'N/2' is no number"),
        ({"inputs": {"x": "M N True : T"}}, "the dim 'True' is no number"),
        ({"inputs": {"x": "M N 2.5 : T"}}, "the dim '2.5' is no number"),
        ({"outputs": {}}, "at least one output"),
        ({"outputs": {"x": "M N : T"}}, "distinct names"),
        ({"outputs": {"y": "M K : T"}}, "tensor 'y' needs 'K', which no input and no attribute binds"),
        ({"outputs": {"y": "M N : half"}}, "tensor 'y' needs 'half'"),
        ({"inputs": {"x": "M N K//2 : T"}}, "tensor 'x' needs 'K'"),
        ({"attributes": {"eps": None}}, "attribute 'eps' = None"),
        ({"attributes": {"name": "x"}}, "not called 'name'"),
        ({"tunables": {"block_M": ()}}, "tunable 'block_M' has no choices"),
        ({"tunables": {"block_M": (32,)}}, "the default 64 of 'block_M' is not among its choices"),
        ({"tunables": {"block_M": (64,), "stages": (1, 2)}}, "tunable 'stages' is no parameter of its function"),
        ({"attributes": {"block_M": 64}}, "'block_M' is a tunable and also a symbol or an attribute"),
    ],
)
def test_registrations_that_contradict_themselves(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(KernelError, match=problem) as caught:
        made(name="contradiction", **changes)
    assert "contradiction" in str(caught.value)
    assert "contradiction" not in registered()


def test_a_parameter_that_nothing_binds_is_refused() -> None:
    def needy(M: int, heads: int) -> None: ...

    with pytest.raises(KernelError, match="its function needs 'heads', which is no symbol, attribute or tunable"):
        made(needy, tunables={})


def test_only_functions_can_be_kernels() -> None:
    not_a_function: Any = 3
    with pytest.raises(KernelError, match="not a int"):
        made(not_a_function, name="number")


def test_a_name_is_taken_once_across_files() -> None:
    first = made(name="test_taken")
    assert made(name="test_taken") is find("test_taken") is not first  # the same file may be loaded again
    code = compile("def test_taken(M, N): ...", "/somewhere/else.py", "exec")
    namespace: dict[str, Any] = {"__name__": "else"}
    exec(code, namespace)
    with pytest.raises(KernelError, match=r"already registered by .*test_kernel\.py; give this one another name"):
        made(namespace["test_taken"], tunables={})


def test_an_unknown_kernel_names_the_nearest() -> None:
    with pytest.raises(KernelError, match="no kernel is named 'tiny_matmull'; did you mean tiny_matmul"):
        find("tiny_matmull")
    with pytest.raises(KernelError, match="`mosaic kernels` lists"):
        find("0000000000")


def test_the_authors_choice_comes_first() -> None:
    def tiled(M: int, block_M: int = 64, stages: int = 2) -> tuple[int, int, int]:
        return M, block_M, stages

    def fits(M: int, block_M: int) -> bool:
        return M % block_M == 0

    found = made(tiled, tunables={"block_M": (16, 32, 64), "stages": (1, 2)}, valid=fits)
    assert found.default_tunables() == {"block_M": 64, "stages": 2}
    everything = list(found.choices(found.bind([Spec((64, 3), "float32")])))
    assert everything[0] == found.default_tunables()
    assert len(everything) == 6
    some = found.bind([Spec((32, 3), "float32")])
    assert [choice["block_M"] for choice in found.choices(some)] == [16, 16, 32, 32]
    assert not found.is_valid(some, {"block_M": 64, "stages": 2})
    assert found.instantiate(some) == (32, 64, 2)
    assert found.instantiate(some, {"stages": 1}) == (32, 64, 1)
    with pytest.raises(KernelError, match="no tunable 'threads'; it has block_M, stages"):
        found.instantiate(some, {"threads": 128})


def test_the_default_is_the_first_choice_if_the_function_has_none() -> None:
    def undecided(M: int, block_M: int) -> None: ...

    assert made(undecided, tunables={"block_M": (16, 32)}).default_tunables() == {"block_M": 16}


def test_what_the_authors_code_raises_is_a_kernel_error() -> None:
    def broken(M: int, block_M: int = 64) -> None:
        raise ValueError("no such tile")

    found = made(broken, valid=lambda block_M: bool(block_M // 0))
    binding = found.bind([Spec((4, 4), "float32")])
    with pytest.raises(KernelError, match="could not be built: ValueError: no such tile"):
        found.instantiate(binding)
    with pytest.raises(KernelError, match=r"its `valid` failed for .*ZeroDivisionError"):
        list(found.choices(binding))


def _keywords(x: torch.Tensor, *, factor: float) -> torch.Tensor:
    return x.T * factor


def _variadic(*tensors: torch.Tensor, factor: float) -> torch.Tensor:
    return tensors[0].T * factor


def _everything(x: torch.Tensor, /, **symbols: Any) -> Any:
    assert set(symbols) == {"M", "N", "T", "factor", "x"}
    return x.T * symbols["factor"]


@pytest.mark.parametrize(
    ("reference", "factor"),
    [(_keywords, 3.0), (_variadic, 3.0), (_everything, 3.0), (lambda x, factor: x.T * factor, 3.0), (torch.t, 1.0), (lambda x: [x.T], 1.0)],
)
def test_a_reference_gets_what_it_names(reference: Callable[..., Any], factor: float) -> None:
    found = made(reference=reference, attributes={"factor": 2.0, "x": 0})
    x = torch.arange(6.0).reshape(2, 3)
    (result,) = found.run_reference([x], found.bind([Spec((2, 3), "float32")], {"factor": 3.0}))
    assert torch.equal(result, x.T * factor)


def test_a_name_of_a_tensor_and_a_symbol_do_not_collide() -> None:
    def keywords(x: torch.Tensor, **symbols: Any) -> torch.Tensor:
        assert "x" not in symbols
        return x.T

    found = made(reference=keywords, attributes={"x": 7})
    assert found.run_reference([torch.zeros(2, 3)], found.bind([Spec((2, 3), "float32")]))[0].shape == (3, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"inputs": (Role("x", ("M", "N"), "float16"),)},
        {"attributes": {"eps": 1e-6}},
        {"tunables": {"block_M": (64, 32)}},
        {"_defaults": {"block_M": 32}},
        {"source_file": "/nowhere"},
    ],
)
def test_the_digest_covers_every_field(change: Mapping[str, Any]) -> None:
    found = made(attributes={"eps": 1e-5})
    assert len(found.digest()) == 64
    assert found.digest() == made(attributes={"eps": 1e-5}).digest()
    assert dataclasses.replace(found, **change).digest() != found.digest()


def test_the_digest_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kernel.py"
    file.write_text("one")
    found = dataclasses.replace(made(), source_file=str(file))
    before = found.digest()
    file.write_text("two")
    assert found.digest() != before


def test_a_spec_reads_well() -> None:
    assert str(Spec((2, 3), "float16")) == "float16[2, 3]"


def test_functions_made_by_tilelang_jit() -> None:
    import tilelang
    import tilelang.language as T

    @tilelang.jit
    def lazy(M: int, N: int, block_M: int = 32) -> Any:
        """Copies."""

        @T.prim_func
        def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")):  # type: ignore[no-untyped-def]
            with T.Kernel(T.ceildiv(M, block_M)) as bx:
                for i, j in T.Parallel(block_M, N):
                    y[bx * block_M + i, j] = x[bx * block_M + i, j]

        return main

    @tilelang.jit
    def eager(x: Any, y: Any, block_M: int = 32) -> None:
        M, N = T.const("M N")
        x: T.Tensor[[M, N], T.float32]  # type: ignore[no-redef]
        y: T.Tensor[[M, N], T.float32]  # type: ignore[no-redef]
        with T.Kernel(T.ceildiv(M, block_M)) as bx:
            for i, j in T.Parallel(block_M, N):
                y[bx * block_M + i, j] = x[bx * block_M + i, j]

    for function in (lazy, eager):
        found = made(function, outputs={"y": "M N : T"})
        assert found.name == function.func.orig_func.__name__
        assert Path(found.source_file) == Path(__file__)
        primfunc = found.instantiate(found.bind([Spec((128, 48), "float32")]), {"block_M": 64})
        buffers = [primfunc.buffer_map[param] for param in primfunc.params]
        assert [[int(size) for size in buffer.shape] for buffer in buffers] == [[128, 48]] * 2
        assert f"T.thread_binding({math.ceil(128 / 64)}, " in primfunc.script()
    assert find("lazy").doc == "Copies."
