"""llama.cpp's `llama-bench -o json`, `jsonl` or `csv`: one test a row.

Read from tools/llama-bench of ggml-org/llama.cpp: nanoseconds for one repetition, tokens per second
over prompt and generated tokens together. A few repetitions have no percentiles.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from servemark.client.records import ResultRecord
from servemark.importers.base import NO_METRICS, Document, Rejection, canonical_sha256, finish
from servemark.importers.context import Context
from servemark.importers.reported import detailed, reported
from servemark.importers.values import number, positive, text

NOTE_SHARE = "avg_ts counts the prompt's tokens too; throughput_tokens_sec is the generated ones'"

# "qwen2 7B Q4_K - Medium": the quantization is what follows the size.
_TYPE = re.compile(r"\b(I?Q\d\w*|TQ\d\w*|MXFP4|BF16|F16|F32)(?:.* - (Small|Medium|Large))?", re.I)


class LlamaBenchImporter:
    """Reads one test: prompt processing (pp), text generation (tg) or both (pg)."""

    name = "llama-bench"
    markers = "llama-bench (build_commit, model_type, n_prompt, n_gen, avg_ns, avg_ts)"

    def recognises(self, document: Any) -> bool:
        """Whether the document is one test of llama-bench."""
        return isinstance(document, Mapping) and {
            "build_commit",
            "n_prompt",
            "n_gen",
            "avg_ns",
            "avg_ts",
        } <= set(document)

    def records(self, document: Document, context: Context) -> Iterator[ResultRecord | Rejection]:
        """The one record of a test that generates tokens, or the reason there is none."""
        data = document.data
        prompt, generated = number(data.get("n_prompt")) or 0, number(data.get("n_gen")) or 0
        rate = number(data.get("avg_ts"))
        if generated <= 0 or prompt < 0:
            yield Rejection(
                NO_METRICS,
                f"The test pp{prompt:g} only processes a prompt: it has no output tokens per"
                " second, and no percentile of the time to the first token.",
                document.place,
            )
            return
        repetitions = data.get("samples_ns")
        values: dict[str, Any] = {
            "tool": "llama-bench",
            "tool_version": _build(data),
            "framework": "llama.cpp",
            "framework_version": _build(data),
            "quantization": _quantization(data.get("model_type")),
            "format": "gguf",
            "benchmarked_at": text(data.get("test_time")),
            "concurrency": 1,
            "batch_size": 1,
            # What lies in the context before the test counts as input.
            "input_tokens": prompt + (number(data.get("n_depth")) or 0),
            "output_tokens": generated,
            "throughput_tokens_sec": (
                None if rate is None else rate * (generated / (prompt + generated))
            ),
            "request_count": len(repetitions) if isinstance(repetitions, list) else None,
            "source_sha256": canonical_sha256(data),
            "detailed_metrics": detailed(
                reported(data.items()), notes=[NOTE_SHARE] if prompt else []
            ),
        }
        gpus = _names(data.get("gpu_info"))
        presumed = {
            "model": _file_name(data.get("model_filename")) or text(data.get("model_type")),
            "hardware": gpus[0] if gpus else text(data.get("cpu_info")),
            "gpu_count": (1 if data.get("split_mode") == "none" else len(gpus)) or None,
            "workload_type": "synthetic",
            "provenance": "measured",
        }
        yield finish(values, document, context, presumed)


def _build(data: Mapping[str, Any]) -> str | None:
    """The release as llama.cpp tags it."""
    build = positive(data.get("build_number"))
    return f"b{build:.0f}" if build else text(data.get("build_commit"))


def _names(value: Any) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()] if text(value) else []


def _file_name(value: Any) -> str | None:
    name = text(value)
    return PurePosixPath(name.replace("\\", "/")).name or None if name else None


def _quantization(value: Any) -> str | None:
    """q4_k_m of "qwen2 7B Q4_K - Medium", f16 of "llama 8B F16"."""
    found = _TYPE.search(value) if isinstance(value, str) else None
    if found is None:
        return None
    size = f"_{found[2][0]}" if found[2] else ""
    return f"{found[1]}{size}".lower()


importer = LlamaBenchImporter()
