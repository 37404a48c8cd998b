// One run: its figures, where they come from, and the tool's own document as it was kept.
import { h } from "../dom.js";
import { minuteText } from "../names.js";

/** Metrics of a run: name → field of ResultMetrics. */
export const METRIC_FIELDS = [
  ["ttft_p50_ms", "ttftP50Ms"],
  ["ttft_p90_ms", "ttftP90Ms"],
  ["ttft_p95_ms", "ttftP95Ms"],
  ["ttft_p99_ms", "ttftP99Ms"],
  ["tpot_p50_ms", "tpotP50Ms"],
  ["tpot_p90_ms", "tpotP90Ms"],
  ["tpot_p95_ms", "tpotP95Ms"],
  ["tpot_p99_ms", "tpotP99Ms"],
  ["throughput_tokens_sec", "throughputTokensSec"],
  ["rps_sustained", "rpsSustained"],
  ["accuracy_score", "accuracyScore"],
  ["memory_used_gb", "memoryUsedGb"],
];

/** The figures that a run has, by name. */
export const cellsOf = ({ metrics = {} }) =>
  new Map(METRIC_FIELDS.filter(([, field]) => metrics[field] !== undefined).map(([name, field]) => [name, metrics[field]]));

const PERCENTILES = {
  MEASURED: "as the tool reported them",
  COMPUTED_FROM_SAMPLES: "computed from the samples of all requests",
  ABSENT: "none were reported",
};

/** Everything else that is kept of a run. */
export function runDetail(run) {
  const source = (run.percentileSource ?? "").replace("PERCENTILE_SOURCE_", "");
  const rows = [
    ["Percentiles", PERCENTILES[source]],
    ["Requests", requests(run)],
    ["GPU use", run.metrics?.gpuUtilizationPct !== undefined && `${run.metrics.gpuUtilizationPct}%`],
    ["Batch size", run.batchSize],
    ["Sketches", [run.ttftSketch && "TTFT", run.tpotSketch && "TPOT"].filter(Boolean).join(" and ")],
    ["Document’s SHA-256", run.sourceSha256 && hex(run.sourceSha256)],
    ["Stored", minuteText(run.createTime)],
    ["Stream", run.streamId],
    ["Result id", run.id],
  ];
  return h(
    "div",
    { class: "run" },
    h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
    run.detailedMetricsJson
      ? [h("h3", {}, "What the tool wrote"), h("pre", { tabindex: 0, "aria-label": "What the tool wrote" }, h("code", {}, indented(run.detailedMetricsJson)))]
      : h("p", { class: "muted" }, "Nothing else of the tool’s document was kept."),
  );
}

function requests({ requestCount, failedRequestCount }) {
  if (requestCount === undefined) return "";
  const failed = failedRequestCount === undefined ? "" : `, ${Number(failedRequestCount).toLocaleString("en-US")} failed`;
  return `${Number(requestCount).toLocaleString("en-US")} with output${failed}`;
}

const hex = (base64) => [...atob(base64)].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");

function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
