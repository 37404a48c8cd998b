// When nothing keeps all limits: what to give up or relax, each a click away.
import { h } from "../dom.js";
import { keptFigure, nameOf } from "../metrics.js";
import { sentences } from "../parts.js";
import { go } from "../state.js";
import { conflictText, passText, relaxationFor, relaxedText } from "../words.js";
import { listed } from "../names.js";

const MOST = 4;
/** The parameter that a limit is in: the budget is a limit of the price. */
const parameter = (metric) => (nameOf(metric) === "usd_per_hour" ? "budget" : nameOf(metric));

/** The answer when there is none. */
export function infeasibleSection({ infeasible = {}, limits = [], useCase = "" }) {
  const { conflicts = [], relaxations = [], passCounts = [] } = infeasible;
  // The use case's limits count only while the address names none: those that stay have to be named.
  const kept = Object.fromEntries(limits.map(({ metric, limit }) => [parameter(metric), limit]));
  const set = (changes) => {
    const next = { ...kept, ...changes };
    const none = limits.every(({ metric }) => next[parameter(metric)] === "");
    go({ ...next, no_default_limits: none ? "yes" : "" });
  };
  const drop = ({ limits: dropped = [] }) => set(Object.fromEntries(dropped.map(({ metric }) => [parameter(metric), ""])));
  const relax = ({ limits: relaxed = [] }) =>
    set(Object.fromEntries(relaxed.map(({ limit, actual = 0 }) => [parameter(limit.metric), keptFigure(nameOf(limit.metric), actual)])));
  return h(
    "section",
    { class: "empty infeasible" },
    h("h2", {}, "Nothing keeps all limits", useCase && ` for ${useCase}`),
    conflicts.length > 0 && [
      h("h3", {}, "What to give up"),
      h("ul", { class: "choices" }, conflicts.slice(0, MOST).map((conflict) =>
        h("li", {}, h("span", {}, conflictText(conflict)), h("button", { type: "button", class: "small", onclick: () => drop(conflict) }, "Give up")))),
    ],
    relaxations.length > 0 && [
      h("h3", {}, "Or relax, for the nearest"),
      h("ul", { class: "choices" }, relaxations.slice(0, MOST).filter((item) => item.limits?.length).map((item) =>
        h("li", {},
          h("span", {}, listed(item.limits.map(relaxedText)), h("small", { class: "muted" }, ` ${relaxationFor(item)}`)),
          h("button", { type: "button", class: "small", onclick: () => relax(item) }, "Relax")))),
    ],
    sentences("Who keeps each limit", passCounts.map(passText)),
    !conflicts.length && !relaxations.length && h("p", {}, "No candidate has a figure for every criterion, so no limit given up would let one in. Move the weights to criteria that were measured, or look at the reasons below."),
  );
}
