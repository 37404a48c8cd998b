"""MLPerf's `summary_results.json`: every result of a round, one object each.

Read from the files of mlcommons/inference_results_v4.1 and later. One figure a result, in the unit
beside it; accelerators are counted for one node.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import (
    NO_METRICS,
    RUN_FAILED,
    Document,
    Rejection,
    canonical_sha256,
    finish,
)
from servemark.importers.context import Context
from servemark.importers.mlperf import rates, workload
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number, positive, text

# "vLLM 0.4.3+rocm614, PyTorch 2.3.0, ROCm 6.1.2": the first is the engine.
_SOFTWARE = re.compile(r"([A-Za-z][\w .-]*?)\s+v?(\d[\w.+-]*)\s*(?:,|$)")


class MlperfSummaryImporter:
    """Reads one published result."""

    name = "mlperf-summary"
    markers = "MLPerf summary_results.json (Submitter, Scenario, Performance_Result, …)"

    def recognises(self, document: Any) -> bool:
        """Whether the document is one result of a round."""
        return isinstance(document, Mapping) and {
            "Submitter",
            "Model",
            "Scenario",
            "Performance_Result",
            "Performance_Units",
        } <= set(document)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a result, or the reason there is none."""
        data = document.data
        model, unit = str(data.get("Model") or ""), str(data.get("Performance_Units") or "")
        figure = number(data.get("Performance_Result"))
        if (number(data.get("errors")) or 0) > 0:
            yield Rejection(RUN_FAILED, f"{data['errors']} errors were logged.", document.place)
            return
        found, notes = rates(model, unit, figure) if figure is not None else ({}, [])
        if not found:
            yield Rejection(
                NO_METRICS,
                f"{unit[:64] or 'A result without a unit'} is neither a throughput nor a percentile"
                " of TTFT or TPOT.",
                document.place,
            )
            return
        nodes, accelerators = number(data.get("Nodes")), number(data.get("a#"))
        software = _SOFTWARE.match(text(data.get("Software")) or "")
        values: dict[str, Any] = {
            "tool": "mlperf",
            **found,
            "model": model or None,
            "hardware": text(data.get("Accelerator")),
            "quantization": _weights(data.get("weight_data_types")),
            "gpu_count": None if accelerators is None or nodes is None else accelerators * nodes,
            # Extrapolated from the run of another scenario.
            "provenance": "estimated" if positive(data.get("inferred")) else None,
            "source_sha256": canonical_sha256(data),
            "detailed_metrics": detailed(reported(data.items()), notes=notes),
        }
        presumed = {
            "framework": software[1] if software else None,
            "framework_version": software[2] if software else None,
            "workload_type": workload(model, str(data.get("Scenario"))),
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _weights(value: Any) -> str | None:
    name = text(value)
    return None if name is None or name.upper() in ("UNSET", "N/A") else name


importer = MlperfSummaryImporter()
