"""How fast result files become records, next to parsing their JSON alone.

`import.rows_per_s.<format>`: results a second from the bytes of a file to the record and its id;
baseline: json.loads of the same bytes. A ratio of 0.5 means that reading costs as much again as
parsing. One line of FORMATS is all there is to a format.
"""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from servemark.importers.base import Document, Imported
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from tests.bench.harness import Bench, Figure, alternate, measure
from tests.support.importing import CONTEXT
from tests.support.result_documents import (
    GENAI_PERF,
    GUIDELLM_V0,
    GUIDELLM_V1,
    INFERENCE_PERF_UNSTREAMED,
    LLMPERF_INDIVIDUAL,
    SGLANG_PLAIN,
    VLLM_NEW,
    VLLM_THROUGHPUT,
    copy_of,
)

FILES = 50
"""Files that a turn reads; of those with every request, fewer."""
REQUESTS = 500
TOKENS = 100


def vllm_detailed() -> Any:
    """A file of `--save-detailed`."""
    drawn = random.Random(1)
    gaps = [[drawn.uniform(0.01, 0.03) for _ in range(TOKENS - 1)] for _ in range(REQUESTS)]
    ttfts = [drawn.uniform(0.1, 3) for _ in range(REQUESTS)]
    return VLLM_NEW | {
        "ttfts": ttfts,
        "itls": gaps,
        "latencies": [ttft + sum(each) for ttft, each in zip(ttfts, gaps, strict=True)],
        "output_lens": [TOKENS] * REQUESTS,
        "input_lens": [1000] * REQUESTS,
        "errors": [""] * REQUESTS,
        "generated_texts": ["word " * TOKENS] * REQUESTS,
    }


def guidellm_with_requests() -> Any:
    """A report of version 0.3, with every request."""
    report = copy_of(GUIDELLM_V0)
    (benchmark,) = report["benchmarks"]
    request = {**benchmark["requests"]["successful"][0], "output": "word " * TOKENS}
    benchmark["requests"]["successful"] = [request] * REQUESTS
    benchmark["request_totals"]["successful"] = REQUESTS
    return report


def llmperf_responses() -> Any:
    """The individual responses of a run."""
    return LLMPERF_INDIVIDUAL * (REQUESTS // len(LLMPERF_INDIVIDUAL))


FORMATS: dict[str, Callable[[], Any]] = {
    "vllm": lambda: VLLM_NEW,
    "vllm_detailed": vllm_detailed,
    "vllm_throughput": lambda: VLLM_THROUGHPUT,
    "sglang": lambda: SGLANG_PLAIN,
    "guidellm": lambda: GUIDELLM_V1,
    "guidellm_requests": guidellm_with_requests,
    "genai_perf": lambda: GENAI_PERF,
    "inference_perf": lambda: INFERENCE_PERF_UNSTREAMED,
    "llmperf_individual": llmperf_responses,
}
"""A document of each format by the format's name."""


def rows_per_s(bench: Bench, document: Callable[[], Any]) -> Figure:
    """Results a second of so many files with the same document."""
    content = json.dumps(document()).encode()
    # A megabyte of them is enough to time.
    files = [content] * max(3, min(FILES, 1_000_000 // len(content)))
    context = Context.from_values(CONTEXT)

    def read() -> int:
        rows = 0
        for file in files:
            parsed = Document(json.loads(file), Path("result.json"), "ab" * 32)
            for outcome in read_document(parsed, context):
                assert isinstance(outcome, Imported), outcome
                outcome.record.id()
                rows += 1
        return rows

    def parse() -> None:
        for file in files:
            json.loads(file)

    rows = read()
    subject, baseline = alternate(read, parse, bench.rounds)
    note = f"{len(content) / 1000:,.1f} kB a file"
    return Figure(rows / subject, rows / baseline, larger_is_better=True, note=note)


for _name, _document in FORMATS.items():
    measure(f"import.rows_per_s.{_name}", unit="1/s")(partial(rows_per_s, document=_document))
