// Signing in and out. The key goes into a cookie that no script can read; the page keeps nothing of it.
import { forget } from "./catalog.js";
import { announce, h } from "./dom.js";

const ADDRESS = "/session";

async function send(method, body) {
  return fetch(ADDRESS, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
}

/** Shows the way out to those who are signed in. */
export async function showSession() {
  const button = document.getElementById("sign-out");
  const response = await fetch(ADDRESS).catch(() => null);
  const { signed_in: signedIn = false } = response?.ok ? await response.json() : {};
  button.hidden = !signedIn;
}

/** Ends the session, and shows the page as anyone sees it. */
export async function signOut() {
  await send("DELETE").catch(() => null);
  forget();
  announce("Signed out.");
  await showSession();
  dispatchEvent(new Event("reader"));
}

/** A form for an API key. */
export function signInForm() {
  const message = h("p", { class: "wrong", role: "alert" });
  const input = h("input", {
    id: "api-key",
    name: "key",
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    maxlength: 256,
    required: true,
  });
  const form = h(
    "form",
    { class: "sign-in" },
    h("h2", {}, "Sign in"),
    h("p", { class: "muted" }, "Reading needs an API key here. It is kept in a cookie that scripts cannot read, until you sign out or close the browser."),
    h("label", { for: "api-key" }, "API key"),
    input,
    message,
    h("button", { type: "submit", class: "main" }, "Sign in"),
    h("p", { class: "hint" }, "An administrator makes one with ", h("code", {}, "servemark key create NAME --scope read"), "."),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    const response = await send("POST", { key: input.value.trim() }).catch(() => null);
    if (response?.ok) {
      forget();
      announce("Signed in.");
      await showSession();
      dispatchEvent(new Event("reader"));
      return;
    }
    const answer = (await response?.json().catch(() => null)) ?? {};
    message.textContent = answer.message ?? "The server cannot be reached.";
    input.select();
  });
  return form;
}
