// The ranking as a table: a line for each recommendation, more about it on request.
import { h, newId } from "../dom.js";
import { ALTERNATIVE_HEAD, alternativeRow, saveCsv } from "../csv.js";
import { cellText, labelOf, metricOf, nameOf, unitOf } from "../metrics.js";
import { lineText, Places } from "../names.js";
import { alternativeName } from "../parts.js";
import { pickBox } from "../tray.js";
import { chanceShort, scoreText } from "../words.js";
import { contributionBars, detail } from "./detail.js";
import { tipFor } from "./tip.js";

const MOST_METRICS = 6;

/** Names of the metrics to show: the criteria by weight, then the limits, and always the price. */
export function columns({ weights = [], limits = [] }) {
  const byWeight = weights.filter(({ weight }) => weight > 0).sort((one, other) => other.weight - one.weight);
  const names = [...new Set([...byWeight, ...limits].map(({ metric }) => nameOf(metric)))].slice(0, MOST_METRICS);
  if (names.includes("usd_per_hour")) return names;
  return [...names.slice(0, MOST_METRICS - 1), "usd_per_hour"];
}

/** The table of an answer, with a way to save it. */
export function rankingTable(answer) {
  const names = columns(answer);
  const places = new Places(answer.recommendations);
  const sure = answer.recommendations.some(({ confidence }) => confidence);
  const wide = names.length + 3 + (sure ? 1 : 0);
  const heads = names.map((name) =>
    h("th", { role: "columnheader", scope: "col", class: "number" }, labelOf(name), " ", unitOf(name) && h("small", {}, unitOf(name))),
  );
  return h(
    "section",
    { class: "ranking", "aria-labelledby": "ranking-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "ranking-title" }, "Ranking"),
      h("span", { class: "muted" }, `${(answer.rankedCount ?? 0).toLocaleString("en-US")} of ${answer.candidateCount.toLocaleString("en-US")} candidates`),
      h("button", { type: "button", class: "quiet", onclick: () => exportRanking(answer, names) }, "Save as CSV"),
    ),
    h(
      "table",
      { class: "ranked", role: "table", "aria-labelledby": "ranking-title" },
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          h("th", { role: "columnheader", scope: "col", class: "number" }, "#"),
          h("th", { role: "columnheader", scope: "col" }, "Configuration"),
          h("th", { role: "columnheader", scope: "col" }, "Score"),
          sure && h("th", { role: "columnheader", scope: "col", class: "number" }, "Best"),
          heads,
        ),
      ),
      h("tbody", { role: "rowgroup" }, answer.recommendations.map((item) => lines(item, names, places, { sure, wide }))),
    ),
  );
}

function lines(item, names, places, { sure, wide }) {
  const { alternative } = item;
  const cells = new Map((item.cells ?? []).map((cell) => [cell.metric, cell]));
  const detailId = newId("detail");
  const more = h("tr", { id: detailId, role: "row", class: "detail", hidden: true });
  const score = h(
    "button",
    {
      type: "button",
      class: "score",
      "aria-expanded": "false",
      "aria-controls": detailId,
      "aria-label": `Score ${scoreText(item)} of ${lineText(alternative)}: how it adds up`,
    },
    h("span", { class: "bar", "aria-hidden": "true", style: { "--share": item.score ?? 0 } }, h("i", {}), errorBar(item)),
    h("span", { class: "figure" }, scoreText(item)),
  );
  score.addEventListener("click", () => {
    const open = more.hidden;
    if (open && !more.firstChild) more.append(h("td", { role: "cell", colspan: wide }, detail(item, places)));
    more.hidden = !open;
    score.setAttribute("aria-expanded", String(open));
  });
  tipFor(score, () => contributionBars(item));
  return [
    h(
      "tr",
      { role: "row" },
      h("td", { role: "cell", class: "number rank" }, String(item.rank)),
      h("td", { role: "cell", class: "what" }, alternativeName(alternative), pickBox(alternative, lineText(alternative))),
      h("td", { role: "cell", class: "scored" }, score),
      sure && h("td", { role: "cell", class: "number", "data-label": "Best" }, bestText(item)),
      names.map((name) =>
        h("td", { role: "cell", class: "number", "data-label": `${labelOf(name)} ${unitOf(name)}`.trim() }, cellText(cells.get(metricOf(name)))),
      ),
    ),
    more,
  ];
}

function errorBar({ confidence }) {
  if (!confidence) return null;
  const { scoreLow = 0, scoreHigh = 0 } = confidence;
  return h("b", { style: { "--low": scoreLow, "--high": scoreHigh } });
}

function bestText({ confidence }) {
  if (!confidence) return "–";
  const tied = confidence.tiedConfigIds?.length ?? 0;
  return [chanceShort(confidence.bestProbability ?? 0), tied > 0 && h("small", { class: "tied" }, ` ${tied} tied`)];
}

function exportRanking(answer, names) {
  const head = ["rank", "score", ...names, ...ALTERNATIVE_HEAD];
  const rows = answer.recommendations.map((item) => {
    const cells = new Map((item.cells ?? []).map((cell) => [nameOf(cell.metric), cell.value ?? 0]));
    return [item.rank, item.score ?? 0, ...names.map((name) => cells.get(name)), ...alternativeRow(item.alternative)];
  });
  saveCsv(`servemark-${answer.useCase || "ranking"}.csv`, head, rows);
}
