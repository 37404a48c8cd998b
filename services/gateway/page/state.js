// What is shown, as the address says it: a copied address shows the same view with the same controls.

/** The address's parameters. */
export const params = () => new URLSearchParams(location.search);

/** The first value of a parameter; "" if it is not there. */
export const get = (name) => params().get(name) ?? "";

/** All values of a parameter. */
export const list = (name) => params().getAll(name).filter(Boolean);

/** Whether a yes-or-no parameter is yes. */
export const isOn = (name) => get(name) === "yes";

/** The address after changes: `{name: value}`, an array for several values, "" or null to take it away. */
export function href(changes) {
  const changed = params();
  for (const [name, value] of Object.entries(changes)) {
    changed.delete(name);
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== "" && item !== null && item !== undefined) changed.append(name, item);
    }
  }
  const query = changed.toString();
  return query ? `/?${query}` : "/";
}

/** Goes to the address after changes. `replace`: the way back skips it, as for each letter of a number typed. */
export function go(changes, { replace = false } = {}) {
  const address = href(changes);
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new Event("state"));
}

/** Calls back after every change of the address, the browser's back and forward included. */
export function onChange(callback) {
  addEventListener("state", callback);
  addEventListener("popstate", callback);
  // Links within the page change the address without loading it anew.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='/?'], a[href='/']");
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    dispatchEvent(new Event("state"));
  });
}
