/** Files: uploads, and what models have made. */

import { el, facts, section, setText } from "./dom.js";
import { bytes, dayTime, time } from "./format.js";
import { isOurs, mediaView } from "./media.js";
import { tables } from "./store.js";

const stateOf = (row) => (row.is_complete ? "complete" : "incomplete");
const nameOf = (row) => row.url.split("/").at(-1);
const sizeOf = (row) => (row.is_complete && row.bytes === 0 ? "not drawn yet" : bytes(row.bytes));

export const files = {
  name: "files",
  title: "Files",
  table: tables.files,
  key: "file",
  groupName: "Type",
  states: [["complete", "complete"], ["incomplete", "uploading"]],
  stateOf,
  groupOf: (row) => row.content_type,
  textOf: (row) => `${row.url} ${row.content_type} ${row.tenant}`,
  nothing: "No files: uploads and what models make are listed here.",
  grid: "files-grid",

  head: () => ["State", "Name", "Type", "Size", "Over at"].map((text) => el("span", { text })),

  make() {
    const cells = {
      state: el("span", { class: "state" }), name: el("span", { class: "address" }), type: el("span"),
      size: el("span", { class: "num" }), until: el("span", { class: "num dim" }),
    };
    const row = el("div", { class: "files-grid" }, Object.values(cells));
    row.cells = cells;
    return row;
  },

  fill({ cells }, row) {
    cells.state.dataset.state = stateOf(row);
    setText(cells.state, row.is_complete ? "complete" : `${row.parts} parts`);
    setText(cells.name, nameOf(row));
    setText(cells.type, row.content_type);
    setText(cells.size, sizeOf(row));
    setText(cells.until, row.expires_at ? dayTime(time(row.expires_at)) : "never");
  },

  load: async (item) => item,

  parts(item, row) {
    if (!row.url) return [["gone", 1, () => el("p", { class: "dim", text: "This file is not there any more." })]];
    return [
      ["facts", row, () => section("File", [], facts([
        ["State", el("span", { class: "state", "data-state": stateOf(row), text: row.is_complete ? "complete" : "uploading" })],
        ["Address", row.url], ["Type", row.content_type], ["Size", sizeOf(row)],
        ["Parts", row.is_complete ? null : row.parts], ["Over at", row.expires_at ? dayTime(time(row.expires_at)) : "never"], ["Tenant", item.tenant],
      ]))],
      ["media", [row.url, row.is_complete], () => (row.is_complete && isOurs(row.url)
        ? mediaView({ url: row.url, type: row.content_type }, item.tenant)
        : el("p", { class: "dim", text: "Its upload is not complete." }))],
    ];
  },
};
