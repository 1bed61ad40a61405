/** The journal: what was asked and answered. */

import { get } from "./api.js";
import { bodyBlock, bodyText, copyButton, el, facts, section, setText } from "./dom.js";
import { bytes, clockTime, dayTime, duration, time } from "./format.js";
import { gallery } from "./media.js";
import { tables } from "./store.js";

const stateOf = (row) => (row.is_cut ? "cut" : row.status === 0 ? "open" : row.status < 400 ? "fine" : row.status < 500 ? "refused" : "broken");

const statusOf = (row) => (row.status ? String(row.status) : row.is_cut ? "cut" : "open");

export const requests = {
  name: "requests",
  title: "Requests",
  table: tables.requests,
  key: "request",
  groupName: "Host",
  states: [["open", "open"], ["fine", "2xx 3xx"], ["refused", "4xx"], ["broken", "5xx"], ["cut", "cut"]],
  stateOf,
  groupOf: (row) => row.host || "(none)",
  textOf: (row) => `${row.method} ${row.host}${row.path}?${row.query} ${row.status} ${row.tenant}`,
  nothing: "No requests: whatever a client asks this mock for is listed here.",
  grid: "requests-grid",

  head: () => [...["#", "Time", "Status", "Method", "Address"].map((text) => el("span", { text })),
    ...["Took", "Sent", "Answered"].map((text) => el("span", { class: "right", text }))],

  make() {
    const cells = {
      number: el("span", { class: "dim num" }), at: el("span", { class: "num" }), status: el("span", { class: "state" }),
      method: el("span", { class: "method" }), address: el("span", { class: "address" }), took: el("span", { class: "num right" }),
      sent: el("span", { class: "num right dim" }), answered: el("span", { class: "num right dim" }),
    };
    const host = el("span", { class: "dim" });
    const path = el("span");
    cells.address.append(host, path);
    const row = el("div", { class: "requests-grid" }, Object.values(cells));
    row.cells = { ...cells, host, path };
    return row;
  },

  fill({ cells }, row) {
    setText(cells.number, String(row.number));
    setText(cells.at, clockTime(time(row.at)));
    cells.status.dataset.state = stateOf(row);
    setText(cells.status, statusOf(row));
    setText(cells.method, row.method);
    setText(cells.host, row.host);
    setText(cells.path, row.path + (row.query ? `?${row.query}` : ""));
    setText(cells.took, row.took_seconds === null ? "–" : duration(row.took_seconds * 1000));
    setText(cells.sent, bytes(row.request_bytes));
    setText(cells.answered, bytes(row.response_bytes));
  },

  load: (item) => get(`/requests/${item.number}`, { tenant: item.tenant }),

  parts(item, detail) {
    const { tenant } = item;
    const address = `${detail.host}${detail.path}${detail.query ? `?${detail.query}` : ""}`;
    const media = [detail.request, detail.response].map((one) => one.body.json).map((json) => gallery(json, tenant));
    return [
      ["facts", detail, () => section(`Request ${detail.number}`, [copyButton("as curl", () => curl(detail), "Copy as curl")],
        el("p", { class: "wide-address" }, el("strong", { text: detail.method }), " ", address),
        facts([
          ["Status", el("span", { class: "state", "data-state": stateOf(detail), text: statusOf(detail) })],
          ["Time", dayTime(time(detail.at))],
          ["Took", detail.took_seconds === null ? null : duration(detail.took_seconds * 1000)],
          ["Tenant", tenant],
        ]))],
      ["request", detail.request, () => message("Request body", "Request headers", detail.request, detail.request_bytes, media[0])],
      ["response", detail.response, () => message("Response body", "Response headers", detail.response, detail.response_bytes, media[1])],
    ];
  },
};

function message(title, headersTitle, { body, headers, is_truncated }, length, media) {
  const note = is_truncated ? `The whole is ${bytes(length)}; ${bodyText(body) ? "this is its start." : "of it nothing is kept."}` : "";
  return el("div", {}, bodyBlock(title, body, note), media, headers.length ? headersBlock(headersTitle, headers) : null);
}

export function headersBlock(title, headers) {
  const row = ([name, value]) => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text: value }));
  return section(title, [copyButton(title.toLowerCase(), () => headers.map(([name, value]) => `${name}: ${value}`).join("\n"))],
    el("table", { class: "headers" }, el("tbody", {}, headers.map(row))));
}

/** The request as a command. Secrets are not known here: the key is any, which the mock takes. */
export function curl(detail) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const left = ["host", "content-length", "connection", "accept-encoding", "transfer-encoding", "user-agent", "x-fal-target-url"];
  const address = `${location.origin}/${detail.host ? detail.host : ""}${detail.path}${detail.query ? `?${detail.query}` : ""}`;
  const parts = [`curl -X ${detail.method} ${quote(address)}`];
  for (const [name, value] of detail.request.headers) {
    if (!left.includes(name)) parts.push(`-H ${quote(`${name}: ${value.replace("Key ***", "Key any:key")}`)}`);
  }
  const { body } = detail.request;
  if (body.base64) parts.push("--data-binary @body");
  else if (bodyText(body)) parts.push(`--data-raw ${quote("json" in body ? JSON.stringify(body.json) : body.text)}`);
  return parts.join(" \\\n  ");
}
