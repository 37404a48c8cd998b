"""The load of a configuration in words."""

from typing import Any

from servemark.cli.metrics import figure
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED, Provenance


def load_text(config: Any) -> str:
    """What the runs of a configuration were put under: `random, 1024/256 tokens, 32 in flight`."""
    workload = config.workload
    load = [workload.workload_type]
    if workload.HasField("input_tokens") and workload.HasField("output_tokens"):
        load.append(f"{workload.input_tokens}/{workload.output_tokens} tokens")
    if workload.HasField("concurrency"):
        load.append(f"{workload.concurrency} in flight")
    if workload.HasField("request_rate"):
        load.append(f"{figure(workload.request_rate)} req/s sent")
    if config.provenance != PROVENANCE_MEASURED:
        load.append(Provenance.Name(config.provenance).removeprefix("PROVENANCE_").lower())
    return ", ".join(load)
