"""The main job: real sentences through the fused MiniLM encoder, compared with the original model's embeddings.

The original is Hugging Face's model in float64, each sentence alone and without padding; the fused program takes batches in which
every sentence is padded to the graph's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mosaic.errors import VerificationError

if TYPE_CHECKING:
    import torch

    from mosaic.graph.graph import Graph
    from mosaic.pipeline import Fused

SETTINGS: Final[dict[str, Any]] = {"batch": 2, "sequence": 256}
"""What `mosaic fuse minilm` takes if it is not told otherwise: the longest sentence (237 tokens) fits, and every batch is padded."""

LEAST_COSINE: Final = {"float16": 0.9999, "float32": 0.9999, "bfloat16": 0.999}
"""What every embedding must reach, by the dtype of weights and activations. The last is a lower bar: bfloat16 rounds 8 times as
coarsely as float16."""

RANKED: Final = 3
"""Nearest sentences whose order must not change."""


@dataclass(frozen=True)
class Quality:
    """The fused program's embeddings against the original's.

    tokens: fewest and most of a sentence. cut: sentences that were cut off at the graph's length (in both). cosines: of each embedding
    with the original's. largest_error: of any element. changed: sentences whose `RANKED` nearest others are not those of the original
    in the same order.
    """

    sentences: int
    batches: int
    batch: int
    length: int
    tokens: tuple[int, int]
    padding: float
    cut: int
    cosines: tuple[float, ...]
    largest_error: float
    changed: int
    dtype: str

    @property
    def least_cosine(self) -> float:
        return min(self.cosines)

    @property
    def close(self) -> int:
        """Embeddings whose cosine with the original's is at least 0.9999."""
        return sum(cosine >= 0.9999 for cosine in self.cosines)

    def raise_if_wrong(self) -> None:
        """Raises VerificationError if an embedding is too far from the original's or a ranking changed."""
        if not self.least_cosine >= LEAST_COSINE[self.dtype]:
            least = LEAST_COSINE[self.dtype]
            raise VerificationError(
                f"an embedding's cosine with the original model's is {self.least_cosine:.6f}, but must be at least {least}"
            )
        if self.changed and self.dtype != "bfloat16":
            raise VerificationError(f"the {RANKED} nearest sentences of {self.changed} sentences are not those of the original model")

    def figures(self) -> tuple[tuple[str, str, str], ...]:
        """What there is to tell: a name, a value and a remark each."""
        cut = f"; {self.cut} longer than {self.length} cut off, also for the original" if self.cut else ""
        return (
            (
                "real sentences",
                str(self.sentences),
                f"of {self.tokens[0]} to {self.tokens[1]} tokens, in {self.batches} batches of {self.batch} by {self.length}, "
                f"{self.padding:.0%} of that padding{cut}",
            ),
            ("largest error of an embedding's element", f"{self.largest_error:.2e}", "against the original model in float64"),
            (
                "least cosine similarity with the original",
                f"{self.least_cosine:.7f}",
                f"{self.close} of {self.sentences} are at least 0.9999",
            ),
            (
                f"{RANKED} nearest sentences of each",
                "unchanged" if not self.changed else f"changed for {self.changed}",
                "the same ones in the same order as with the original",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "sentences": self.sentences,
            "tokens": list(self.tokens),
            "batch": self.batch,
            "length": self.length,
            "padding": self.padding,
            "cut": self.cut,
            "largest_error": self.largest_error,
            "least_cosine": self.least_cosine,
            "cosines_from_0.9999": self.close,
            "rankings_changed": self.changed,
        }


def shape_of(graph: Graph) -> tuple[int, int]:
    """Batch and sequence of a MiniLM graph."""
    batch, length = graph.tensors["input_ids"].shape
    return batch, length


def batches(graph: Graph, sentences: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    """The graph's inputs for all sentences, batch by batch; a last one that is not full is filled up with the first sentences."""
    from mosaic.models.encode import encode

    size, length = shape_of(graph)
    filled = [*sentences, *(sentences[i % len(sentences)] for i in range(-len(sentences) % size))]
    encoded = encode(filled, max_length=length, length=length)
    return [{name: tensor[start : start + size] for name, tensor in encoded.items()} for start in range(0, len(filled), size)]


def embed(fused: Fused, inputs: Sequence[dict[str, torch.Tensor]], count: int) -> torch.Tensor:
    """The first `count` embeddings, float64 on the CPU."""
    import torch

    assert fused.program is not None
    (name,) = fused.graph.outputs
    device = fused.program.device
    found = [fused.run({key: tensor.to(device) for key, tensor in batch.items()})[name].to("cpu", torch.float64) for batch in inputs]
    return torch.cat(found)[:count]


def compare(graph: Graph, sentences: Sequence[str], inputs: Sequence[dict[str, torch.Tensor]], found: torch.Tensor) -> Quality:
    """The embeddings that were found against the original model's, which are computed here."""
    import torch

    from mosaic.models.encode import encode
    from mosaic.models.reference import reference_embeddings
    from mosaic.models.sentences import nearest

    size, length = shape_of(graph)
    wanted = reference_embeddings(sentences, max_length=length).to(torch.float64)
    whole = encode(sentences, max_length=4096)["attention_mask"].sum(1).tolist()
    used = sum(int(batch["attention_mask"].sum()) for batch in inputs)
    changed = (nearest(found, RANKED) != nearest(wanted, RANKED)).any(1)
    (output,) = graph.outputs
    return Quality(
        sentences=len(sentences),
        batches=len(inputs),
        batch=size,
        length=length,
        tokens=(min(whole), max(whole)),
        padding=1 - used / (len(inputs) * size * length),
        cut=sum(tokens > length for tokens in whole),
        cosines=tuple(torch.nn.functional.cosine_similarity(found, wanted, dim=1).tolist()),
        largest_error=float((found - wanted).abs().max()),
        changed=int(changed.sum()),
        dtype=graph.tensors[output].dtype,
    )
