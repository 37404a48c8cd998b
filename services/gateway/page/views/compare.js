// Two to four configurations side by side: each figure, and whether its difference is more than noise.
import { call, latest } from "../api.js";
import { saveCsv } from "../csv.js";
import { announce, h, replace } from "../dom.js";
import { differenceCell } from "../compare/difference.js";
import { cellText, headOf, nameOf } from "../metrics.js";
import { counted, lineText } from "../names.js";
import { alternativeName, empty, notices, scrolling, waiting } from "../parts.js";
import { problem } from "../problem.js";
import { go, href } from "../state.js";
import { MOST, picked } from "../tray.js";

export function mount(root) {
  const newCall = latest();

  async function load() {
    const signal = newCall();
    const ids = picked();
    const title = h("h1", { class: "unseen" }, "Compare");
    if (ids.length < 2) return replace(root, title, choose(ids.length));
    if (!root.querySelector(".compared")) replace(root, title, waiting());
    try {
      const answer = await call("ranking.v1.RankingService/CompareConfigurations", { configIds: ids }, signal);
      replace(root, title, comparison(answer));
      announce(`${ids.length} configurations compared.`);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      replace(root, title, error.code === "not_found" ? gone(error) : problem(error, load));
      announce(error.message);
    }
    return undefined;
  }
  return load;
}

const choose = (count) =>
  empty(
    count ? "One configuration is picked; pick one more." : "Nothing is picked yet.",
    h("p", {}, `Mark two to ${MOST} configurations with “Compare” on the leaderboard or beside a trade-off.`),
    h("p", {}, h("a", { class: "button main", href: href({ view: "" }) }, "To the leaderboard")),
  );

const gone = (error) =>
  empty(
    "One of these is not ranked any more.",
    h("p", {}, error.message),
    h("p", {}, h("button", { type: "button", onclick: () => go({ compare: [] }) }, "Start again")),
  );

function comparison({ configurations = [], comparisons = [], notices: notes = [] }) {
  const [first, ...others] = configurations;
  const cells = configurations.map(({ cells: own = [] }) => new Map(own.map((cell) => [cell.metric, cell])));
  return h(
    "section",
    { class: "compared stack", "aria-labelledby": "compare-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "compare-title" }, "Side by side"),
      h("span", { class: "muted" }, "Differences are from the first, with their 90 % interval."),
      h("button", { type: "button", class: "quiet", onclick: () => exportComparison(configurations, comparisons, cells) }, "Save as CSV"),
    ),
    scrolling(
      "The comparison as a table",
      h(
        "table",
        { "aria-labelledby": "compare-title" },
        h(
          "thead",
          {},
          h("tr", {}, h("td", {}, ""), configurations.map((item) => head(item.alternative, configurations.length))),
        ),
        h(
          "tbody",
          {},
          comparisons.map((comparison) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, headOf(nameOf(comparison.metric))),
              figureCell(first, cells[0], comparison),
              others.map((other, index) => figureCell(other, cells[index + 1], comparison, first)),
            ),
          ),
        ),
      ),
    ),
    notices(notes),
    h("p", { class: "hint" }, "A difference within the noise is no larger than runs of one configuration differ from each other."),
  );
}

function head(alternative, count) {
  const takeAway = () => go({ compare: picked().filter((id) => id !== alternative.configId) });
  return h(
    "th",
    { scope: "col", class: "compared-head" },
    alternativeName(alternative),
    h("p", { class: "links" },
      h("a", { href: href({ view: "trends", config: alternative.configId }) }, "Over time"),
      h("button", { type: "button", class: "quiet small", "aria-label": `Take away ${lineText(alternative)}`, onclick: takeAway }, count > 2 ? "Take away" : "Replace")),
  );
}

function figureCell({ alternative }, cells, { metric, bestConfigIds = [], differences = [] }, first) {
  const cell = cells.get(metric);
  // The only one with a figure is best of nothing.
  const isBest = differences.length > 0 && bestConfigIds.includes(alternative.configId);
  const runs = Number(cell?.runCount ?? 0);
  const difference = first && differences.find((item) => item.configId === first.alternative.configId && item.otherConfigId === alternative.configId);
  return h(
    "td",
    { class: isBest ? "best" : null },
    h("span", { class: "big" }, cellText(cell)),
    isBest && h("span", { class: "tag" }, "best"),
    runs > 1 && h("small", { class: "muted" }, ` ${counted(runs, "run")}`),
    difference && differenceCell(nameOf(metric), difference),
  );
}

function exportComparison(configurations, comparisons, cells) {
  const [first] = configurations;
  const head = ["metric", "config_id", "model", "value", "min", "max", "run_count", "difference", "relative_difference", "relative_low", "relative_high", "above_noise"];
  const rows = comparisons.flatMap(({ metric, differences = [] }) =>
    configurations.map(({ alternative }, index) => {
      const cell = cells[index].get(metric);
      const found = differences.find((item) => item.configId === first.alternative.configId && item.otherConfigId === alternative.configId);
      return [
        nameOf(metric), alternative.configId, alternative.model, cell?.value, cell?.min, cell?.max, cell?.runCount,
        found && (found.difference ?? 0), found?.relativeDifference, found?.relativeLow, found?.relativeHigh, found && Boolean(found.aboveNoise),
      ];
    }),
  );
  saveCsv("servemark-compare.csv", head, rows);
}
