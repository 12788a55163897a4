"""mosaic env-info."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import InputError
from mosaic.evidence.categories import Environment


def test_it_is_a_packets_environment() -> None:
    result = CliRunner().invoke(app, ["env-info", "--device", "cpu", "--json"])
    assert result.exit_code == 0
    found = Environment.model_validate_json(result.stdout)
    assert found.device.kind == "cpu"
    assert found.libraries["torch"] == json.loads(result.stdout)["libraries"]["torch"]


def test_it_is_a_table() -> None:
    result = CliRunner().invoke(app, ["env-info"])
    assert result.exit_code == 0
    assert "library" in result.stdout
    assert torch.__version__ in result.stdout


@pytest.mark.parametrize(("device", "said"), [("tpu", "no device 'tpu'"), ("cuda:x", "no device 'cuda:x'"), ("cuda:99", "no cuda:99")])
def test_other_devices(device: str, said: str) -> None:
    result = CliRunner().invoke(app, ["env-info", "--device", device])
    assert result.exit_code == InputError.exit_code
    assert said in result.stderr
