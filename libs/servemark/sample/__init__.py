"""The catalog and the results that ship with Servemark, as data files without a loader.

`catalog/*.json`, `results/*.jsonl` (measured) and `results-simulated/*.jsonl` (never in a default
ranking) are read with `importlib.resources.files("servemark.sample")`. README.md says where each
figure comes from, how it was carried over, and what was left out.
"""
