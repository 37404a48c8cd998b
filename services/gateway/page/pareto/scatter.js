// The points of a trade-off, and the front drawn through its best ones.
import { axis, base, color } from "../charts.js";
import { colorOf } from "../colors.js";
import { headOf, isMaximized, metricFigure } from "../metrics.js";
import { frameworkText, gpusText, loadText, modelText } from "../names.js";

/** What colours can tell apart. */
export const COLORS = {
  framework: { label: "frameworks", of: (alternative) => alternative.framework ?? "" },
  gpu: { label: "GPUs", of: (alternative) => (alternative.gpuType ?? "").split("-")[0] },
  quantization: { label: "quantizations", of: (alternative) => alternative.quantization ?? "" },
};

/** A point's two figures. */
export const valuesOf = ({ cells = [] }) => cells.map(({ value = 0 }) => value);

/** ECharts options. `look`: logarithmic or not, what colours tell, the point that is chosen. */
export function scatterOptions(points, x, y, { isLog, colorBy, chosen }) {
  // 0 has no place on a logarithmic axis.
  const onLog = [0, 1].map((index) => isLog && points.every((point) => valuesOf(point)[index] > 0));
  const groupOf = COLORS[colorBy].of;
  const groups = [...new Set(points.map(({ alternative }) => groupOf(alternative)))].sort();
  const front = points.filter(({ paretoRank }) => paretoRank === 1);
  const common = base();
  return {
    ...common,
    legend: { type: "scroll", top: 0, left: 0, icon: "circle", textStyle: common.textStyle, data: groups, pageTextStyle: common.textStyle, pageIconColor: color("muted") },
    grid: { left: 8, right: 24, top: 72, bottom: 34, containLabel: true },
    tooltip: { ...common.tooltip, trigger: "item", formatter: ({ data }) => data?.text ?? "" },
    xAxis: axis({ ...scale(onLog[0]), name: withSide(x), nameLocation: "middle", nameGap: 30 }),
    yAxis: axis({ ...scale(onLog[1]), name: withSide(y), nameGap: 14, nameTextStyle: { color: color("muted"), fontSize: 13, align: "left" } }),
    series: [
      frontLine(front, x),
      ...groups.map((name) => ({
        name,
        type: "scatter",
        z: 3,
        itemStyle: { color: colorOf(name) },
        data: points.filter(({ alternative }) => groupOf(alternative) === name).map((point) => dot(point, x, y, colorOf(name))),
      })),
      chosen && ring(chosen),
    ].filter(Boolean),
  };
}

/** A linear scale, or a logarithmic one between round numbers: 1, 2 or 5 times a power of ten. */
const scale = (isLog) =>
  isLog
    ? { type: "log", min: ({ min }) => roundTo(min, Math.floor), max: ({ max }) => roundTo(max, Math.ceil) }
    : { type: "value", scale: true };

function roundTo(value, side) {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10];
  const lead = value / power;
  const step = side === Math.floor ? steps.findLast((item) => item <= lead) : steps.find((item) => item >= lead);
  return (step ?? 1) * power;
}

const withSide = (name) => `${headOf(name)} (${isMaximized(name) ? "more" : "less"} is better)`;

function dot(point, x, y, hue) {
  const isFront = point.paretoRank === 1;
  const [across, up] = valuesOf(point);
  const { alternative } = point;
  return {
    value: [across, up],
    configId: alternative.configId,
    symbol: isFront ? "diamond" : "circle",
    symbolSize: isFront ? 15 : 8,
    itemStyle: isFront ? { color: hue, borderColor: color("surface"), borderWidth: 1.5 } : { color: hue, opacity: 0.5 },
    text: [
      modelText(alternative),
      `${gpusText(alternative)}, ${frameworkText(alternative)}`,
      loadText(alternative),
      `${headOf(x)}: ${metricFigure(x, across)}`,
      `${headOf(y)}: ${metricFigure(y, up)}`,
      isFront ? "On the front" : `On front ${point.paretoRank}`,
    ].join("\n"),
  };
}

function frontLine(front, x) {
  const sorted = front.map(valuesOf).sort((one, other) => one[0] - other[0]);
  // Between two points of the front the worse of their figures is what is known to be had: a staircase.
  const step = isMaximized(x) ? "start" : "end";
  return {
    name: "front",
    type: "line",
    step,
    silent: true,
    symbol: "none",
    z: 2,
    lineStyle: { color: color("text"), width: 1.5, opacity: 0.55 },
    data: sorted,
    tooltip: { show: false },
  };
}

const ring = (point) => ({
  type: "scatter",
  silent: true,
  z: 4,
  symbolSize: 24,
  itemStyle: { color: "transparent", borderColor: color("text"), borderWidth: 2 },
  data: [valuesOf(point)],
  tooltip: { show: false },
});
