// When a call fails: what happened, and what the reader can do.
import { h } from "./dom.js";
import { empty } from "./parts.js";
import { signInForm } from "./session.js";

/** What to show instead of an answer. `again` repeats the call. */
export function problem(error, again) {
  if (error.needsKey) return signInForm(again);
  if (error.code === "permission_denied") {
    return empty("This key may not read.", h("p", {}, error.message), signInForm(again));
  }
  const heading = error.code === "invalid_argument" ? "The request was refused" : "This did not work";
  return empty(
    heading,
    h("p", {}, error.message),
    error.fields?.length > 0 &&
      h("ul", {}, error.fields.map(({ field, description }) => h("li", {}, `${field}: ${description}`))),
    h("p", {}, h("button", { type: "button", onclick: again }, "Try again")),
  );
}
