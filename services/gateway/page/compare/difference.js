// One difference: how large, between what and what, and whether it is more than noise.
import { h, svg } from "../dom.js";
import { isMaximized, metricFigure } from "../metrics.js";
import { changeText } from "../words.js";

const WIDTH = 120;
const MOST = 1; // A change of all of it, either way, is the end of the line.

/** A difference in words, with its interval drawn around 0. */
export function differenceCell(name, item) {
  const { difference = 0, relativeDifference, relativeLow, relativeHigh, aboveNoise = false } = item;
  const isBetter = isMaximized(name) ? difference > 0 : difference < 0;
  const known = relativeLow !== undefined && relativeHigh !== undefined;
  if (difference === 0 && relativeLow === relativeHigh) return h("div", { class: "difference is-noise" }, h("span", {}, "the same"));
  const half = known ? (relativeHigh - relativeLow) / 2 : undefined;
  const size = relativeDifference === undefined ? absolute(name, difference) : changeText(relativeDifference, half);
  const verdict = aboveNoise ? (isBetter ? "better" : "worse") : "within the noise";
  return h(
    "div",
    { class: `difference ${aboveNoise ? (isBetter ? "is-better" : "is-worse") : "is-noise"}` },
    h("span", {}, size, " ", h("small", {}, known || aboveNoise ? verdict : "noise not known")),
    known && interval(relativeDifference ?? 0, relativeLow, relativeHigh),
    known && h("small", { class: "muted" }, `${changeText(relativeLow, half)} to ${changeText(relativeHigh, half)}`),
  );
}

const absolute = (name, difference) => `${difference < 0 ? "−" : "+"}${metricFigure(name, Math.abs(difference))}`;

function interval(middle, low, high) {
  const at = (share) => ((Math.min(Math.max(share, -MOST), MOST) + MOST) / (2 * MOST)) * WIDTH;
  return svg(
    "svg",
    { class: "interval", viewBox: `0 0 ${WIDTH} 12`, "aria-hidden": "true" },
    svg("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: 12 }),
    svg("line", { class: "span", x1: at(low), x2: Math.max(at(high), at(low) + 1), y1: 6, y2: 6 }),
    svg("circle", { cx: at(middle), cy: 6, r: 3.5 }),
  );
}
