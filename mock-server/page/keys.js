/** The keyboard: one table, which is also what the help shows. */

import { button, byId, el } from "./dom.js";

/** Listens to the keys of a table: `[keys, what, run]` each. */
export function startKeys(table) {
  const runs = new Map(table.flatMap(([keys, , run]) => keys.map((key) => [key, run])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (document.querySelector("dialog[open]")) return;
    const isTyping = target.matches("input, textarea, select, video, audio");
    if (isTyping && event.key !== "Escape") return;
    // On a button these do what they always do.
    if ((event.key === "Enter" || event.key === " ") && target.matches("button, a, summary")) return;
    const run = runs.get(event.key);
    if (!run) return;
    event.preventDefault();
    if (isTyping) target.blur();
    run();
  });
  byId("keys-open").addEventListener("click", () => showKeys(table));
}

export function showKeys(table) {
  const dialog = byId("keys");
  const row = ([keys, what]) => el("tr", {},
    el("td", {}, keys.flatMap((key, at) => [at ? " or " : "", el("kbd", { text: NAMES[key] ?? key })])), el("td", { text: what }));
  dialog.replaceChildren(
    el("h2", { id: "keys-title", text: "Keys" }),
    el("table", { class: "keys" }, el("tbody", {}, table.map(row))),
    el("p", { class: "buttons" }, button("Close", () => dialog.close(), { autofocus: true })));
  dialog.showModal();
}

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", " ": "Space", Escape: "Esc" };
