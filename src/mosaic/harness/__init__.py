"""The judge: inputs, tolerances that follow from dtypes and reduction lengths, and verification against them.

Nothing is imported here: what runs in a sandbox, and what starts it, needs no PyTorch.
"""
