// Light or dark, before the first paint: what was chosen with the switch, else what the system prefers.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // Storage is switched off: the choice then lasts as long as the page.
    }
  };
  const apply = (theme) => {
    root.dataset.theme = theme ?? (system.matches ? "dark" : "light");
    dispatchEvent(new Event("theme"));
  };
  apply(chosen());
  system.addEventListener("change", () => apply(chosen()));
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => {
      button.textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Use ${button.textContent.toLowerCase()} colours`);
    };
    label();
    addEventListener("theme", label);
    button.addEventListener("click", () => {
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("theme", theme);
      } catch {
        // As above.
      }
      apply(theme);
    });
  });
})();
