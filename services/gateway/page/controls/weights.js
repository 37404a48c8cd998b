// How much each criterion counts: the use case's weights until one is moved.
import { h, replace } from "../dom.js";
import { labelOf, METRICS, metricOf, nameOf } from "../metrics.js";
import { get, go } from "../state.js";
import { folded } from "./fields.js";

const parameter = (name) => `weight.${name}`;
const isSet = () => METRICS.some((name) => get(parameter(name)) !== "");

/** The fields and what fills them: from the address, else from the use case. */
export function weightFields() {
  const rows = h("div", { class: "weights" });
  const reset = h("button", { type: "button", class: "quiet small" }, "Back to the use case's");
  const element = folded("Weights", { open: isSet() }, rows, reset);
  let known = [];

  const current = () =>
    known.map(({ metric, weight }) => {
      const name = nameOf(metric);
      return [name, isSet() ? Number(get(parameter(name))) : Math.round(weight * 100)];
    });

  function move(name, value) {
    // All of them go into the address with the first move: what is absent there counts nothing.
    const changes = Object.fromEntries(current().map(([item, weight]) => [parameter(item), weight || ""]));
    go({ ...changes, [parameter(name)]: value > 0 ? value : "" }, { replace: true });
  }

  function row([name, value]) {
    const output = h("output", {}, String(value));
    const input = h("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 1,
      value,
      "data-weight": name,
      "aria-label": `Weight of ${labelOf(name)}`,
      oninput: (event) => move(name, Number(event.target.value)),
    });
    return h("div", { class: "weight" }, h("span", { "aria-hidden": "true" }, labelOf(name)), input, output);
  }

  reset.addEventListener("click", () => go(Object.fromEntries(METRICS.map((name) => [parameter(name), ""]))));

  function show(useCase) {
    const standard = useCase?.defaultWeights ?? [];
    const own = METRICS.filter((name) => get(parameter(name)) && !standard.some(({ metric }) => metric === metricOf(name)));
    const wanted = [...standard, ...own.map((name) => ({ metric: metricOf(name), weight: 0 }))];
    const same = JSON.stringify(wanted) === JSON.stringify(known);
    known = wanted;
    reset.hidden = !isSet();
    if (!same) return replace(rows, current().map(row));
    for (const [name, value] of current()) {
      const input = rows.querySelector(`[data-weight="${name}"]`);
      if (input !== document.activeElement) input.value = value;
      input.nextElementSibling.textContent = String(value);
    }
    return rows;
  }
  return { element, show };
}
