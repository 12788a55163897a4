"""Graphs of real models, made of the kernels that ship; and what their results are compared with.

minilm.py      the graph of the MiniLM sentence encoder
checkpoint.py  a model's files: finding them, its configuration, its weights
encode.py      sentences as token ids and masks
reference.py   the embeddings that the original model gives
sentences.py   real sentences, and which of them are nearest to which
"""
