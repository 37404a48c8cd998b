// The figures of the lines, as tables and as files.
import { saveCsv } from "../csv.js";
import { h } from "../dom.js";
import { figure, headOf, metricFigure } from "../metrics.js";
import { counted, minuteText } from "../names.js";
import { scrolling } from "../parts.js";

const table = (label, heads, rows) =>
  h(
    "details",
    { class: "folded" },
    h("summary", {}, `${label} (${counted(rows.length, "line")})`),
    h(
      "div",
      { class: "folded-body" },
      scrolling(
        label,
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, heads.map((head, index) => h("th", { scope: "col", class: index ? "number" : null }, head)))),
          h("tbody", {}, rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", { class: "number" }, cell))))),
        ),
      ),
    ),
  );

/** A line for each bucket with runs, one for each gap. */
export function seriesTable(name, points) {
  const rows = [];
  let gap = 0;
  const endGap = () => {
    if (gap) rows.push([`${counted(gap, "bucket")} without runs`, "–", "–", "–", "–"]);
    gap = 0;
  };
  for (const point of points) {
    const figures = point.metrics?.[0];
    if (!figures) {
      gap += 1;
      continue;
    }
    endGap();
    const { median = 0, min = 0, max = 0 } = figures;
    rows.push([minuteText(point.startTime), String(point.runCount), ...[median, min, max].map((value) => metricFigure(name, value))]);
  }
  endGap();
  return table("The figures", ["From (UTC)", "Runs", headOf(name), "lowest", "highest"], rows);
}

/** A line for each day of a model. */
export const dailyTable = (daily) =>
  table(
    "The figures by day",
    ["Day (UTC)", "Results", "tokens/s, mean", "TTFT p95, ms", "accuracy, mean"],
    daily.map((day) => [
      day.statsDate,
      Number(day.totalBenchmarks ?? 0).toLocaleString("en-US"),
      day.avgThroughput === undefined ? "–" : figure(day.avgThroughput),
      day.p95LatencyMs === undefined ? "–" : `${figure(day.p95LatencyMs)}${day.p95LatencySource === "LATENCY_SOURCE_RUNS" ? " of runs" : ""}`,
      day.avgAccuracy === undefined ? "–" : metricFigure("accuracy_score", day.avgAccuracy),
    ]),
  );

/** Saves a series; buckets without runs have no figures. */
export function exportSeries(file, name, points) {
  const rows = points.map(({ startTime, runCount, metrics: [figures] = [] }) => [startTime, runCount ?? 0, figures?.median, figures?.min, figures?.max]);
  saveCsv(`${file}.csv`, ["start_time", "run_count", `${name}_median`, `${name}_min`, `${name}_max`], rows);
}

/** Saves a model's days. */
export function exportDaily(file, daily) {
  const rows = daily.map((day) => [day.statsDate, day.totalBenchmarks ?? 0, day.avgThroughput, day.p95LatencyMs, day.avgAccuracy]);
  saveCsv(`${file}.csv`, ["stats_date", "total_benchmarks", "avg_throughput", "p95_latency_ms", "avg_accuracy"], rows);
}
