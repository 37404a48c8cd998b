// The service level: a limit for each metric that has one, at first for TTFT and TPOT.
import { h, newId, replace } from "../dom.js";
import { headOf, isMaximized, labelOf, LIMITABLE, metricOf, nameOf, unitOf } from "../metrics.js";
import { get, go } from "../state.js";

const USUAL = ["ttft_p99_ms", "tpot_p99_ms"];

/** The fields and what fills them from the address; `show` takes the limits that apply without any. */
export function limitFields() {
  const rows = h("div", { class: "limits" });
  const more = h("button", { type: "button", class: "quiet small" }, "Add a limit");
  let shown = [];
  let defaults = [];

  const limited = () => LIMITABLE.filter((name) => get(name) !== "");
  const change = (old, name, value, options) => go({ [old]: "", [name]: value }, options);

  function row(name) {
    const id = newId("limit");
    const standard = defaults.find(({ metric }) => metric === metricOf(name));
    const input = h("input", {
      id,
      type: "number",
      min: 0,
      step: "any",
      inputmode: "decimal",
      "data-limit": name,
      "aria-label": `Limit of ${headOf(name)}`,
      placeholder: standard ? String(standard.limit) : "none",
    });
    input.value = get(name);
    input.addEventListener("input", () => go({ [name]: input.value }, { replace: true }));
    const metric = h(
      "select",
      { "aria-label": "What is limited" },
      LIMITABLE.filter((item) => item === name || !shown.includes(item)).map((item) =>
        h("option", { value: item, selected: item === name }, labelOf(item)),
      ),
    );
    metric.addEventListener("change", () => {
      shown = shown.map((item) => (item === name ? metric.value : item));
      const value = input.value;
      draw();
      change(name, metric.value, value);
      rows.querySelector(`[data-limit="${metric.value}"]`).focus();
    });
    return h(
      "div",
      { class: "limit" },
      metric,
      h("span", { "aria-hidden": "true" }, isMaximized(name) ? "≥" : "≤"),
      h("span", { class: "with-unit" }, input, h("span", { "aria-hidden": "true" }, unitOf(name))),
    );
  }

  function draw() {
    replace(rows, shown.map(row));
    more.hidden = shown.length === LIMITABLE.length;
  }

  more.addEventListener("click", () => {
    const name = LIMITABLE.find((item) => !shown.includes(item));
    shown = [...shown, name];
    draw();
    rows.querySelector(`[data-limit="${name}"]`).focus();
  });

  function show(useCaseLimits = []) {
    const wanted = [...new Set([...limited(), ...shown])];
    const sameDefaults = JSON.stringify(useCaseLimits) === JSON.stringify(defaults);
    defaults = useCaseLimits;
    const usual = defaults.length ? defaults.map(({ metric }) => nameOf(metric)) : USUAL;
    if (!sameDefaults || !shown.length) shown = [...new Set([...usual, ...limited()])];
    else if (wanted.length !== shown.length) shown = wanted;
    else {
      // The same fields: what is being typed stays as it is.
      for (const input of rows.querySelectorAll("input")) {
        if (input !== document.activeElement) input.value = get(input.dataset.limit);
      }
      return;
    }
    draw();
  }
  return { element: h("div", { class: "limits-group" }, rows, more), show };
}
