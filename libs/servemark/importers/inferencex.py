"""InferenceX's aggregates: `agg_*.json`, and `agg_bmk.json`, which is an array of them.

Read from utils/process_result.py and utils/agentic of SemiAnalysisAI/InferenceX: latencies in
seconds, throughput for each GPU. Output is divided by the GPUs that decode, so a disaggregated run
has another divisor for it than for the total. Percentiles are those of the serving benchmark under
it, TPOT without the first token.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context
from servemark.importers.names import image_version
from servemark.importers.reported import detailed, reported
from servemark.importers.values import in_milliseconds, number, positive, text, truth

NOTE_PER_GPU = "throughput_tokens_sec is the file's figure for one GPU times the GPUs that decode"

# The reciprocal of a standard deviation: it means nothing.
_MEANINGLESS = "std_intvty"


class InferencexImporter:
    """Reads one aggregate: the figures of one configuration at one concurrency."""

    name = "inferencex"
    markers = "InferenceX aggregate (hw, conc, precision, tput_per_gpu, mean_ttft)"

    def recognises(self, document: Any) -> bool:
        """Whether the document has InferenceX's names of hardware, load and throughput."""
        return isinstance(document, Mapping) and {"hw", "conc", "precision", "tput_per_gpu"} <= set(
            document
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of an aggregate, or the reason there is none."""
        data = document.data
        total, decoding = _gpus(data)
        output = number(data.get("output_tput_tps"))
        notes = []
        if output is None:
            output = _times(
                number(data.get("output_tput_per_gpu")),
                decoding or number(context.stated().get("gpu_count")),
            )
            notes = [NOTE_PER_GPU] if output is not None else []
        successful = number(data.get("num_requests_successful"))
        started = number(data.get("num_requests_total"))
        values: dict[str, Any] = {
            "tool": "inferencex",
            **_percentiles(data),
            "framework": text(data.get("framework")),
            "quantization": text(data.get("precision")),
            "gpu_count": total,
            "input_tokens": number(data.get("isl")),
            "output_tokens": number(data.get("osl")),
            "concurrency": positive(data.get("conc")),
            "parallelism": _parallelism(data),
            "throughput_tokens_sec": output,
            "rps_sustained": number(data.get("mean_qps")),
            "request_count": successful,
            "failed_request_count": (
                max(started - successful, 0)
                if started is not None and successful is not None
                else None
            ),
            # The same in its own file and as an element of agg_bmk.json: one result.
            "source_sha256": canonical_sha256(data),
            "detailed_metrics": detailed(
                reported(item for item in data.items() if item[0] != _MEANINGLESS), notes=notes
            ),
        }
        presumed = {
            "model": text(data.get("model")),
            "hardware": _hardware(data.get("hw")),
            "framework_version": image_version(data.get("image")),
            # Its serving benchmark sends random tokens of the lengths named.
            "workload_type": text(data.get("scenario_type")) or "random",
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _gpus(data: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """How many GPUs there are, and how many of them decode."""
    prefill, decode = positive(data.get("num_prefill_gpu")), positive(data.get("num_decode_gpu"))
    if truth(data.get("disagg")) or (truth(data.get("is_multinode")) and prefill):
        if prefill is None:
            return None, decode
        # Without GPUs of their own for decoding, the same ones do both.
        return prefill + (decode or 0), decode or prefill
    total = positive(data.get("tp"))
    for key in ("pp", "pcp_size"):
        total = _times(total, positive(data.get(key)) or 1)
    return total, total


def _times(figure: float | None, factor: float | None) -> float | None:
    return None if figure is None or factor is None else figure * factor


def _percentiles(data: Mapping[str, Any]) -> dict[str, float | None]:
    values = {}
    for metric in ("ttft", "tpot"):
        median = data.get(f"median_{metric}", data.get(f"p50_{metric}"))
        values[f"{metric}_p50_ms"] = in_milliseconds(median, "s")
        for percent in (90, 95, 99):
            figure = data.get(f"p{percent}_{metric}")
            values[f"{metric}_p{percent}_ms"] = in_milliseconds(figure, "s")
    return values


def _parallelism(data: Mapping[str, Any]) -> dict[str, float] | None:
    """The degrees of a run whose GPUs all do the same; a disaggregated one has two sets."""
    if truth(data.get("disagg")):
        return None
    degrees = {key: positive(data.get(key)) for key in ("tp", "pp", "ep")}
    return {key: degree for key, degree in degrees.items() if degree is not None} or None


def _hardware(value: Any) -> str | None:
    """The GPU's name without that of the cluster: b200 of b200-dgxc, mi355x of mi355x-amds_07."""
    name = text(value)
    return re.split(r"[-_]", name.strip(), maxsplit=1)[0] or None if name else None


importer = InferencexImporter()
