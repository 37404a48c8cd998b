// The same points as a table: for keyboards, screen readers, and files.
import { ALTERNATIVE_HEAD, alternativeRow, saveCsv } from "../csv.js";
import { h, replace } from "../dom.js";
import { cellText, headOf } from "../metrics.js";
import { lineText } from "../names.js";
import { alternativeName, scrolling } from "../parts.js";
import { get, go } from "../state.js";
import { valuesOf } from "./scatter.js";

const PAGE = 25;

/** The points, those of the front first. */
export function pointsTable(points, x, y) {
  const body = h("tbody");
  const more = h("p", { class: "more" });
  let shown = PAGE;

  function draw() {
    replace(body, points.slice(0, shown).map(row));
    const rest = points.length - shown;
    replace(
      more,
      rest > 0 && [
        `${shown} of ${points.length.toLocaleString("en-US")} shown. `,
        h("button", { type: "button", onclick: () => { shown += PAGE; draw(); } }, `Show ${Math.min(PAGE, rest)} more`),
      ],
    );
  }

  function row(point) {
    const { alternative, cells = [] } = point;
    const isChosen = alternative.configId === get("point");
    return h(
      "tr",
      { "aria-current": isChosen ? "true" : null },
      h("td", {}, alternativeName(alternative)),
      cells.map((cell) => h("td", { class: "number" }, cellText(cell))),
      h("td", { class: "number" }, point.paretoRank === 1 ? h("span", { class: "tag" }, "front") : String(point.paretoRank)),
      h("td", {}, h("button", { type: "button", class: "small", "aria-label": `Show ${lineText(alternative)} in the chart`, onclick: () => go({ point: alternative.configId }, { replace: true }) }, "Show")),
    );
  }

  draw();
  return h(
    "section",
    { "aria-labelledby": "points-title" },
    h("div", { class: "section-head" }, h("h2", { id: "points-title" }, "The points")),
    scrolling(
      "The points as a table",
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Configuration"), [x, y].map((name) => h("th", { scope: "col", class: "number" }, headOf(name))), h("th", { scope: "col", class: "number" }, "Front"), h("td", {}))),
        body,
      ),
    ),
    more,
  );
}

/** Saves all points. */
export function exportPoints(points, x, y) {
  const rows = points.map((point) => [point.paretoRank, ...valuesOf(point), ...alternativeRow(point.alternative)]);
  saveCsv(`servemark-${x}-${y}.csv`, ["pareto_rank", x, y, ...ALTERNATIVE_HEAD], rows);
}
