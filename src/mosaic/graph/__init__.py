"""Graphs of kernels: what each node computes, not how."""

from __future__ import annotations

from mosaic.graph.graph import Graph, Node, Tensor
from mosaic.graph.kernel import Binding, Kernel, Role, Spec, Value, find, kernel, registered
from mosaic.graph.reference import run
from mosaic.graph.serialize import KernelChangedWarning, from_json, load, save, to_json

__all__ = [
    "Binding",
    "Graph",
    "Kernel",
    "KernelChangedWarning",
    "Node",
    "Role",
    "Spec",
    "Tensor",
    "Value",
    "find",
    "from_json",
    "kernel",
    "load",
    "registered",
    "run",
    "save",
    "to_json",
]
