// The first of the ranking: what it is, why it is first, and what would change that.
import { h } from "../dom.js";
import { limitText, nameOf, labelOf } from "../metrics.js";
import { Places } from "../names.js";
import { alternativeName, sentences } from "../parts.js";
import { changeSentences, priceText } from "../words.js";

/** The answer in words, above the table. */
export function answerSection(answer) {
  const [first] = answer.recommendations;
  const places = new Places(answer.recommendations);
  return h(
    "section",
    { class: "answer", "aria-labelledby": "answer-title" },
    h("h2", { id: "answer-title" }, "Recommended", answer.useCase && ` for ${answer.useCase}`),
    alternativeName(first.alternative),
    h(
      "div",
      { class: "columns" },
      sentences("Why the first", [...(first.reasons ?? []), priceText(first.alternative)].filter(Boolean)),
      h("div", {}, sentences("What would change it", changeSentences(answer, places)), basis(answer)),
    ),
  );
}

function basis({ weights = [], limits = [] }) {
  const shares = [...weights]
    .sort((one, other) => other.weight - one.weight)
    .map(({ metric, weight }) => `${labelOf(nameOf(metric))} ${Math.round(weight * 100)}%`);
  return h(
    "dl",
    { class: "basis" },
    h("div", {}, h("dt", {}, "Weights"), h("dd", {}, shares.join(", "))),
    limits.length > 0 && h("div", {}, h("dt", {}, "Limits"), h("dd", {}, limits.map(limitText).join(", "))),
  );
}
