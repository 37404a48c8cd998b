// The frame: tabs, the view that the address names, and who reads.
import { h, replace } from "./dom.js";
import { showSession, signOut } from "./session.js";
import { get, href, onChange } from "./state.js";
import { showTray } from "./tray.js";

const VIEWS = {
  leaderboard: ["Leaderboard", () => import("./views/leaderboard.js")],
  pareto: ["Pareto", () => import("./views/pareto.js")],
  trends: ["Trends", () => import("./views/trends.js")],
  compare: ["Compare", () => import("./views/compare.js")],
  configuration: ["Configuration", () => import("./views/configuration.js")],
};

const root = document.getElementById("view");
let shown = null;
let update = () => {};

const viewName = () => (Object.hasOwn(VIEWS, get("view")) ? get("view") : "leaderboard");

function showTabs(current) {
  replace(
    document.getElementById("tabs"),
    Object.entries(VIEWS).map(([name, [label]]) =>
      h("a", { href: href({ view: name === "leaderboard" ? "" : name }), "aria-current": name === current ? "page" : null }, label),
    ),
  );
  // On a narrow screen the tabs are wider than it.
  document.querySelector("#tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
}

async function show() {
  const name = viewName();
  showTabs(name);
  showTray(name);
  document.title = `${VIEWS[name][0]} · Servemark`;
  if (name !== shown) {
    const moved = shown !== null;
    shown = name;
    const view = await VIEWS[name][1]();
    if (name !== viewName()) return;
    root.replaceChildren();
    update = view.mount(root);
    if (moved) {
      scrollTo(0, 0);
      root.focus({ preventScroll: true });
    }
  }
  update();
}

function startAgain() {
  shown = null;
  show();
}

onChange(show);
addEventListener("reader", startAgain);
document.getElementById("sign-out").addEventListener("click", signOut);
show();
showSession();
