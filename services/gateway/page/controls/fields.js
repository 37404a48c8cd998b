// Parts of forms. Each is an element; the form it is in reads and fills it by its name.
import { h, newId } from "../dom.js";

/** A labelled number. `unit` stands behind it. */
export function numberField({ name, label, unit = "", placeholder = "", ...attributes }) {
  const id = newId(name);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    h(
      "span",
      { class: "with-unit" },
      h("input", { id, name, type: "number", min: 0, step: "any", inputmode: "decimal", placeholder, ...attributes }),
      unit && h("span", { "aria-hidden": "true" }, unit),
    ),
  );
}

/** A labelled choice of one: options are `[value, text]`. `standard`: what counts without the parameter. */
export function selectField({ name, label, options, standard = null }) {
  const id = newId(name);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    h("select", { id, name, "data-standard": standard }, options.map(([value, text]) => h("option", { value }, text))),
  );
}

/** A switch whose parameter is `yes` when it is on. */
export const checkField = ({ name, label, value = "yes" }) =>
  h("label", { class: "check" }, h("input", { type: "checkbox", name, value }), h("span", {}, label));

/** A group of fields under a heading. */
export const group = (legend, ...fields) =>
  h("fieldset", {}, h("legend", {}, legend), fields);

/** A group that is closed until someone wants it. */
export const folded = (summary, { open = false, ontoggle } = {}, ...fields) =>
  h("details", { class: "folded", open, ontoggle }, h("summary", {}, summary), h("div", { class: "folded-body" }, fields));
