/** Faults of a scenario: each time that one has happened, and to whom. */

import { get } from "./api.js";
import { el, facts, section, setText } from "./dom.js";
import { clockTime, dayTime, time } from "./format.js";
import { tables } from "./store.js";

export const faults = {
  name: "faults",
  title: "Faults",
  table: tables.faults,
  key: "fault",
  groupName: "Fault",
  states: [],
  stateOf: () => "",
  groupOf: (row) => row.fault,
  textOf: (row) => `${row.name} ${row.fault} ${row.whom} ${row.tenant}`,
  nothing: "No faults: what a scenario lets go wrong is listed here when it has happened.",
  grid: "faults-grid",

  head: () => ["Time", "Fault", "Name", "Times", "What it happened to"].map((text) => el("span", { text })),

  make() {
    const cells = { at: el("span", { class: "num" }), fault: el("span", { class: "state", "data-state": "failed" }), name: el("span"),
      number: el("span", { class: "num dim" }), whom: el("code", { class: "address" }) };
    const row = el("div", { class: "faults-grid" }, Object.values(cells));
    row.cells = cells;
    return row;
  },

  fill({ cells }, row) {
    setText(cells.at, clockTime(time(row.at)));
    setText(cells.fault, row.fault);
    setText(cells.name, row.name);
    setText(cells.number, String(row.number));
    setText(cells.whom, row.whom);
  },

  /** How the fault stands as a whole. */
  async load(item) {
    const { faults: all } = await get("/faults", { tenant: item.tenant });
    return all.find(({ name }) => name === item.name) ?? null;
  },

  parts(item, fault, app) {
    if (!item.name) return [["gone", 1, () => el("p", { class: "dim", text: "This is not remembered any more." })]];
    const job = item.request_id ? el("a", { href: app.link("jobs", item.tenant, item.request_id), text: item.request_id }) : null;
    return [["facts", [item, fault?.fitted, fault?.fired], () => section(item.name, [], facts([
      ["Fault", item.fault], ["Time", dayTime(time(item.at))], ["Happened to", item.whom], ["Job", job], ["Number", item.number],
      ["In all", fault ? `happened ${fault.fired} times, its conditions fitted ${fault.fitted} times` : null], ["Tenant", item.tenant],
    ]))]];
  },
};
