"""What is known of indices: never more than is true."""

from __future__ import annotations

from tvm import tirx

from mosaic.targets.cpu.bounds import Bounds


def integer(value: int) -> object:
    return tirx.const(value, "int32")


def test_ranges_of_loops() -> None:
    bounds, i, b = Bounds(), tirx.Var("i", "int32"), tirx.Var("b", "int32")
    bounds.loop(i, integer(0), integer(16))
    bounds.loop(b, integer(0), integer(4))
    assert bounds.below(b * 16 + i, integer(64))
    assert not bounds.below(b * 16 + i, integer(63))
    assert bounds.not_negative(b * 16 + i)
    assert not bounds.not_negative(i - 1)
    assert bounds.negative(i - 16)
    assert not bounds.negative(i - 15)


def test_a_variable_may_run_over_another_range_later() -> None:
    bounds, i = Bounds(), tirx.Var("i", "int32")
    bounds.loop(i, integer(0), integer(8))
    assert bounds.below(i, integer(8))
    bounds.loop(i, integer(0), integer(9))
    assert not bounds.below(i, integer(8))


def test_symbolic_sizes_prove_nothing_false() -> None:
    """Tiles of 24 over n elements: the last one may go beyond, whatever the analyzer's wrapping arithmetic says."""
    bounds, n, b, j = Bounds(), tirx.Var("n", "int32"), tirx.Var("b", "int32"), tirx.Var("j", "int32")
    bounds.size(n)
    bounds.loop(b, integer(0), (n + 23) // 24)
    bounds.loop(j, integer(0), integer(24))
    assert not bounds.below(b * 24 + j, n)
    assert bounds.below(b * 24, n)
    assert bounds.not_negative(b * 24 + j)
    with bounds.given(b * 24 + j < n):
        assert bounds.below(b * 24 + j, n)
        assert not bounds.below(b * 24 + j, n - 1)
    assert not bounds.below(b * 24 + j, n)


def test_settled_conditions_decide() -> None:
    bounds, i, n = Bounds(), tirx.Var("i", "int32"), tirx.Var("n", "int32")
    assert bounds.decide(i < n) is None
    with bounds.settled([i < n]):
        assert bounds.decide(i < n) is True
        assert bounds.decide(i >= n) is False
        assert bounds.decide(tirx.Not(i < n)) is False
        assert bounds.decide(i <= n) is None
        assert bounds.decide(tirx.And(i < n, i > 3)) is None
        assert bounds.decide(tirx.And(i >= n, i > 3)) is False
        assert bounds.decide(tirx.Or(i < n, i > 3)) is True
    with bounds.settled([], [i < n]):
        assert bounds.decide(i < n) is False
    assert bounds.decide(i < n) is None


def test_conditions_on_memory_are_never_settled() -> None:
    bounds, i = Bounds(), tirx.Var("i", "int32")
    memory = tirx.decl_buffer((8,), "int32")
    condition = tirx.BufferLoad(memory, [i]) < 3
    with bounds.given(condition), bounds.settled([condition]):
        assert bounds.decide(condition) is None
    floats = tirx.Var("x", "float32") < tirx.const(1.0, "float32")
    with bounds.settled([floats]):
        assert bounds.decide(floats) is None, "of a number that is NaN, neither a condition nor its opposite holds"


def test_what_could_not_be_decided_is_collected() -> None:
    bounds, i = Bounds(), tirx.Var("i", "int32")
    bounds.asked = []
    bounds.decide(tirx.And(i < 3, i > 1))
    assert [str(condition) for condition in bounds.asked] == [str(i < 3), str(i > 1)]


def test_bound_variables_are_expanded() -> None:
    bounds, i, at = Bounds(), tirx.Var("i", "int32"), tirx.Var("at", "int32")
    bounds.equal(at, i + 3)
    assert str(bounds.expanded(at * 2)) == str((i + 3) * 2)
    bounds.equal(at, i + 4)
    assert bounds.expanded(at * 2) is None, "it has had two values"
