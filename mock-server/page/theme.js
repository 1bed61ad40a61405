/** Dark and light: as the system wants it, unless somebody has chosen. */

import { byId } from "./dom.js";

const NAMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
const ORDER = Object.keys(NAMES);
const KEY = "fal-mock-theme";

let theme = "auto";

export function nextTheme() {
  set(ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length]);
}

function set(wanted) {
  theme = wanted in NAMES ? wanted : "auto";
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = { auto: "System", light: "Light", dark: "Dark" }[theme];
  byId("theme").setAttribute("aria-label", NAMES[theme]);
  byId("theme").title = `${NAMES[theme]} (t)`;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Where nothing may be kept it holds until the page is closed.
  }
}

export function startTheme() {
  let kept = "auto";
  try {
    kept = localStorage.getItem(KEY) ?? "auto";
  } catch {
    // As above.
  }
  set(kept);
  byId("theme").addEventListener("click", nextTheme);
}
