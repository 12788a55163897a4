"""Names, scopes and on-chip memory of one kernel."""

from __future__ import annotations

import pytest
from tvm import tirx

from mosaic.errors import ReadError
from mosaic.targets.cpu.context import Context, Names
from mosaic.targets.cpu.nodes import constant


def test_names_are_free_again_after_their_scope() -> None:
    names, i, other = Names(), tirx.Var("i", "int32"), tirx.Var("i", "int32")
    with names.scope():
        assert names.new("i", i) == "i"
        with names.scope():
            assert names.new("i", other) == "i_1"
        assert names.is_visible(i)
        assert not names.is_visible(other)
    assert names.new("i") == "i"
    assert names.of(i) == "i"


@pytest.mark.parametrize(
    ("wanted", "name"), [("int", "v_int"), ("a.b", "a_b"), ("0x", "v_0x"), ("ms_exp", "v_ms_exp"), ("", "v_"), ("é", "é")]
)
def test_names_are_words_that_c_has_no_use_for(wanted: str, name: str) -> None:
    assert Names().new(wanted) == name


def test_memory_is_laid_out_once_for_each_variable() -> None:
    context = Context("k")
    large = tirx.decl_buffer((100, 10), "float16", "large", scope="shared.dyn")
    view = tirx.decl_buffer((1000,), "float16", "view", data=large.data, scope="shared.dyn")
    small = tirx.decl_buffer((4,), "float32", "small", scope="local.fragment")
    other = tirx.decl_buffer((1000,), "float32", "other", scope="local.fragment")
    for buffer in (large, view, small, other):
        context.allocate(buffer)
    assert [(a.name, a.offset, a.bytes) for a in context.allocations] == [("large", 0, 2000), ("small", None, 16), ("other", 2048, 4000)]
    assert context.scratch_bytes == 2048 + 4032
    assert context.view(view).pointer == "large"
    assert [constant(stride) for stride in context.view(large).strides] == [10, 1]


def test_a_view_of_another_dtype_is_a_cast() -> None:
    context = Context("k")
    floats = tirx.decl_buffer((8,), "float32", "floats", scope="shared.dyn")
    context.allocate(floats)
    integers = tirx.decl_buffer((8,), "int32", "integers", data=floats.data, scope="shared.dyn")
    assert context.view(integers).pointer == "((int32_t *)v_floats)"


def test_buffers_that_nothing_made_or_that_have_no_size_are_refused() -> None:
    context = Context("k")
    with pytest.raises(ReadError, match=r"kernel 'k' .* the buffer 'x' .* is neither a parameter nor allocated"):
        context.view(tirx.decl_buffer((8,), "float32", "x", scope="shared.dyn"))
    with pytest.raises(ReadError, match="the on-chip buffer 'y' has the size n, which is not constant"):
        context.allocate(tirx.decl_buffer((tirx.Var("n", "int32"),), "float32", "y", scope="shared.dyn"))
    with pytest.raises(ReadError, match="it uses the dtype float4_e2m1fn"):
        context.scalar("float4_e2m1fn")
    with pytest.raises(ReadError, match="the variable 'z' is used but nothing binds it"):
        context.variable(tirx.Var("z", "int32"))
