// Metrics as people read them, and figures with no more digits than help to compare.

const MONEY = { money: true };
const MORE = { maximized: true };

/** name in the contract and in the address → what people call it. */
const KNOWN = {
  ttft_p50_ms: ["TTFT p50", "ms"],
  ttft_p90_ms: ["TTFT p90", "ms"],
  ttft_p95_ms: ["TTFT p95", "ms"],
  ttft_p99_ms: ["TTFT p99", "ms"],
  tpot_p50_ms: ["TPOT p50", "ms"],
  tpot_p90_ms: ["TPOT p90", "ms"],
  tpot_p95_ms: ["TPOT p95", "ms"],
  tpot_p99_ms: ["TPOT p99", "ms"],
  throughput_tokens_sec: ["tokens/s", "", MORE],
  rps_sustained: ["requests/s", "", MORE],
  accuracy_score: ["accuracy", "", MORE],
  memory_used_gb: ["memory", "GB"],
  usd_per_hour: ["USD/h", "", MONEY],
  usd_per_million_tokens: ["USD/M tokens", "", MONEY],
  usd_per_million_total_tokens: ["USD/M in+out tokens", "", MONEY],
};

/** Names of all metrics. */
export const METRICS = Object.keys(KNOWN);
/** Names of those that have no price in them: what runs measure. */
export const MEASURED = METRICS.filter((name) => !KNOWN[name][2]?.money);
/** Names of those a service level usually limits. */
export const LIMITABLE = METRICS.filter((name) => name !== "usd_per_hour");

/** `METRIC_TTFT_P50_MS` → `ttft_p50_ms`. */
export const nameOf = (metric) => metric.replace(/^METRIC_/, "").toLowerCase();
/** `ttft_p50_ms` → `METRIC_TTFT_P50_MS`. */
export const metricOf = (name) => `METRIC_${name.toUpperCase()}`;
/** Whether larger is better. */
export const isMaximized = (name) => Boolean(KNOWN[name]?.[2]?.maximized);
/** `TTFT p50`. */
export const labelOf = (name) => KNOWN[name]?.[0] ?? name;
/** `ms`; "" if the label says it. */
export const unitOf = (name) => KNOWN[name]?.[1] ?? "";
/** `TTFT p50, ms`. */
export const headOf = (name) => [labelOf(name), unitOf(name)].filter(Boolean).join(", ");

const grouped = (value, decimals) =>
  value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

/** A number with about three digits, thousands grouped. */
export function figure(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return grouped(value, 0);
  if (size >= 10) return grouped(value, 1);
  return size >= 0.1 ? grouped(value, 2) : String(Number(value.toPrecision(2)));
}

/** A metric's figure: money to the cent, accuracy to a tenth of a percent. */
export function metricFigure(name, value) {
  if (KNOWN[name]?.[2]?.money) return grouped(value, 2);
  return name === "accuracy_score" ? grouped(value, 3) : figure(value);
}

/** A cell's figure, with ~ before an estimate; a dash where nothing was measured. */
export function cellText(cell) {
  if (!cell) return "–";
  const sign = cell.method === "CELL_METHOD_INTERPOLATED" ? "~" : "";
  return sign + metricFigure(nameOf(cell.metric), cell.value ?? 0);
}

/** A number as it was given: `0.25`, `2,000`. */
export const plain = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 6 });

/** `TTFT p90 ≤ 300 ms`. */
export function limitText({ metric, limit = 0 }) {
  const name = nameOf(metric);
  return `${labelOf(name)} ${isMaximized(name) ? "≥" : "≤"} ${plain(limit)} ${unitOf(name)}`.trim();
}

/** A figure that, typed as a limit, lets the actual one in: rounded to its side. */
export function keptFigure(name, actual) {
  const text = metricFigure(name, actual);
  const shown = Number(text.replaceAll(",", ""));
  if (isMaximized(name) ? shown <= actual : shown >= actual) return shown;
  const decimals = text.split(".")[1]?.length ?? 0;
  const step = 10 ** -decimals;
  return Number((isMaximized(name) ? shown - step : shown + step).toFixed(decimals));
}
