"""Reading a TileLang PrimFunc as a program over tiles: grid, buffers, and every access to device memory; and rewriting it."""
