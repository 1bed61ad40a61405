/** Webhooks: deliveries, their attempts, and whether a receiver would believe them. */

import { get } from "./api.js";
import { bodyBlock, el, facts, section, setText } from "./dom.js";
import { clockTime, dayTime, shortId, time } from "./format.js";
import { headersBlock } from "./requests.js";
import { checkAttempts } from "./signature.js";
import { tables } from "./store.js";

const NAMES = { "in-flight": "on its way", resting: "rests", delivered: "delivered", "given-up": "given up", refused: "not called" };

const resultOf = (attempt) => attempt?.status ?? attempt?.error ?? (attempt ? "on its way" : "–");

export const deliveries = {
  name: "webhooks",
  title: "Webhooks",
  table: tables.deliveries,
  key: "delivery",
  groupName: "Receiver",
  states: Object.entries(NAMES),
  stateOf: (row) => row.state,
  groupOf: (row) => row.url,
  textOf: (row) => `${row.url} ${row.request_id} ${row.why ?? ""} ${row.tenant}`,
  nothing: "No deliveries: a job that was submitted with fal_webhook reports its end to that address.",
  grid: "deliveries-grid",

  head: () => ["#", "State", "Receiver", "Job", "Attempts", "Last attempt", "Its result"].map((text) => el("span", { text })),

  make() {
    const cells = {
      number: el("span", { class: "dim num" }), state: el("span", { class: "state" }), url: el("span", { class: "address" }),
      job: el("code"), attempts: el("span", { class: "num" }), at: el("span", { class: "num" }), result: el("span", { class: "address dim" }),
    };
    const row = el("div", { class: "deliveries-grid" }, Object.values(cells));
    row.cells = cells;
    return row;
  },

  fill({ cells }, row) {
    const last = row.attempts.at(-1);
    setText(cells.number, String(row.number));
    cells.state.dataset.state = row.state;
    setText(cells.state, NAMES[row.state] ?? row.state);
    setText(cells.url, row.url);
    setText(cells.job, shortId(row.request_id));
    setText(cells.attempts, String(row.attempts.length));
    setText(cells.at, last ? clockTime(time(last.at)) : "–");
    setText(cells.result, row.why ?? String(resultOf(last)));
  },

  async load(item) {
    const { tenant } = item;
    const [detail, jwks] = await Promise.all([get(`/webhooks/${item.number}`, { tenant }), get("/webhooks/jwks.json", { tenant })]);
    detail.checks = await checkAttempts(detail, jwks);
    return detail;
  },

  parts(item, detail, app) {
    const job = el("a", { href: app.link("jobs", item.tenant, detail.request_id), text: detail.request_id });
    return [
      ["facts", [detail.state, detail.why, detail.url], () => section(`Delivery ${detail.number}`, [], facts([
        ["State", el("span", { class: "state", "data-state": detail.state, text: NAMES[detail.state] ?? detail.state })],
        ["Why", detail.why], ["Receiver", detail.url], ["Job", job], ["Tenant", item.tenant],
      ]))],
      ["attempts", [detail.attempts, detail.checks], () => attemptsBlock(detail)],
      ["body", detail.body_text, () => bodyBlock("Body", detail.body)],
      ["headers", detail.attempts.at(-1)?.headers, () => (detail.attempts.length
        ? headersBlock("Headers of the last attempt", detail.attempts.at(-1).headers)
        : el("div"))],
    ];
  },
};

function attemptsBlock({ attempts, checks }) {
  if (!attempts.length) return section("Attempts", [], el("p", { class: "dim", text: "None was made." }));
  const row = (attempt, at) => el("tr", {},
    el("td", { class: "num", text: String(at + 1) }),
    el("td", { class: "num", text: dayTime(time(attempt.at)) }),
    el("td", { text: String(resultOf(attempt)) }),
    el("td", {}, el("span", { class: "state", "data-state": checks[at].ok ? "valid" : "invalid", title: checks[at].how,
      text: checks[at].ok ? "valid" : "does not verify" })));
  const heads = ["#", "Time", "Result", "Signature"].map((text) => el("th", { scope: "col", text }));
  return section(`Attempts`, [el("span", { class: "dim", text: `Signatures ${checks[0].how}` })],
    el("table", { class: "attempts" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, attempts.map(row))));
}
