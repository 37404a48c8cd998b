// One point of a trade-off: the whole configuration, and the way to its runs.
import { h } from "../dom.js";
import { headOf, metricFigure } from "../metrics.js";
import { lineText } from "../names.js";
import { alternativeName } from "../parts.js";
import { href } from "../state.js";
import { pickBox } from "../tray.js";
import { dominanceText, priceText } from "../words.js";
import { valuesOf } from "./scatter.js";

/** The card; `names` says what other points are called. */
export function pointCard(point, x, y, names) {
  const { alternative } = point;
  const config = alternative.configId;
  const [across, up] = valuesOf(point);
  return h(
    "section",
    { class: "point-card", "aria-label": "The point chosen" },
    h("div", {}, alternativeName(alternative), pickBox(alternative, lineText(alternative))),
    h(
      "dl",
      { class: "basis" },
      h("div", {}, h("dt", {}, headOf(x)), h("dd", {}, metricFigure(x, across))),
      h("div", {}, h("dt", {}, headOf(y)), h("dd", {}, metricFigure(y, up))),
      h("div", {}, h("dt", {}, "Place"), h("dd", {}, point.paretoRank === 1 ? "on the front" : dominanceText(point.dominance, names))),
      priceText(alternative) && h("div", {}, h("dt", {}, "Price"), h("dd", {}, priceText(alternative))),
    ),
    h(
      "p",
      { class: "links" },
      h("a", { href: href({ view: "configuration", config, page: "" }) }, "All runs"),
      h("a", { href: href({ view: "trends", config }) }, "Over time"),
    ),
  );
}
