// A card beside what is pointed at or focused. Escape closes it; what it says is also behind the click.
import { h, replace } from "../dom.js";

const card = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });

function hide() {
  card.hidden = true;
}

function place(anchor) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = card;
  const below = box.bottom + 8 + height < innerHeight;
  const top = below ? box.bottom + 8 : Math.max(8, box.top - 8 - height);
  const left = Math.max(8, Math.min(box.left, innerWidth - width - 8));
  card.style.setProperty("top", `${top + scrollY}px`);
  card.style.setProperty("left", `${left + scrollX}px`);
}

/** Shows `content()` while the anchor is pointed at or has the keyboard's focus. */
export function tipFor(anchor, content) {
  const show = () => {
    if (anchor.getAttribute("aria-expanded") === "true") return;
    if (!card.isConnected) document.body.append(card);
    replace(card, content());
    card.hidden = false;
    place(anchor);
  };
  anchor.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show());
  anchor.addEventListener("pointerleave", hide);
  anchor.addEventListener("focus", () => anchor.matches(":focus-visible") && show());
  anchor.addEventListener("blur", hide);
  anchor.addEventListener("click", hide);
  anchor.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
