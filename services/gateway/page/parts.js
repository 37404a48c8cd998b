// Pieces that several views show: a configuration's name, notices, lists, things that went wrong.
import { dotClass } from "./colors.js";
import { h } from "./dom.js";
import { frameworkText, gpusText, loadText, provenanceText } from "./names.js";
import { href } from "./state.js";

/** A configuration in three lines, its name a link to all its runs. */
export function alternativeName(alternative, { link = true } = {}) {
  const name = h("strong", {}, alternative.model ?? "");
  const measured = alternative.provenance === "PROVENANCE_MEASURED";
  const canOpen = link && !alternative.estimate;
  return h(
    "div",
    { class: "alternative" },
    h(
      "div",
      {},
      canOpen ? h("a", { href: href({ view: "configuration", config: alternative.configId, page: "" }) }, name) : name,
      alternative.quantization && h("span", { class: "tag" }, alternative.quantization),
      !measured && alternative.provenance && h("span", { class: "tag warn" }, provenanceText(alternative.provenance)),
    ),
    h(
      "div",
      {},
      gpusText(alternative),
      h("span", { class: "sep", "aria-hidden": "true" }, " · "),
      h("span", { class: dotClass(alternative.framework ?? ""), "aria-hidden": "true" }),
      frameworkText(alternative),
    ),
    h("div", { class: "muted" }, loadText(alternative)),
  );
}

/** A heading over a list of sentences; nothing where there are none. */
export const sentences = (heading, items) =>
  items.length > 0 && h("section", { class: "sentences" }, h("h3", {}, heading), h("ul", {}, items.map((item) => h("li", {}, item))));

/** What the reader of an answer should know. */
export const notices = (items = []) => {
  const texts = items.map(({ text }) => text).filter(Boolean);
  return texts.length > 0 && h("section", { class: "notices", "aria-label": "Notes" }, h("ul", {}, texts.map((text) => h("li", {}, text))));
};

/** A quiet place for what is not there yet, with what to do about it. */
export const empty = (heading, ...body) => h("section", { class: "empty" }, h("h2", {}, heading), body);

/** A command to copy. */
export const command = (text) => h("pre", {}, h("code", {}, text));

/** A table that scrolls by itself where it is wider than the screen. */
export const scrolling = (label, table) =>
  h("div", { class: "scrolling", role: "region", "aria-label": label, tabindex: 0 }, table);

/** While an answer is on its way. */
export const waiting = () => h("p", { class: "waiting" }, "Loading …");
