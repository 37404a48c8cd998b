// The ranking: which configuration for the use case, under the service level and the budget, and why.
import { call, latest } from "../api.js";
import { budget, candidateFilter, isFiltered, limits, positive, takesDefaultLimits, useCase, weights } from "../candidates.js";
import { useCases } from "../catalog.js";
import { checkField, folded, numberField } from "../controls/fields.js";
import { controlPanel } from "../controls/panel.js";
import { weightFields } from "../controls/weights.js";
import { announce, h, replace } from "../dom.js";
import { excludedSection } from "../leaderboard/excluded.js";
import { answerSection } from "../leaderboard/answer.js";
import { infeasibleSection } from "../leaderboard/infeasible.js";
import { rankingTable } from "../leaderboard/table.js";
import { METRICS } from "../metrics.js";
import { lineText } from "../names.js";
import { command, empty, notices, waiting } from "../parts.js";
import { problem } from "../problem.js";
import { get, go, isOn } from "../state.js";

const FIRST_RESULTS = 20;
const MOST_RESULTS = 1000;
const TYPING_MS = 250;

/** The Recommend request that the address stands for. */
export function recommendRequest() {
  return {
    useCase: useCase(),
    weights: weights(METRICS),
    limits: limits(),
    noDefaultLimits: !takesDefaultLimits(),
    maxUsdPerHour: budget(),
    filter: candidateFilter(),
    acceptUncertain: isOn("accept_uncertain"),
    targetRequestsPerSecond: positive("target_rps"),
    maxResults: Math.min(Math.ceil(positive("top") ?? FIRST_RESULTS), MOST_RESULTS),
    answers: { confidence: isOn("confidence") },
  };
}

export function mount(root) {
  const result = h("div", { class: "result" }, waiting());
  const side = h("aside", { class: "side", "aria-label": "Controls" });
  replace(root, h("h1", { class: "unseen" }, "Leaderboard"), h("div", { class: "split" }, side, result));
  const newCall = latest();
  let panel = null;
  let showWeights = () => {};
  let timer = 0;
  let asked = "";

  async function load() {
    const signal = newCall();
    result.setAttribute("aria-busy", "true");
    try {
      const known = await useCases();
      if (!known.length) return showNothing();
      const wanted = known.find(({ subcategory, id }) => [subcategory, id].includes(useCase()));
      if (!useCase()) {
        asked = ""; // So that what follows does not wait as for typing.
        const standard = known.find(({ subcategory }) => subcategory === "chatbot") ?? known[0];
        return go({ use_case: standard.subcategory }, { replace: true });
      }
      showPanel(known, wanted);
      const request = recommendRequest();
      const answer = await call("ranking.v1.RankingService/Recommend", request, signal);
      replace(result, resultParts(answer, request));
      announce(summary(answer));
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      asked = "";
      replace(result, problem(error, load));
      announce(error.message);
    } finally {
      // A call that a newer one ended leaves the newer one's sign.
      if (!signal.aborted) result.removeAttribute("aria-busy");
    }
    return undefined;
  }

  function showPanel(known, wanted) {
    if (!panel) {
      const weighing = weightFields();
      panel = controlPanel(known, {
        needsUseCase: true,
        last: [
          weighing.element,
          folded(
            "More",
            { open: ["confidence", "accept_uncertain", "no_default_limits", "target_rps"].some((name) => get(name)) },
            checkField({ name: "confidence", label: "Say how sure the ranking is, and what is tied" }),
            checkField({ name: "accept_uncertain", label: "Also what keeps a limit in some runs only" }),
            checkField({ name: "no_default_limits", label: "Without the use case's own limits" }),
            numberField({ name: "target_rps", label: "To serve together", unit: "req/s", placeholder: "no target" }),
          ),
        ],
      });
      showWeights = weighing.show;
      replace(side, panel.element);
    }
    panel.show();
    showWeights(wanted);
  }

  const showNothing = () =>
    replace(
      result,
      empty(
        "The catalog is empty.",
        h("p", {}, "There is no use case to rank for yet. The sample has some, with models, hardware, prices and 300 measured results:"),
        command("servemark up"),
      ),
    );

  return () => {
    const now = JSON.stringify(recommendRequest());
    if (now === asked) return;
    // A change of a control waits a moment for the next digit; the first view does not.
    const wait = asked ? TYPING_MS : 0;
    asked = now;
    clearTimeout(timer);
    timer = setTimeout(load, wait);
  };
}

function resultParts(answer, request) {
  const found = answer.recommendations ?? [];
  if (!answer.candidateCount) return [noCandidates(), notices(answer.notices)];
  if (!found.length) return [infeasibleSection(answer), excludedSection(answer, request), notices(answer.notices)];
  return [
    answerSection(answer),
    rankingTable(answer),
    moreButton(answer, found.length),
    excludedSection(answer, request),
    notices(answer.notices),
  ];
}

function moreButton({ rankedCount = 0 }, count) {
  if (count >= Math.min(rankedCount, MOST_RESULTS)) return null;
  const next = Math.min(count * 5, MOST_RESULTS);
  return h(
    "p",
    { class: "more" },
    `${count.toLocaleString("en-US")} of ${rankedCount.toLocaleString("en-US")} shown. `,
    h("button", { type: "button", onclick: () => go({ top: next }) }, `Show ${next.toLocaleString("en-US")}`),
  );
}

function noCandidates() {
  if (isFiltered()) {
    return empty(
      "Nothing passes these filters.",
      h("p", {}, "No configuration with results has all that the filters ask for, at lengths that count for the use case."),
      h("p", {}, h("button", {
        type: "button",
        onclick: () => go({ model: "", quantization: "", gpu: "", provider: "", framework: "", workload: "", max_gpus: "", provenance: "" }),
      }, "Clear the filters")),
    );
  }
  return empty(
    "No results yet.",
    h("p", {}, "Nothing was measured at lengths that count for this use case. Import what a benchmark tool wrote:"),
    command("servemark import bench.json --context context.json"),
    h("p", { class: "muted" }, "New results are ranked within seconds."),
  );
}

function summary({ recommendations = [], rankedCount = 0, candidateCount = 0 }) {
  if (!recommendations.length) return "Nothing can be recommended.";
  return `${rankedCount} of ${candidateCount} candidates ranked. First: ${lineText(recommendations[0].alternative)}.`;
}
