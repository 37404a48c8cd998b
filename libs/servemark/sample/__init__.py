"""The catalog and the measured results that ship with Servemark, as data files; README.md says where each figure comes from.

Read them with `importlib.resources.files("servemark.sample")`: `catalog/*.json`, `results/*.jsonl` (measured) and
`results-simulated/*.jsonl` (never in a default ranking).
"""
