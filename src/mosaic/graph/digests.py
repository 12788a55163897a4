"""Content addresses: SHA-256 digests, in hexadecimal, of constants and of whole graphs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from mosaic.dtypes import dtype as find_dtype

if TYPE_CHECKING:
    from mosaic.graph.graph import Graph


def constant_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a dense tensor's dtype, shape and bytes in row-major order. Raises GraphError for an unknown dtype."""
    head = json.dumps([find_dtype(tensor.dtype).name, list(tensor.shape)])
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest = hashlib.sha256(head.encode() + b"\0")
    digest.update(content.numpy().data)
    return digest.hexdigest()


def kernel_digests(graph: Graph) -> dict[str, str]:
    """The digest of each node's kernel, by the node's name; each kernel's source is read once."""
    kernels = {node.name: node.kernel for node in graph.nodes if node.kernel is not None}
    known = {id(kernel): kernel for kernel in kernels.values()}
    digests = {key: kernel.digest() for key, kernel in known.items()}
    return {name: digests[id(kernel)] for name, kernel in kernels.items()}


def graph_digest(graph: Graph) -> str:
    """SHA-256 of the graph's structure and names, its kernels' digests and its constants' digests."""
    kernels = kernel_digests(graph)
    nodes = []
    for node in graph.nodes:
        code = "view" if node.kernel is None else [node.kernel.name, kernels[node.name]]
        nodes.append([node.name, code, node.inputs, node.outputs, dict(node.attributes)])
    tensors = [[tensor.name, tensor.kind, tensor.shape, tensor.dtype] for tensor in graph.tensors.values()]
    constants = [[name, graph.constant_digest(name)] for name in graph.constants]
    text = json.dumps([graph.name, tensors, constants, nodes, graph.outputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
