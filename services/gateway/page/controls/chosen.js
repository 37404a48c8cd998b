// A field for several names: type or pick one, and it becomes a chip that a click takes away.
import { h, newId, replace } from "../dom.js";
import { go, list } from "../state.js";

/**
 * The field and what fills it from the address. `options()` gives the known names; it is asked when the field
 * is first reached, so that nobody loads what nobody looks for.
 */
export function chosenField({ name, label, options }) {
  const id = newId(name);
  const known = h("datalist", { id: `${id}-known` });
  const chips = h("ul", { class: "chips", "aria-label": `Chosen: ${label.toLowerCase()}` });
  const input = h("input", { id, list: known.id, placeholder: "all", autocomplete: "off", maxlength: 256 });
  let asked = false;
  input.addEventListener("focus", async () => {
    if (asked) return;
    asked = true;
    try {
      replace(known, (await options()).map((value) => h("option", { value })));
    } catch {
      asked = false; // Names can be typed without the list; the next visit asks again.
    }
  });
  const add = () => {
    const value = input.value.trim();
    if (!value) return;
    input.value = "";
    go({ [name]: [...new Set([...list(name), value])] });
  };
  input.addEventListener("change", add);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    add();
  });
  const remove = (value) => {
    go({ [name]: list(name).filter((item) => item !== value) });
    input.focus();
  };
  const show = () => {
    replace(
      chips,
      list(name).map((value) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "chip", "aria-label": `Take away ${value}`, onclick: () => remove(value) },
            value,
            h("span", { "aria-hidden": "true" }, " ×"),
          ),
        ),
      ),
    );
    chips.hidden = !list(name).length;
  };
  return { element: h("div", { class: "field" }, h("label", { for: id }, label), input, known, chips), show };
}
