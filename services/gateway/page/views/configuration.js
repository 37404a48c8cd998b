// One configuration: what it is, and every run of it with what the tool wrote.
import { latest } from "../api.js";
import { describe } from "../catalog.js";
import { chooseOne, configHead, listRuns } from "../config-picker.js";
import { saveCsv } from "../csv.js";
import { announce, h, replace } from "../dom.js";
import { cellsOf, METRIC_FIELDS, runDetail } from "../configuration/run.js";
import { headOf, metricFigure } from "../metrics.js";
import { counted, lineText, minuteText, parallelText, provenanceText, workText } from "../names.js";
import { empty, scrolling, waiting } from "../parts.js";
import { problem } from "../problem.js";
import { get, go, href } from "../state.js";
import { pickBox } from "../tray.js";

const PAGE = 25;

export function mount(root) {
  const newCall = latest();
  let shown = "";

  async function load() {
    const id = get("config");
    const now = `${id} ${get("page")}`;
    if (now === shown) return undefined;
    const signal = newCall();
    const title = h("h1", { class: "unseen" }, "Configuration");
    if (!id) return replace(root, title, chooseOne("Open one by its name: all its runs, with what the tool wrote of each."));
    if (!root.querySelector(".runs")) replace(root, title, waiting());
    try {
      const { benchmarkResults: runs = [], nextPageToken = "" } = await listRuns(id, { size: PAGE, token: get("page") }, signal);
      if (!runs.length) {
        return replace(root, title, empty("This configuration has no runs.", h("p", {}, "No result with this id is stored; it may have left with an archived day. ", h("code", {}, "servemark archive restore"), " brings such days back.")));
      }
      const alternative = await describe(runs[0].config);
      replace(root, page(alternative, runs, nextPageToken));
      shown = now;
      announce(`${counted(runs.length, "run")} of ${lineText(alternative)}.`);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      replace(root, title, problem(error, load));
      announce(error.message);
    }
    return undefined;
  }
  return load;
}

function page(alternative, runs, next) {
  const [{ config }] = runs;
  return h(
    "div",
    { class: "runs stack" },
    configHead(
      alternative,
      h("a", { href: href({ view: "trends" }) }, "Over time"),
      pickBox(alternative, lineText(alternative)),
    ),
    facts(alternative, config),
    runsTable(runs, alternative),
    h(
      "p",
      { class: "more links" },
      get("page") && h("a", { class: "button", href: href({ page: "" }) }, "The latest"),
      next && h("button", { type: "button", onclick: () => go({ page: next }) }, "Older runs"),
    ),
  );
}

function facts(alternative, config) {
  const rows = [
    ["Weights", [alternative.modelVersion, alternative.quantization, alternative.format].filter(Boolean).join(", ")],
    ["Artifact", alternative.artifactUri],
    ["Hardware", `${alternative.gpuCount ?? "?"} × ${alternative.gpuType ?? "?"}, ${alternative.hardware} (${alternative.cloudProvider ?? ""})`],
    ["Parallelism", parallelText(config.parallelism)],
    ["Workload", [config.workload?.workloadType, workText(config.workload ?? {})].filter(Boolean).join(": ")],
    ["Figures", provenanceText(config.provenance)],
    ["First seen", minuteText(config.createTime)],
    ["Id", config.id],
  ];
  return h(
    "dl",
    { class: "facts card" },
    rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** Columns: the figures that some run has. */
function runsTable(runs, alternative) {
  const names = METRIC_FIELDS.map(([name]) => name).filter((name) => runs.some((run) => cellsOf(run).has(name)));
  const wide = names.length + 3;
  return h(
    "section",
    { "aria-labelledby": "runs-title" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "runs-title" }, "Runs"),
      h("span", { class: "muted" }, "the latest first"),
      h("button", { type: "button", class: "quiet", onclick: () => exportRuns(runs, alternative) }, "Save as CSV"),
    ),
    scrolling(
      "The runs as a table",
      h(
        "table",
        { "aria-labelledby": "runs-title" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Ended (UTC)"), h("th", { scope: "col" }, "Tool"), names.map((name) => h("th", { scope: "col", class: "number" }, headOf(name))), h("td", {}))),
        h("tbody", {}, runs.map((run) => runLines(run, names, wide))),
      ),
    ),
  );
}

function runLines(run, names, wide) {
  const cells = cellsOf(run);
  const detail = h("tr", { class: "detail", hidden: true });
  const time = minuteText(run.benchmarkTime);
  const more = h("button", { type: "button", class: "small", "aria-expanded": "false", "aria-label": `Document of the run of ${time}` }, "Document");
  more.addEventListener("click", () => {
    if (!detail.firstChild) detail.append(h("td", { colspan: wide }, runDetail(run)));
    detail.hidden = !detail.hidden;
    more.setAttribute("aria-expanded", String(!detail.hidden));
  });
  return [
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "nowrap" }, time),
      h("td", {}, [run.tool, run.toolVersion].filter(Boolean).join(" ")),
      names.map((name) => h("td", { class: "number" }, cells.has(name) ? metricFigure(name, cells.get(name)) : "–")),
      h("td", { class: "number" }, more),
    ),
    detail,
  ];
}

function exportRuns(runs, alternative) {
  const names = METRIC_FIELDS.map(([name]) => name);
  const rows = runs.map((run) => {
    const cells = cellsOf(run);
    return [run.id, run.benchmarkTime, run.tool, run.toolVersion, run.requestCount, run.failedRequestCount, ...names.map((name) => cells.get(name))];
  });
  saveCsv(`servemark-runs-${alternative.configId}.csv`, ["id", "benchmark_time", "tool", "tool_version", "request_count", "failed_request_count", ...names], rows);
}
