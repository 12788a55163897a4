"""docs/judge.md: its example runs, and its commands and arguments exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

import mosaic
from mosaic.cli.app import app

ROOT: Final = Path(__file__).parents[1]
TEXT: Final = (ROOT / "docs" / "judge.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    packet = names["packet"]
    assert packet.status in ("pass", "inconclusive"), getattr(packet, "failure", packet)
    assert 0.0 < mosaic.reward(packet) <= 1.0
    assert (tmp_path / "ledger.db").is_file()


def test_the_signature_is_the_real_one() -> None:
    (written,) = re.findall(r"^`judge\((.*)\)`$", TEXT, re.MULTILINE)
    real = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default!r}".replace("'", '"')
        for name, parameter in inspect.signature(mosaic.judge).parameters.items()
    ]
    real.insert(next(i for i, p in enumerate(inspect.signature(mosaic.judge).parameters.values()) if p.kind is p.KEYWORD_ONLY), "*")
    assert written == ", ".join(real)
    (section,) = re.findall(r"^## The Python API$(.*?)^## ", TEXT, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)` \| ", section, re.MULTILINE)) == {name.partition("=")[0] for name in real} - {"*", "ledger"}


def test_the_commands_exist() -> None:
    root: Any = typer.main.get_command(app)
    for name, sub in re.findall(r"`mosaic ([a-z-]+)(?: ([a-z]+))?", TEXT):
        assert name in root.commands, name
        if name == "packets":
            assert sub in root.commands["packets"].commands, sub
