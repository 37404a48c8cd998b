"""Which importer reads a document, and the message when none does."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from servemark.importers import (
    aiconfigurator,
    aiperf,
    guidellm,
    inference_perf,
    inferencex,
    jsonl,
    llama_bench,
    llmd_report,
    llmperf,
    mlperf_log,
    mlperf_summary,
    mlperf_table,
    optimum,
    planner,
    sglang,
    vllm,
    vllm_offline,
)
from servemark.importers.base import (
    FIELD_INVALID,
    FORMAT_UNKNOWN,
    Document,
    Imported,
    Importer,
    Rejection,
    canonical_sha256,
)
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
        inferencex.importer,
        llmd_report.importer,
        optimum.importer,
        llama_bench.importer,
        mlperf_log.importer,
        mlperf_summary.importer,
        mlperf_table.importer,
        planner.importer,
        aiconfigurator.summary_importer,
        aiconfigurator.silicon_importer,
        jsonl.importer,
    )
}
FORMATS = ("auto", *IMPORTERS)
# A list of results shows by its first elements what it is.
_PEEKED = 10


def read_document(
    document: Document,
    context: Context,
    file_format: str = "auto",
    mapping: Importer | None = None,
) -> Iterator[Imported | Rejection]:
    """What a document's importer makes of it; a rejection if no importer recognises it.

    file_format: a name of FORMATS. A named format is held to its markers too: a file of another
    tool read by force would give wrong figures, not an error. mapping: reads the
    document instead, as its file says.
    """
    candidates = list(IMPORTERS.values()) if file_format == "auto" else [IMPORTERS[file_format]]
    if mapping is not None:
        candidates = [mapping]
    try:
        yield from _read(document, context, candidates)
    except RecursionError:
        yield Rejection(FIELD_INVALID, "The document is nested too deep.", document.place)


def _read(
    document: Document, context: Context, candidates: list[Importer]
) -> Iterator[Imported | Rejection]:
    for part in _parts(document, candidates):
        importer = _importer_of(part.data, candidates)
        if importer is None:
            yield Rejection(FORMAT_UNKNOWN, _unknown(part.data, candidates), part.place)
            continue
        for outcome in importer.records(part, context):
            if isinstance(outcome, Rejection):
                yield replace(outcome, file_format=importer.name)
            else:
                yield Imported(outcome, part.place, importer.name)


def _parts(document: Document, candidates: list[Importer]) -> Iterator[Document]:
    """The document, or the elements of a list of results that no importer takes as a whole."""
    data = document.data
    if (
        not isinstance(data, list)
        or _importer_of(data, candidates) is not None
        or not any(_importer_of(element, candidates) for element in data[:_PEEKED])
    ):
        yield document
        return
    for number, element in enumerate(data, start=1):
        yield replace(document, data=element, sha256=canonical_sha256(element), line=number)


def _importer_of(data: Any, candidates: list[Importer]) -> Importer | None:
    return next((importer for importer in candidates if importer.recognises(data)), None)


def _unknown(data: Any, candidates: list[Importer]) -> str:
    looked_for = "; ".join(importer.markers for importer in candidates)
    if isinstance(data, dict):
        found = f"an object with the keys {', '.join(list(map(str, data))[:8]) or '(none)'}"
    elif isinstance(data, list):
        found = "a list"
    else:
        found = f"a {type(data).__name__}"
    return (
        f"Not a known result format. Found: {found}. Looked for: {looked_for}. Another format is"
        " read with --mapping FILE, which says where each figure lies; see"
        " servemark/importers/README.md."
    )
