"""The categories that a packet may have: security, quantisation, serving, capacity."""

from __future__ import annotations

from typing import Literal

from mosaic.evidence.record import Count, Figure, Name, Record, Text


class Security(Record):
    """What stood between the candidate and its judge."""

    threat_model: Text
    sandbox: Text
    """The boundary: what the candidate could reach."""
    side_effects: Text
    """Which are allowed, and what became of the others."""
    isolation: Text
    """Which process holds the reference outputs, the seeds and the verdict."""
    profiler_access: bool
    cheat: Name | None = None
    """The signature that was found."""
    verdict: Literal["clean", "suspect", "cheat", "unaudited"]
    """The auditor's."""


class Format(Record):
    """How numbers are stored."""

    dtype: Name
    block: tuple[Count, ...] | None = None
    """Elements that share a scale, along each axis."""
    scale: Name | None = None
    """The dtype of the scales."""
    layout: Text | None = None
    """How values and scales lie in memory."""


class Quantisation(Record):
    """Formats, and whether the intended kernel ran."""

    weights: Format | None = None
    activations: Format | None = None
    cache: Format | None = None
    dequantised: Text
    """Where: in registers before the product, in a pass of its own, ..."""
    fallbacks: tuple[Text, ...]
    """What ran in another way than intended; empty if nothing did."""
    intended_kernel_ran: bool


class Latency(Record):
    """The distribution of one latency."""

    mean: Figure | None = None
    p50: Figure
    p95: Figure
    p99: Figure


class Serving(Record):
    """The engine that ran the model, and what its users saw."""

    engine: Name
    version: Name
    backend: Name
    connector: Name | None = None
    cache_tier: Name | None = None
    routing: Name | None = None
    prefix_hit_rate: Figure | None = None
    batch: dict[Name, Figure]
    """The shape of the load: requests, tokens in and out, concurrency."""
    ttft: Latency
    """Time to the first token."""
    tpot: Latency
    """Time per output token."""


class Capacity(Record):
    """What the run used."""

    gpu_time: Figure | None = None
    """GPU-seconds."""
    cpu_time: Figure | None = None
    energy: Figure | None = None
    cost: Figure | None = None
    accepted: Count | None = None
    """Tasks whose result was accepted."""
    retries: Count | None = None
