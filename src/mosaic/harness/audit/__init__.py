"""The audit: a corpus of cheats, honest controls and honest mistakes, run through the judge."""
