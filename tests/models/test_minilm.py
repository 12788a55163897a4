from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.graph.reference import Precision, run
from mosaic.models.encode import encode
from mosaic.models.minilm import minilm
from mosaic.models.sentences import SENTENCES, nearest

LAYERS = 6
BATCH = 5
"""Sentences a batch: no multiple of any tile."""


def batches() -> list[tuple[list[int], int]]:
    """All sentences by length: the indices of each batch, and the odd number of tokens it is padded to."""
    lengths: list[int] = encode(SENTENCES)["attention_mask"].sum(1).tolist()
    order = sorted(range(len(SENTENCES)), key=lambda index: lengths[index])
    groups = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [(group, (max(lengths[index] for index in group) + 1) | 1) for group in groups]


def embed(dtype: str, precision: Precision, groups: list[tuple[list[int], int]], largest: dict[str, float] | None = None) -> torch.Tensor:
    """The embeddings of these batches' sentences by the graph's references, float64 [sentences, 384]; zeros for the others.

    The largest magnitude of each float tensor goes into `largest`.
    """
    embeddings = torch.zeros(len(SENTENCES), 384, dtype=torch.float64)
    for indices, length in groups:
        graph = minilm(len(indices), length, dtype=dtype)
        inputs = encode([SENTENCES[index] for index in indices], length=length)
        values = run(graph, inputs, precision=precision, keep="outputs" if largest is None else "all")
        assert values["normalize"].dtype == (torch.float64 if precision == "float64" else DTYPES[dtype].torch)
        embeddings[indices] = values["normalize"].double()
        for name, value in values.items():
            if largest is not None and value.is_floating_point():
                largest[name] = max(largest.get(name, 0.0), value.abs().max().item())
    return embeddings


def test_embeddings_are_the_originals_and_float16_has_room_for_every_tensor(reference: torch.Tensor) -> None:
    """With weights as they are stored and nothing rounded on the way, only float64's own rounding is left."""
    largest: dict[str, float] = {}
    embeddings = embed("float32", "float64", batches(), largest)
    assert (embeddings - reference).abs().max() < 1e-12
    everyone = len(SENTENCES) - 1
    assert torch.equal(nearest(embeddings, everyone), nearest(reference, everyone))
    # The widest is layer 0's feed-forward residual, about 224: no sentence comes near to overflow.
    assert 200 < max(largest.values()) < torch.finfo(torch.float16).max / 100
    assert max(largest, key=lambda name: largest[name]) == "layer0.ffn.residual"


@pytest.mark.parametrize("precision", ["float64", "native"])
def test_float16_leaves_every_embedding_and_the_ranking(precision: Precision, reference: torch.Tensor) -> None:
    embeddings = embed("float16", precision, batches())
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    assert (unit * reference).sum(1).min() >= 0.99999
    assert (embeddings.norm(dim=1) - 1).abs().max() <= DTYPES["float16"].roundoff
    assert torch.equal(nearest(unit, 3), nearest(reference, 3))
    # Farther down, only sentences may change places whose similarities lie closer together than rounding moves them:
    # by at most the sum of what it moves the two unit vectors.
    moved = (unit - reference).norm(dim=1)
    similarity = (reference @ reference.T).gather(1, ranking := nearest(unit, len(SENTENCES) - 1))
    bound = 2 * moved[:, None] + moved[ranking[:, 1:]] + moved[ranking[:, :-1]]
    assert (similarity[:, :-1] - similarity[:, 1:] >= -bound).all()


def test_bfloat16_leaves_the_embeddings(reference: torch.Tensor) -> None:
    """Its roundoff is 8 times float16's, so 1 - cosine, which is quadratic in it, may be 64 times as large."""
    embeddings = embed("bfloat16", "native", batches())
    assert (torch.nn.functional.normalize(embeddings, dim=1) * reference).sum(1).min() >= 1 - 64e-5


