"""aiconfigurator's `best_config_topn.csv` and `pareto.csv`, and its table of real measurements.

Read from src/aiconfigurator/sdk/common.py of ai-dynamo/aiconfigurator (ColumnsAgg, ColumnsDisagg):
an analytic model's estimates, one value for each latency in milliseconds. One value is no
percentile. The real measurements (`silicon_ttft_ms`) are means too: tools of the repository fill
them from `mean_ttft`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import NO_METRICS, Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context
from servemark.importers.names import precision, version
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number, positive, text

NOTE_POINT = "the model's ttft and tpot are one value each and no percentiles; they stay here"


class AiconfiguratorImporter:
    """Reads one estimated configuration."""

    name = "aiconfigurator"
    markers = "aiconfigurator (model, isl, osl, ttft, tpot, tokens/s, num_total_gpus)"

    def recognises(self, document: Any) -> bool:
        """Whether the row has the columns of a summary."""
        return isinstance(document, Mapping) and {
            "model",
            "isl",
            "osl",
            "tokens/s/gpu",
            "num_total_gpus",
        } <= set(document)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a row, or the reason there is none."""
        row = document.data
        gpus, per_gpu = positive(row.get("num_total_gpus")), number(row.get("tokens/s/gpu"))
        output = number(row.get("tokens/s"))
        if output is None and gpus and per_gpu is not None:
            output = per_gpu * gpus
        values: dict[str, Any] = {
            "tool": "aiconfigurator",
            "model": text(row.get("model")),
            # A disaggregated row names both sides; where they differ, the user says which counts.
            "hardware": _same(row, "system"),
            "framework": _same(row, "backend"),
            "framework_version": version(_same(row, "version")),
            "quantization": precision(_same(row, "gemm")),
            "gpu_count": gpus,
            "input_tokens": positive(row.get("isl")),
            "output_tokens": positive(row.get("osl")),
            "concurrency": positive(row.get("concurrency")),
            "parallelism": _parallelism(row),
            "batch_size": positive(row.get("bs")),
            "throughput_tokens_sec": output,
            "rps_sustained": number(row.get("seq/s")),
            "provenance": "estimated",
            "source_sha256": canonical_sha256(row),
            "detailed_metrics": detailed(
                reported(
                    (key, value if (figure := number(value)) is None else figure)
                    for key, value in row.items()
                ),
                notes=[NOTE_POINT],
            ),
        }
        yield finish(values, document, context, {"workload_type": "synthetic"})


class SiliconImporter:
    """Recognises the table of real measurements, which has means only."""

    name = "aiconfigurator-silicon"
    markers = "aiconfigurator measurements (silicon_ttft_ms, silicon_tpot_ms)"

    def recognises(self, document: Any) -> bool:
        """Whether the row has the columns of a measured point."""
        return isinstance(document, Mapping) and {"silicon_ttft_ms", "silicon_tpot_ms"} <= set(
            document
        )

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """Why there is no record: a mean is no percentile, and there is nothing else."""
        yield Rejection(
            NO_METRICS,
            "silicon_ttft_ms and silicon_tpot_ms are means, and a mean is no percentile; the row"
            " has no throughput either. A mapping (--mapping) can declare them as what you know"
            " them to be.",
            document.place,
        )


def _same(row: Mapping[str, Any], key: str) -> str | None:
    found = {name for prefix in ("", "(p)", "(d)") if (name := text(row.get(prefix + key)))}
    return found.pop() if len(found) == 1 else None


def _parallelism(row: Mapping[str, Any]) -> dict[str, float] | None:
    degrees = {key: positive(row.get(key)) for key in ("tp", "pp", "dp")}
    degrees["ep"] = positive(row.get("moe_ep"))
    return {key: degree for key, degree in degrees.items() if degree is not None} or None


summary_importer = AiconfiguratorImporter()
silicon_importer = SiliconImporter()
