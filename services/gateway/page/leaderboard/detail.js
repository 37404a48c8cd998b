// More about one recommendation: how its score adds up, its limits, what speaks for and against it.
import { h } from "../dom.js";
import { labelOf, limitText, metricFigure, nameOf } from "../metrics.js";
import { parallelText } from "../names.js";
import { sentences } from "../parts.js";
import { href } from "../state.js";
import { confidenceSentences, dominanceText, priceText, replicaSentences, scoreDecimals, scoreText } from "../words.js";

const VERDICTS = { MET: "keeps", MISSED: "misses", UNCERTAIN: "uncertain about", UNKNOWN: "not known:" };

/** Everything the answer says of a recommendation. */
export function detail(item, places) {
  const { alternative } = item;
  const config = alternative.configId;
  return h(
    "div",
    { class: "columns" },
    h(
      "div",
      {},
      h("h3", {}, "How the score adds up"),
      contributionBars(item),
      limitChecks(item),
    ),
    h(
      "div",
      {},
      sentences("For and against", [...(item.reasons ?? []), dominanceText(item.dominance, places)].filter(Boolean)),
      sentences("How sure", item.rank === 1 ? [] : confidenceSentences(item, places)),
      sentences("Instances for the target", replicaSentences(item)),
      h("p", { class: "muted" }, [alternative.hardware, parallel(alternative), priceText(alternative)].filter(Boolean).join(" · ")),
      !alternative.estimate &&
        h(
          "p",
          { class: "links" },
          h("a", { href: href({ view: "configuration", config, page: "" }) }, "All runs"),
          h("a", { href: href({ view: "trends", config }) }, "Over time"),
        ),
    ),
  );
}

const parallel = (alternative) =>
  parallelText({
    tensor: alternative.tensorParallelism,
    pipeline: alternative.pipelineParallelism,
    data: alternative.dataParallelism,
    expert: alternative.expertParallelism,
  });

/** What each criterion adds to the score or takes from it, as bars to the right and to the left. */
export function contributionBars(item) {
  const criteria = item.contributions?.criteria ?? [];
  const decimals = scoreDecimals(item);
  const largest = Math.max(...criteria.map(({ contribution = 0 }) => Math.abs(contribution)), 0.01);
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(decimals)}`;
  return h(
    "dl",
    { class: "contributions" },
    h("div", { class: "start" }, h("dt", {}, "midway"), h("dd", {}, (item.contributions?.baseline ?? 0.5).toFixed(decimals))),
    criteria.map(({ metric, contribution = 0 }) =>
      h(
        "div",
        {},
        h("dt", {}, labelOf(nameOf(metric))),
        h(
          "dd",
          { class: contribution < 0 ? "takes" : "adds", style: { "--share": Math.abs(contribution) / largest } },
          h("i", { "aria-hidden": "true" }),
          h("span", {}, signed(contribution)),
        ),
      ),
    ),
    h("div", { class: "sum" }, h("dt", {}, "score"), h("dd", {}, scoreText(item))),
  );
}

function limitChecks({ limitChecks: checks = [] }) {
  if (!checks.length) return null;
  return h(
    "ul",
    { class: "verdicts" },
    checks.map(({ limit, verdict = "", value, decidedBy }) => {
      const kind = verdict.replace("LIMIT_VERDICT_", "");
      const by = decidedBy && decidedBy !== limit.metric ? ` by ${labelOf(nameOf(decidedBy))}` : "";
      const actual = value === undefined ? "" : `: ${metricFigure(nameOf(decidedBy ?? limit.metric), value)}${by}`;
      return h("li", { class: `verdict-${kind.toLowerCase()}` }, `${VERDICTS[kind] ?? ""} ${limitText(limit)}${actual}`);
    }),
  );
}