@pytest.mark.parametrize(("batch", "sequence"), [(1, 1), (1, 7), (3, 33), (2, 129)])
def test_any_ids_and_mask_give_what_the_original_gives(batch: int, sequence: int, original: Any) -> None:
    """Random tokens, also under the mask's zeros, which lie anywhere; and layer by layer."""
    generator = torch.Generator().manual_seed(batch * 1000 + sequence)
    ids = torch.randint(0, 30522, (batch, sequence), generator=generator, dtype=torch.int32)
    mask = torch.randint(0, 2, (batch, sequence), generator=generator, dtype=torch.int32)
    mask[:, 0] = 1
    graph = minilm(batch, sequence, dtype="float32")
    values = run(graph, {"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        truth = original(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    kept = mask.bool()
    hidden = {"embeddings.norm": truth.hidden_states[0]} | {f"layer{n}.ffn.norm": truth.hidden_states[n + 1] for n in range(LAYERS)}
    for name, expected in hidden.items():
        assert (values[name].view(batch, sequence, 384) - expected)[kept].abs().max() < 1e-10, name
    mean = torch.stack([row[keep].mean(0) for row, keep in zip(truth.last_hidden_state, kept, strict=True)])
    assert graph.tensors["normalize"].shape == (batch, 384)
    assert (values["normalize"] - mean / mean.norm(dim=1, keepdim=True)).abs().max() < 1e-12


def test_padding_does_not_change_an_embedding() -> None:
    sentence = [SENTENCES[0]]
    short, long = (run(minilm(1, length), encode(sentence, length=length))["normalize"] for length in (5, 65))
    assert (short - long).abs().max() < 1e-13


def test_graph_is_one_kernel_a_step() -> None:
    graph = minilm(4, 64)
    # 4 for the embeddings, 18 a layer, pooling and normalisation
    assert graph.kernel_count == 4 + 18 * LAYERS + 2
    assert [node.name for node in graph.nodes if node.name.startswith("layer3.") and not node.is_view] == [
        *(f"layer3.{part}.{step}" for part in ("query", "key", "value") for step in ("gemm", "bias")),
        "layer3.attention",
        *(f"layer3.output.{step}" for step in ("gemm", "bias", "residual", "norm")),
        *(f"layer3.ffn.{step}" for step in ("up.gemm", "up.bias", "gelu", "down.gemm", "down.bias", "residual", "norm")),
    ]
    assert graph.inputs == ("input_ids", "attention_mask")
    assert graph.outputs == ("normalize",)
    assert {graph.tensors[name].dtype for name in graph.constants} == {"float16"}


def test_bytes_between_kernels_are_those_counted_by_hand() -> None:
    unit = 4 * 64 * 384 * 2  # a float16 tensor of the model's width
    # written and read once each: the products, biases, attention, gelu (4 wide), residuals;
    # the norm between attention and feed-forward is read twice, that behind a layer four times, by the last pooling alone
    layer = unit * (2 * (3 + 3 + 1 + 3) + 3 + 2 * 4 * 3 + 2 * 3)
    pooled = 2 * 4 * 384 * 2
    assert minilm(4, 64).bytes_between() == unit * (2 * 3 + 5) + LAYERS * layer + unit * (5 * (LAYERS - 1) + 2) + pooled


def test_a_model_of_other_sizes(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(7)
    sizes = {"hidden_size": 36, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 50}
    config = BertConfig(vocab_size=61, max_position_embeddings=40, layer_norm_eps=1e-5, **sizes)
    model = BertModel(config).eval()
    for parameter in model.parameters():  # new models have biases of 0 and norms of 1
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    model.save_pretrained(tmp_path)
    ids = torch.randint(0, 61, (2, 40), dtype=torch.int32)
    mask = (torch.arange(40) < torch.tensor([[40], [11]])).int()
    graph = minilm(2, 40, dtype="float32", package_dir=tmp_path)
    assert graph.kernel_count == 6 + 18 * 2
    with torch.no_grad():
        hidden = model.double()(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = torch.stack([hidden[0].mean(0), hidden[1, :11].mean(0)])
    found = run(graph, {"input_ids": ids, "attention_mask": mask})["normalize"]
    assert (found - torch.nn.functional.normalize(mean, dim=1)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("batch", "sequence", "dtype", "message"),
    [
        (0, 64, "float16", "batch is 0, but must be at least 1"),
        (1, -3, "float16", "sequence is -3"),
        (1, 513, "float16", "sequence is 513, but the model has only 512 positions"),
        (1.5, 64, "float16", "batch is 1.5, but must be a whole number"),
        (1, 64, "float8_e4m3fn", "must be one of float16, bfloat16, float32"),
    ],
)
def test_sizes_that_make_no_sense(batch: int, sequence: int, dtype: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        minilm(batch, sequence, dtype=dtype)
