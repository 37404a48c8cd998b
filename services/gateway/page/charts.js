// Charts: the library is loaded with the first one, and colours follow light and dark.
import { h } from "./dom.js";
import { save } from "./csv.js";

let loading = null;

async function library() {
  // The file sets the global `echarts`; it is no module of its own.
  loading ??= import("./vendor/echarts.common.min.js").then(() => globalThis.echarts);
  return loading;
}

/** A colour of the style sheet, as it is on the ground shown now. */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** What every chart has: text and lines in the page's colours, and tooltips without HTML. */
export function base() {
  const text = { color: color("text"), fontFamily: getComputedStyle(document.body).fontFamily };
  return {
    animation: false,
    useUTC: true,
    backgroundColor: "transparent",
    textStyle: text,
    tooltip: {
      // Rich text is drawn, so that no name can bring HTML of its own.
      renderMode: "richText",
      backgroundColor: color("surface"),
      borderColor: color("line-strong"),
      textStyle: { ...text, fontSize: 13 },
    },
  };
}

/** An axis in the page's colours. The upright one has its name above it, where it is read without turning. */
export const axis = (options) => ({
  nameTextStyle: { color: color("muted"), fontSize: 13 },
  axisLabel: { color: color("muted"), hideOverlap: true },
  axisLine: { lineStyle: { color: color("line-strong") } },
  splitLine: { lineStyle: { color: color("line") } },
  ...options,
});

/**
 * A chart's element. `draw(options, onClick)` shows options made anew by a function, which is asked again when
 * the colours change; `saveImage(name)` saves what is shown as PNG.
 */
export function chart(label) {
  const element = h("div", { class: "chart", role: "img", "aria-label": label });
  let instance = null;
  let makeOptions = null;

  function redraw() {
    if (!instance || !element.isConnected) return;
    instance.setOption(makeOptions(), { notMerge: true });
  }

  async function draw(options, onClick) {
    makeOptions = options;
    const echarts = await library();
    if (!element.isConnected) return;
    if (!instance) {
      instance = echarts.init(element, null, { renderer: "canvas" });
      instance.on("click", (event) => onClick?.(event));
      new ResizeObserver(() => element.isConnected && instance.resize()).observe(element);
      addEventListener("theme", redraw);
    }
    redraw();
  }

  function dispose() {
    removeEventListener("theme", redraw);
    instance?.dispose();
    instance = null;
  }

  async function saveImage(name) {
    if (!instance) return;
    const url = instance.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: color("surface") });
    const bytes = Uint8Array.from(atob(url.split(",")[1]), (letter) => letter.charCodeAt(0));
    save(new Blob([bytes], { type: "image/png" }), name);
  }
  return { element, draw, dispose, saveImage };
}
