"""Tables in the code that follow the contract's enums and messages are complete."""

from google.protobuf.descriptor import FieldDescriptor

from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import PercentileSource, Provenance
from services.ingest.convert_query import COLUMN_OF_METRIC
from services.ingest.metrics import HIGHEST, LARGER_IS_BETTER, LATENCY_COLUMNS, METRIC_COLUMNS
from services.ingest.records import PERCENTILE_SOURCES, PROVENANCES
from services.ingest.store_compare import SAME_CONTENT
from services.ingest.tables import benchmark_results


def test_the_figures_are_the_fields_of_result_metrics_in_order() -> None:
    fields: list[FieldDescriptor] = list(ResultMetrics.DESCRIPTOR.fields)
    assert tuple(field.name for field in fields) == METRIC_COLUMNS
    assert [field.number for field in fields] == list(range(1, len(fields) + 1))
    assert METRIC_COLUMNS[: len(LATENCY_COLUMNS)] == LATENCY_COLUMNS
    assert set(HIGHEST) == set(METRIC_COLUMNS)


def test_every_metric_but_the_prices_has_a_column() -> None:
    priced = {
        Metric.METRIC_USD_PER_HOUR,
        Metric.METRIC_USD_PER_MILLION_TOKENS,
        Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS,
    }
    assert set(Metric.values()) - {0} - set(COLUMN_OF_METRIC) == priced
    assert set(METRIC_COLUMNS) - set(COLUMN_OF_METRIC.values()) == {"gpu_utilization_pct"}
    assert set(METRIC_COLUMNS) >= LARGER_IS_BETTER


def test_every_kind_of_result_has_a_word_at_its_number() -> None:
    assert [
        Provenance.Name(index + 1).removeprefix("PROVENANCE_").lower()  # type: ignore[arg-type]
        for index in range(len(PROVENANCES))
    ] == list(PROVENANCES)
    assert len(Provenance.values()) == len(PROVENANCES) + 1
    assert [
        PercentileSource.Name(index + 1).removeprefix("PERCENTILE_SOURCE_").lower()  # type: ignore[arg-type]
        for index in range(len(PERCENTILE_SOURCES))
    ] == list(PERCENTILE_SOURCES)
    assert len(PercentileSource.values()) == len(PERCENTILE_SOURCES) + 1


def test_every_column_of_a_result_is_content_or_follows_from_it() -> None:
    carried_by_the_id = {"id", "benchmarked_at", "benchmark_date"}
    carried_by_the_config = {
        "model_id",
        "model_version_id",
        "hardware_config_id",
        "framework_id",
        "workload_type",
        "sequence_length",
        "input_tokens",
        "output_tokens",
    }
    about_the_road = {"stream_id", "tool", "tool_version", "created_at"}
    rest = carried_by_the_id | carried_by_the_config | about_the_road
    assert set(benchmark_results.columns.keys()) == set(SAME_CONTENT) | rest
