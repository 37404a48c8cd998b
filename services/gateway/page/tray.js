// Configurations picked to be compared, at the foot of the page until they are.
import { h, replace } from "./dom.js";
import { counted } from "./names.js";
import { go, href, list } from "./state.js";

export const MOST = 4;

/** Ids of the configurations that are picked. */
export const picked = () => list("compare").slice(0, MOST);

/** Picks a configuration, or puts it back. */
export function pick(configId, isPicked) {
  const others = picked().filter((id) => id !== configId);
  go({ compare: isPicked ? [...others, configId].slice(-MOST) : others }, { replace: true });
}

/** A box that picks a configuration. */
export function pickBox(alternative, name) {
  return h(
    "label",
    { class: "check pick" },
    h("input", {
      type: "checkbox",
      checked: picked().includes(alternative.configId),
      "data-pick": alternative.configId,
      "aria-label": `Compare ${name}`,
      onchange: (event) => pick(alternative.configId, event.target.checked),
    }),
    h("span", { "aria-hidden": "true" }, "Compare"),
  );
}

/** Shows how many are picked, and the way to compare them. */
export function showTray(view) {
  const count = picked().length;
  const tray = document.getElementById("tray");
  tray.hidden = count === 0 || view === "compare";
  document.body.classList.toggle("with-tray", !tray.hidden);
  for (const box of document.querySelectorAll("[data-pick]")) box.checked = picked().includes(box.dataset.pick);
  if (tray.hidden) return replace(tray);
  return replace(
    tray,
    h("section", { class: "tray", "aria-label": "Picked to compare" },
      h("span", {}, counted(count, "configuration"), " picked", count === MOST && " (the most)"),
      count > 1
        ? h("a", { class: "button main", href: href({ view: "compare" }) }, "Compare")
        : h("span", { class: "muted" }, "Pick one more to compare."),
      h("button", { type: "button", class: "quiet", onclick: () => go({ compare: [] }, { replace: true }) }, "Clear")),
  );
}
