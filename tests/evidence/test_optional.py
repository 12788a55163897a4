"""The optional categories: each alone in a packet, read and written back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical
from mosaic.evidence.packet import parse, seal
from tests.evidence import samples

FULL: dict[str, Any] = json.loads(canonical(samples.noisy().document()))
CATEGORIES = ("security", "quantisation", "serving", "capacity")


@pytest.mark.parametrize("name", CATEGORIES)
def test_each_alone(name: str) -> None:
    packet = parse(json.dumps({key: value for key, value in FULL.items() if key not in CATEGORIES or key == name}))
    assert json.loads(seal(packet))[name] == FULL[name]
    assert [other for other in CATEGORIES if getattr(packet, other) is not None] == [name]


@pytest.mark.parametrize(
    ("category", "update", "message"),
    [
        ("security", {"verdict": "fine"}, "malformed at security.verdict"),
        ("quantisation", {"fallbacks": "none"}, "malformed at quantisation.fallbacks"),
        ("serving", {"ttft": {"p50": 0.1}}, "malformed at serving.ttft.p50"),
        ("capacity", {"energy": {"label": "proxy", "value": 3, "unit": "J"}}, "malformed at capacity.energy.how: it is missing"),
        ("capacity", {"joules": 3}, "malformed at capacity.joules: there is no such field"),
    ],
)
def test_malformed(category: str, update: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(json.dumps({**FULL, category: {**FULL[category], **update}}))
