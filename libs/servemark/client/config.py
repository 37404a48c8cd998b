"""What a result was measured on, by name."""

from typing import NamedTuple

from servemark.catalog.v1 import config_reference_pb2 as reference_pb2
from servemark.ingest.v1 import benchmark_config_pb2 as config_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2

MAX_CONFIGS = 1_000
"""Most configurations one stream's header may name."""


class Config(NamedTuple):
    """A configuration by the names that the catalog knows: equal ones are the same.

    `model_version`, `quantization`, `format` and `framework_version` may be left out as far as the
    others still name one version and one framework. Lengths are in tokens, `concurrency` is the
    most requests in flight, `request_rate` is in 1/s; None: not fixed. `tp`, `pp`, `dp`, `ep` are
    the degrees of tensor, pipeline, data and expert parallelism; 0: not known.
    """

    model: str
    hardware: str
    framework: str
    workload_type: str
    model_version: str | None = None
    quantization: str | None = None
    format: str | None = None
    framework_version: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None
    request_rate: float | None = None
    tp: int = 0
    pp: int = 0
    dp: int = 0
    ep: int = 0

    def to_proto(self) -> stream_pb2.ConfigSpec:
        """The configuration as a stream's header carries it."""
        return stream_pb2.ConfigSpec(
            reference=reference_pb2.ConfigReference(
                model_version=reference_pb2.ModelVersionReference(
                    model=self.model,
                    version=self.model_version or "",
                    quantization=self.quantization or "",
                    format=self.format or "",
                ),
                hardware=reference_pb2.HardwareReference(name=self.hardware),
                framework=reference_pb2.FrameworkReference(
                    name=self.framework, version=self.framework_version or ""
                ),
            ),
            workload=config_pb2.Workload(
                workload_type=self.workload_type,
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                concurrency=self.concurrency,
                request_rate=self.request_rate,
            ),
            parallelism=config_pb2.Parallelism(
                tensor=self.tp, pipeline=self.pp, data=self.dp, expert=self.ep
            ),
        )
