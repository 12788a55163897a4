"""Which of the recipes that the cost model likes is really the fastest: compiled, and timed on the device that is there."""
