"""Which importer reads a document, and the message when none does."""

from collections.abc import Iterator
from typing import Any

from servemark.importers import (
    aiperf,
    guidellm,
    inference_perf,
    jsonl,
    llmperf,
    sglang,
    vllm,
    vllm_offline,
)
from servemark.importers.base import FORMAT_UNKNOWN, Document, Imported, Importer, Rejection
from servemark.importers.context import Context

IMPORTERS: dict[str, Importer] = {
    importer.name: importer
    for importer in (
        vllm.importer,
        vllm_offline.throughput_importer,
        vllm_offline.latency_importer,
        sglang.importer,
        guidellm.importer,
        aiperf.importer,
        inference_perf.importer,
        llmperf.summary_importer,
        llmperf.individual_importer,
        jsonl.importer,
    )
}
FORMATS = ("auto", *IMPORTERS)


def read_document(
    document: Document, context: Context, file_format: str = "auto"
) -> Iterator[Imported | Rejection]:
    """What a document's importer makes of it; a rejection if no importer recognises it.

    file_format: a name of FORMATS. A named format is held to its markers too: a file of another
    tool read by force would give wrong figures, not an error.
    """
    candidates = list(IMPORTERS.values()) if file_format == "auto" else [IMPORTERS[file_format]]
    for importer in candidates:
        if importer.recognises(document.data):
            for outcome in importer.records(document, context):
                if isinstance(outcome, Rejection):
                    yield outcome
                else:
                    yield Imported(outcome, document.place, importer.name)
            return
    yield Rejection(FORMAT_UNKNOWN, _unknown(document.data, candidates), document.place)


def _unknown(data: Any, candidates: list[Importer]) -> str:
    looked_for = "; ".join(importer.markers for importer in candidates)
    if isinstance(data, dict):
        found = f"an object with the keys {', '.join(list(map(str, data))[:8]) or '(none)'}"
    else:
        found = f"a JSON {type(data).__name__}"
    return f"Not a known result format. Looked for: {looked_for}. Found: {found}."
