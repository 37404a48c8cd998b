// Views of one configuration: which it is, and what to do before one was chosen.
import { call } from "./api.js";
import { h } from "./dom.js";
import { modelText } from "./names.js";
import { alternativeName, empty } from "./parts.js";
import { href } from "./state.js";

/** How to come by a configuration. */
export const chooseOne = (what) =>
  empty(
    "No configuration is chosen yet.",
    h("p", {}, what),
    h("p", {}, h("a", { class: "button main", href: href({ view: "" }) }, "To the leaderboard"), " ", h("a", { class: "button", href: href({ view: "pareto" }) }, "To the trade-offs")),
  );

/** One page of a configuration's runs, the latest first. */
export const listRuns = (configId, { size, token = "" }, signal) =>
  call(
    "ingest.v1.IngestService/ListBenchmarkResults",
    { pageSize: size, pageToken: token, filter: { configIds: [configId] } },
    signal,
  );

/** The head of such a view. */
export const configHead = (alternative, ...actions) =>
  h(
    "div",
    { class: "config-head card" },
    h("h1", { class: "unseen" }, modelText(alternative)),
    alternativeName(alternative, { link: false }),
    h("p", { class: "links" }, actions),
  );
