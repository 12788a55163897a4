"""The public names: there, listed, and imported only when used."""

from __future__ import annotations

import pkgutil

import pytest

import mosaic


@pytest.mark.parametrize("name", mosaic.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mosaic, name) is not None
    assert name in dir(mosaic)


def test_names_are_those_of_their_homes() -> None:
    from mosaic.graph.graph import Graph
    from mosaic.graph.kernel import kernel

    assert mosaic.Graph is Graph
    assert mosaic.kernel is kernel


def test_a_name_that_is_not_public() -> None:
    with pytest.raises(AttributeError, match="module 'mosaic' has no attribute 'Grph'"):
        mosaic.Grph  # noqa: B018


def test_no_public_name_is_hidden_by_a_module_once_that_is_imported() -> None:
    modules = {module.name for module in pkgutil.iter_modules(mosaic.__path__)}
    assert not modules & set(mosaic.__all__)
