// The controls of what takes part: for the leaderboard and for the trade-offs.
import { FILTERS, PROVENANCES } from "../candidates.js";
import { FILTER_OPTIONS } from "../catalog.js";
import { h } from "../dom.js";
import { get, go, isOn, list } from "../state.js";
import { chosenField } from "./chosen.js";
import { checkField, folded, group, numberField, selectField } from "./fields.js";
import { limitFields } from "./limits.js";

const PHONE = matchMedia("(max-width: 52rem)");

/**
 * The form and what fills it from the address. `needsUseCase`: one has to be chosen, and
 * its own limits apply where the address has none. `first` and `last` are the
 * view's own groups of fields.
 */
export function controlPanel(useCases, { needsUseCase, first = [], last = [] }) {
  const names = useCases.map(({ subcategory }) => [subcategory, subcategory]);
  const limits = limitFields();
  const filters = FILTERS.map((filter) => chosenField({ ...filter, options: FILTER_OPTIONS[filter.name] }));
  const isFiltered = FILTERS.some(({ name }) => list(name).length) || get("max_gpus") !== "";
  const about = h("p", { class: "hint" });
  const form = h(
    "form",
    { class: "panel", "aria-label": "What to look for" },
    first,
    group(
      "Use case",
      selectField({ name: "use_case", label: "What it is for", options: needsUseCase ? names : [["", "any"], ...names] }),
      about,
    ),
    group("Service level", limits.element),
    group("Budget", numberField({ name: "budget", label: "At most, for the whole instance", unit: "USD/h", placeholder: "none" })),
    group(
      "Figures that were",
      h("div", { class: "checks" }, PROVENANCES.map((kind) => checkField({ name: "provenance", label: kind, value: kind }))),
    ),
    folded(
      "Filters",
      { open: isFiltered },
      filters.map((filter) => filter.element),
      numberField({ name: "max_gpus", label: "At most so many GPUs", step: 1, placeholder: "any" }),
    ),
    last,
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => read(form, event.target));

  const show = () => {
    const { characteristics } = useCases.find(({ subcategory, id }) => [subcategory, id].includes(get("use_case"))) ?? {};
    fill(form);
    limits.show(needsUseCase && !isOn("no_default_limits") ? characteristics?.defaultLimits : []);
    for (const filter of filters) filter.show();
    about.textContent = lengthsText(characteristics);
    about.hidden = !about.textContent;
  };
  const element = h("details", { class: "panel-fold", open: !PHONE.matches }, h("summary", {}, "What to look for"), form);
  return { element, show };
}

function lengthsText(characteristics) {
  const { typicalInputTokens: input, typicalOutputTokens: output } = characteristics ?? {};
  if (!input && !output) return "";
  return `Typically ${(input ?? 0).toLocaleString("en-US")} tokens in, ${(output ?? 0).toLocaleString("en-US")} out.`;
}

/** Takes one field's value into the address. Fields without a name do it themselves. */
function read(form, field) {
  if (!field.name) return;
  if (field.type === "checkbox") {
    const on = [...form.querySelectorAll("input[type=checkbox]")].filter((item) => item.name === field.name && item.checked);
    const values = on.map((item) => item.value);
    // Measured alone is what is ranked without the parameter.
    go({ [field.name]: field.name === "provenance" && String(values) === "measured" ? [] : values });
  } else {
    go({ [field.name]: field.value, top: "" }, { replace: field.type === "number" });
  }
}

function fill(form) {
  for (const field of form.elements) {
    if (!field.name || field === document.activeElement) continue;
    if (field.type === "checkbox") {
      const values = list(field.name);
      const standard = field.name === "provenance" && !values.length ? ["measured"] : values;
      field.checked = standard.includes(field.value);
    } else if (field.type !== "range") {
      field.value = get(field.name) || field.dataset.standard || (field.tagName === "SELECT" ? field.options[0]?.value ?? "" : "");
    }
  }
}
