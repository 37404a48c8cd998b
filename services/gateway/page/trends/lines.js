// Time series as lines: a median with the span between runs behind it, and nothing where nothing ran.
import { axis, base, color } from "../charts.js";
import { headOf, metricFigure } from "../metrics.js";
import { counted, minuteText } from "../names.js";

const time = (point) => Date.parse(point.startTime);

function frame(name, start, end) {
  const common = base();
  return {
    ...common,
    grid: { left: 8, right: 20, top: 40, bottom: 8, containLabel: true },
    xAxis: axis({ type: "time", min: start, max: end, splitNumber: 6, splitLine: { show: false }, axisLabel: { color: color("muted"), hideOverlap: true } }),
    yAxis: axis({ type: "value", scale: true, name, nameGap: 14, nameTextStyle: { color: color("muted"), fontSize: 13, align: "left" } }),
    tooltip: { ...common.tooltip, trigger: "axis" },
  };
}

const line = (options) => ({ type: "line", connectNulls: false, symbol: "none", lineStyle: { width: 2 }, ...options });

/** One metric of one configuration. */
export function seriesOptions(name, points, start, end) {
  const found = points.map((point) => point.metrics?.[0] ?? null);
  const hue = color("accent");
  const options = frame(headOf(name), start, end);
  options.tooltip.formatter = ([first]) => {
    const point = points[first.dataIndex];
    const figures = point.metrics?.[0];
    if (!figures) return `${minuteText(point.startTime)}\nno runs`;
    const runs = counted(Number(figures.runCount ?? 0), "run");
    return `${minuteText(point.startTime)}, ${runs}\nmedian ${metricFigure(name, figures.median ?? 0)}\n` +
      `from ${metricFigure(name, figures.min ?? 0)} to ${metricFigure(name, figures.max ?? 0)}`;
  };
  const at = (pick) => points.map((point, index) => [time(point), found[index] ? pick(found[index]) : null]);
  const band = { stack: "span", lineStyle: { opacity: 0 }, silent: true, tooltip: { show: false } };
  options.series = [
    line({ ...band, name: "lowest", data: at(({ min = 0 }) => min) }),
    line({ ...band, name: "span", data: at(({ min = 0, max = 0 }) => max - min), areaStyle: { color: hue, opacity: 0.18 } }),
    line({
      name: "median",
      data: at(({ median = 0 }) => median),
      itemStyle: { color: hue },
      lineStyle: { width: 2, color: hue },
      // A day between two gaps has no line to either side.
      symbol: "circle",
      symbolSize: points.length > 200 ? 4 : 6,
      showAllSymbol: true,
    }),
  ];
  return options;
}

/** The throughput of a model by day. */
export function dailyOptions(daily, start, end) {
  const hue = color("dot-2");
  const options = frame("mean tokens/s", start, end);
  options.tooltip.trigger = "item";
  options.tooltip.formatter = ({ value }) => `${new Date(value[0]).toISOString().slice(0, 10)}\n${metricFigure("throughput_tokens_sec", value[1])} tokens/s`;
  options.yAxis.min = 0;
  options.series = [
    {
      type: "scatter",
      symbolSize: 8,
      itemStyle: { color: hue },
      data: daily.filter(({ avgThroughput }) => avgThroughput !== undefined).map((day) => [Date.parse(day.statsDate), day.avgThroughput]),
    },
  ];
  return options;
}
