"""SGLang's `python -m sglang.bench_serving --output-file`, with and without `--output-details`.

Read from python/sglang/benchmark/serving.py: a line of JSON for each run, appended to one file;
latencies in milliseconds, in the arrays of the details in seconds. The file has no date.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection
from servemark.importers.context import Context
from servemark.importers.serving import read_run
from servemark.importers.values import at, number, positive, text

_DEGREES = {"tp": "tp_size", "pp": "pp_size", "dp": "dp_size", "ep": "ep_size"}


class SglangImporter:
    """Reads the lines of SGLang's serving benchmark."""

    name = "sglang"
    markers = "SGLang bench_serving (backend, completed, duration, mean_e2e_latency_ms)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has SGLang's keys: its end-to-end latency is e2e, not e2el."""
        return (
            isinstance(document, Mapping)
            and {"backend", "completed", "duration", "mean_e2e_latency_ms"} <= document.keys()
            and "median_ttft_ms" in document
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a line, or the reason there is none."""
        data = document.data
        # How many were sent, and so how many failed, is not in the file.
        counts = {"request_count": number(data.get("completed"))}
        yield read_run(document, context, tool="sglang", counts=counts, presumed=_presumed(data))


def _presumed(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the line suggests: the data set, and of its own server also model and version."""
    dataset = text(data.get("dataset_name"))
    presumed: dict[str, Any] = {"provenance": "measured", "workload_type": dataset}
    # Below 1, lengths are drawn between that share and the whole of what was asked for.
    if dataset is not None and dataset.startswith("random") and _all_one_length(data):
        presumed["input_tokens"] = positive(data.get("random_input_len"))
        presumed["output_tokens"] = positive(data.get("random_output_len"))
    server = data.get("server_info")
    if text(at(server, "model_path")) is None:
        return presumed
    degrees = {key: positive(at(server, name)) for key, name in _DEGREES.items()}
    return presumed | {
        "model": at(server, "model_path"),
        "framework": "sglang",
        "framework_version": text(at(server, "version")),
        "quantization": text(at(server, "quantization")),
        "parallelism": {key: degree for key, degree in degrees.items() if degree},
    }


def _all_one_length(data: Mapping[str, Any]) -> bool:
    return number(data.get("random_range_ratio")) == 1


importer = SglangImporter()
