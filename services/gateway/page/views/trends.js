// A configuration over time: the median of each day's runs with the span between them, and gaps as gaps.
import { call, callStream, latest } from "../api.js";
import { describe } from "../catalog.js";
import { chart } from "../charts.js";
import { cellsOf } from "../configuration/run.js";
import { chooseOne, configHead, listRuns } from "../config-picker.js";
import { numberField, selectField } from "../controls/fields.js";
import { announce, h, replace } from "../dom.js";
import { labelOf, MEASURED, metricOf } from "../metrics.js";
import { counted } from "../names.js";
import { empty, waiting } from "../parts.js";
import { problem } from "../problem.js";
import { get, go, href } from "../state.js";
import { dailyOptions, seriesOptions } from "../trends/lines.js";
import { dailyTable, exportDaily, exportSeries, seriesTable } from "../trends/tables.js";

const DAY_MS = 86_400_000;
const SPANS = [["7", "a week"], ["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["1825", "five years"]];
const STANDARD_SPAN = "90";
const DAILY_ROWS = 400;

/** The figure to show: the address's, else the first that the newest run has. */
const metricOfRun = (run) => (MEASURED.includes(get("metric")) ? get("metric") : ([...cellsOf(run).keys()][0] ?? MEASURED[0]));
const span = () => Math.min(Math.max(Number(get("days") || STANDARD_SPAN) || 90, 1), 4900);

export function mount(root) {
  const head = h("div");
  const body = h("div", { class: "result" });
  const controls = h(
    "form",
    { class: "bar-form", "aria-label": "What to show" },
    selectField({ name: "metric", label: "Figure", options: MEASURED.map((name) => [name, labelOf(name)]) }),
    selectField({ name: "days", label: "Over", options: SPANS }),
    numberField({ name: "until", label: "Until", type: "date", inputmode: null, step: null, min: null }),
  );
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("change", ({ target }) => go({ [target.name]: target.value }));
  const newCall = latest();
  let plots = [];
  let known = { id: "", run: null };

  async function load() {
    const signal = newCall();
    const id = get("config");
    if (!id) return replace(root, h("h1", { class: "unseen" }, "Trends"), chooseOne("Open one and choose “Over time”: its figures day by day, with the span between runs."));
    if (!head.isConnected) replace(root, h("div", { class: "stack" }, head, controls, body));
    try {
      if (known.id !== id) {
        replace(body, waiting());
        const { benchmarkResults: [run] = [] } = await listRuns(id, { size: 1 }, signal);
        if (!run) return replace(root, empty("This configuration has no runs.", h("p", {}, "It may have been archived with the days it was measured on.")));
        known = { id, run, alternative: await describe(run.config) };
        replace(head, configHead(known.alternative, h("a", { href: href({ view: "configuration", page: "" }) }, "All runs")));
      }
      const end = endDay(known.run);
      fillControls(end);
      await showSeries(body, end, signal);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      known = { id: "", run: null };
      replace(body, problem(error, load));
      announce(error.message);
    }
    return undefined;
  }

  function fillControls(end) {
    controls.elements.metric.value = metricOfRun(known.run);
    const { days } = controls.elements;
    if (![...days.options].some(({ value }) => value === String(span()))) days.append(h("option", { value: span() }, `${span()} days`));
    days.value = String(span());
    controls.elements.until.value = new Date(end - DAY_MS).toISOString().slice(0, 10);
  }

  async function showSeries(place, end, signal) {
    const name = metricOfRun(known.run);
    const start = end - span() * DAY_MS;
    const range = { startTime: new Date(start).toISOString(), endTime: new Date(end).toISOString() };
    const bucketHours = span() <= 7 ? 1 : 24;
    const [messages, daily] = await Promise.all([
      callStream(
        "ingest.v1.IngestService/QueryTimeSeries",
        {
          filter: { configIds: [known.id], benchmarkTime: range },
          bucket: `${bucketHours * 3600}s`,
          seriesKey: "SERIES_KEY_CONFIG",
          metrics: [metricOf(name)],
        },
        signal,
      ),
      dailyStats(known.run.config.modelId, start, end, signal),
    ]);
    const points = messages.flatMap((message) => message.points ?? []);
    const runs = points.reduce((sum, point) => sum + Number(point.runCount ?? 0), 0);
    for (const plot of plots) plot.dispose();
    plots = [];
    const parts = [seriesPart(name, points, runs, start, end), dailyPart(daily, start, end)];
    replace(place, parts);
    for (const plot of plots) plot.draw(plot.options);
    announce(`${labelOf(name)} over ${span()} days: ${counted(runs, "run")}.`);
  }

  function plotOf(label, options) {
    const plot = Object.assign(chart(label), { options });
    plots.push(plot);
    return plot;
  }

  function seriesPart(name, points, runs, start, end) {
    if (!runs) {
      return empty("No runs in this time.", h("p", {}, `The newest run ended on ${known.run.benchmarkTime.slice(0, 10)}.`),
        h("p", {}, h("button", { type: "button", onclick: () => go({ until: "", days: "365" }) }, "Show the year up to it")));
    }
    const has = points.some((point) => point.metrics?.length);
    const file = `servemark-${known.id}-${name}`;
    const plot = has && plotOf(`${labelOf(name)} over time, ${counted(runs, "run")}; the table below has the same figures.`, () => seriesOptions(name, points, start, end));
    return section(
      `${labelOf(name)} over time`,
      counted(runs, "run"),
      [
        plot && h("button", { type: "button", class: "quiet", onclick: () => plot.saveImage(`${file}.png`) }, "Save as PNG"),
        h("button", { type: "button", class: "quiet", onclick: () => exportSeries(file, name, points) }, "Save as CSV"),
      ],
      plot ? plot.element : h("p", {}, `None of these runs has a figure of ${labelOf(name)}.`),
      seriesTable(name, points),
    );
  }

  function dailyPart(daily, start, end) {
    if (!daily.length) return null;
    const file = "servemark-daily";
    const plot = plotOf("Mean throughput of the model by day; the table below has the same figures.", () => dailyOptions(daily, start, end));
    return section(
      `${known.alternative.model} by day`,
      "all its configurations together",
      [h("button", { type: "button", class: "quiet", onclick: () => exportDaily(file, daily) }, "Save as CSV")],
      plot.element,
      dailyTable(daily),
    );
  }

  return load;
}

/** The first instant after the days to show: those up to the newest run, unless the address says otherwise. */
function endDay(run) {
  const until = Date.parse(get("until"));
  const last = Number.isNaN(until) ? Date.parse(run.benchmarkTime) : until;
  return (Math.floor(last / DAY_MS) + 1) * DAY_MS;
}

async function dailyStats(modelId, start, end, signal) {
  const day = (time) => new Date(time).toISOString().slice(0, 10);
  const answer = await call(
    "ingest.v1.IngestService/ListDailyModelStats",
    { pageSize: DAILY_ROWS, modelIds: [modelId], startDate: day(start), endDate: day(end) },
    signal,
  );
  return answer.dailyModelStats ?? [];
}

const section = (title, note, actions, ...content) =>
  h(
    "section",
    { class: "card", "aria-label": title },
    h("div", { class: "section-head" }, h("h2", {}, title), h("span", { class: "muted" }, note), h("span", { class: "actions" }, actions)),
    content,
  );
