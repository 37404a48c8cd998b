// The trade-off of two criteria: every alternative as a point, and the front that nothing is better than.
import { call, latest } from "../api.js";
import { budget, candidateFilter, limits, useCase } from "../candidates.js";
import { useCases } from "../catalog.js";
import { chart } from "../charts.js";
import { checkField, group, selectField } from "../controls/fields.js";
import { controlPanel } from "../controls/panel.js";
import { announce, h, replace } from "../dom.js";
import { labelOf, METRICS, metricOf } from "../metrics.js";
import { counted, lineText } from "../names.js";
import { command, empty, notices, waiting } from "../parts.js";
import { COLORS, scatterOptions } from "../pareto/scatter.js";
import { exportPoints, pointsTable } from "../pareto/table.js";
import { pointCard } from "../pareto/point.js";
import { problem } from "../problem.js";
import { get, go, isOn } from "../state.js";
import { exclusionText } from "../words.js";

const TYPING_MS = 250;
const METHOD = "ranking.v1.RankingService/GetParetoFront";

/** The metric on an axis: the address's, else a usual one. */
function onAxis(name, standard) {
  const wanted = get(name);
  return METRICS.includes(wanted) ? wanted : standard;
}

function axes() {
  const x = onAxis("x", "ttft_p50_ms");
  const y = onAxis("y", x === "usd_per_million_tokens" ? "ttft_p50_ms" : "usd_per_million_tokens");
  return x === y ? [x, METRICS.find((name) => name !== x)] : [x, y];
}

function request() {
  return {
    metrics: axes().map(metricOf),
    useCase: useCase(),
    filter: candidateFilter(),
    limits: limits(),
    maxUsdPerHour: budget(),
    includeDominated: true,
  };
}

export function mount(root) {
  const result = h("div", { class: "result" }, waiting());
  const side = h("aside", { class: "side", "aria-label": "Controls" });
  replace(root, h("h1", { class: "unseen" }, "Pareto front"), h("div", { class: "split" }, side, result));
  const newCall = latest();
  let panel = null;
  let shown = null;
  let asked = "";
  let timer = 0;

  async function load() {
    const signal = newCall();
    result.setAttribute("aria-busy", "true");
    try {
      const known = await useCases();
      showPanel(known);
      const [asking, [x, y]] = [request(), axes()];
      const answer = await call(METHOD, asking, signal);
      shown?.dispose();
      shown = resultView(result, answer, x, y);
      announce(`${counted(answer.frontCount ?? 0, "configuration")} on the front, ${answer.dominatedCount ?? 0} behind it.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      asked = "";
      replace(result, problem(error, load));
      announce(error.message);
    } finally {
      // A call that a newer one ended leaves the newer one's sign.
      if (!signal.aborted) result.removeAttribute("aria-busy");
    }
  }

  function showPanel(known) {
    if (!panel) {
      const metrics = METRICS.map((name) => [name, labelOf(name)]);
      panel = controlPanel(known, {
        needsUseCase: false,
        first: [
          group(
            "Axes",
            selectField({ name: "x", label: "Across", options: metrics, standard: "ttft_p50_ms" }),
            selectField({ name: "y", label: "Up", options: metrics, standard: "usd_per_million_tokens" }),
            checkField({ name: "linear", label: "Linear instead of logarithmic" }),
            selectField({ name: "color", label: "Colours tell", options: Object.entries(COLORS).map(([name, { label }]) => [name, label]) }),
          ),
        ],
      });
      replace(side, panel.element);
    }
    panel.show();
  }

  return () => {
    const now = JSON.stringify(request());
    if (now === asked) {
      panel?.show();
      shown?.update();
      return;
    }
    const wait = asked ? TYPING_MS : 0;
    asked = now;
    clearTimeout(timer);
    timer = setTimeout(load, wait);
  };
}

/** Shows an answer; what is drawn of it follows the address. */
function resultView(result, answer, x, y) {
  const points = answer.points ?? [];
  if (!points.length) {
    replace(result, nothing(answer), notices(answer.notices));
    return { update() {}, dispose() {} };
  }
  const title = `${labelOf(y)} against ${labelOf(x)}`;
  const plot = chart(`${title}: ${answer.frontCount} on the front, ${answer.dominatedCount ?? 0} behind it. The table below has the same points.`);
  const aside = h("div", { class: "point", "aria-live": "polite" });
  const table = h("div");
  const byId = new Map(points.map(({ alternative }) => [alternative.configId, alternative]));
  const names = { name: (id) => lineText(byId.get(id)) };
  const find = () => points.find(({ alternative }) => alternative.configId === get("point"));

  function update() {
    const chosen = find();
    const look = { isLog: !isOn("linear"), colorBy: COLORS[get("color")] ? get("color") : "framework", chosen };
    plot.draw(
      () => scatterOptions(points, x, y, look),
      ({ data }) => data?.configId && go({ point: data.configId }, { replace: true }),
    );
    replace(aside, chosen ? pointCard(chosen, x, y, names) : h("p", { class: "muted" }, "Choose a point to see its whole configuration."));
    replace(table, pointsTable(points, x, y));
  }

  replace(
    result,
    h(
      "section",
      { class: "card", "aria-labelledby": "plot-title" },
      h(
        "div",
        { class: "section-head" },
        h("h2", { id: "plot-title" }, title),
        h("span", { class: "muted" }, `${counted(answer.frontCount ?? 0, "configuration")} on the front, ${(answer.dominatedCount ?? 0).toLocaleString("en-US")} behind it`),
        h(
          "span",
          { class: "actions" },
          h("button", { type: "button", class: "quiet", onclick: () => plot.saveImage(`servemark-${x}-${y}.png`) }, "Save as PNG"),
          h("button", { type: "button", class: "quiet", onclick: () => exportPoints(points, x, y) }, "Save as CSV"),
        ),
      ),
      plot.element,
      aside,
    ),
    table,
    h("p", { class: "muted" }, (answer.exclusionCounts ?? []).map((count) => `${count.count.toLocaleString("en-US")}: ${exclusionText(count)}.`).join(" ")),
    notices(answer.notices),
  );
  update();
  return { update, dispose: plot.dispose };
}

function nothing({ exclusionCounts = [] }) {
  if (exclusionCounts.length) {
    return empty(
      "No configuration has both figures and keeps the limits.",
      h("ul", {}, exclusionCounts.map((count) => h("li", {}, `${count.count.toLocaleString("en-US")}: ${exclusionText(count)}`))),
      h("p", {}, "Choose other axes, or relax what the left asks for."),
    );
  }
  return empty(
    "Nothing to show yet.",
    h("p", {}, "No results pass these filters. Import what a benchmark tool wrote, or clear the filters:"),
    command("servemark import bench.json --context context.json"),
  );
}
