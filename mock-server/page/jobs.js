/** Jobs: on an axis of time, and one of them with all that is known of it. */

import { get } from "./api.js";
import { RANGES, marks, spans, stretch } from "./axis.js";
import { bodyBlock, button, byId, copyButton, el, facts, section, setText } from "./dom.js";
import { clockTime, dayTime, duration, shortId, time } from "./format.js";
import { gallery } from "./media.js";
import { nowOf, tables } from "./store.js";

const NAMES = { queued: "waiting", running: "running", succeeded: "done", failed: "failed", cancelled: "cancelled" };

const stateOf = (row) => (row.state === "failed" && row.cancel_asked ? "cancelled" : row.state);
export const isOver = (row) => row.state === "succeeded" || row.state === "failed";
const nowFor = (row) => nowOf(row.tenant).now;

/** How long it has waited and run, together. */
const tookOf = (row) => (time(row.ended) ?? Math.max(nowFor(row), time(row.submitted))) - time(row.submitted);

const range = byId("range");
range.replaceChildren(...RANGES.map(([value, text]) => el("option", { value, text })));
const axis = el("div", { class: "axis" });

/** The stretch of time that is drawn. */
let shown = null;

export const jobs = {
  name: "jobs",
  title: "Jobs",
  table: tables.jobs,
  key: "job",
  groupName: "Endpoint",
  states: Object.entries(NAMES),
  stateOf,
  groupOf: (row) => row.endpoint,
  textOf: (row) => `${row.request_id} ${row.endpoint} ${row.error ?? ""} ${row.tenant}`,
  grid: "jobs-grid",
  range,

  head: () => [...["State", "Endpoint", "Id", "Submitted"].map((text) => el("span", { text })), el("span", { class: "right", text: "Took" }), axis],

  make() {
    const cells = {
      state: el("span", { class: "state" }), endpoint: el("span", { class: "address" }), id: el("code"),
      at: el("span", { class: "num" }), took: el("span", { class: "num right" }), track: el("span", { class: "track", "aria-hidden": "true" }),
    };
    const [wait, run] = [el("span", { class: "wait" }), el("span", { class: "run" })];
    cells.track.append(wait, run);
    const row = el("div", { class: "jobs-grid" }, Object.values(cells));
    row.cells = { ...cells, wait, run };
    return row;
  },

  /** Called before rows are filled, with those that are seen. */
  begin(seen, all) {
    shown = stretch(range.value, seen, all, nowFor);
    if (!shown) return axis.replaceChildren();
    const found = marks(shown);
    while (axis.children.length < found.length) axis.append(el("span"));
    [...axis.children].forEach((mark, at) => {
      mark.hidden = !found[at];
      if (!found[at]) return;
      mark.style.left = `${found[at].left * 100}%`;
      setText(mark, found[at].text);
    });
  },

  fill({ cells }, row) {
    const state = stateOf(row);
    cells.state.dataset.state = state;
    setText(cells.state, state === "queued" && row.queue_position > 0 ? `${row.queue_position} ahead` : NAMES[state]);
    setText(cells.endpoint, row.endpoint);
    setText(cells.id, shortId(row.request_id));
    setText(cells.at, clockTime(time(row.submitted)));
    setText(cells.took, duration(tookOf(row)));
    if (!shown) return;
    const { wait, run } = spans(row, shown, nowFor(row));
    cells.track.dataset.state = state;
    place(cells.wait, wait);
    place(cells.run, run);
  },

  load: (item) => get(`/jobs/${item.request_id}`, { tenant: item.tenant }),

  parts(item, detail, app) {
    const { tenant } = item;
    const state = stateOf(detail);
    const id = detail.request_id;
    const [waited, ran] = [time(detail.started) ?? time(detail.ended), time(detail.ended)];
    const own = [...tables.deliveries.rows.values()].filter((row) => row.tenant === tenant && row.request_id === id);
    const calls = [...tables.requests.rows.values()].filter((row) => row.tenant === tenant && row.path.includes(id)).slice(-CALLS_MAX);
    const status = el("span", { class: "state", "data-state": state, text: NAMES[state] });
    const result = detail.result;
    return [
      ["facts", [state, detail.queue_position, detail.started, detail.ended, detail.attempts, detail.cancel_asked], () => section(detail.endpoint, [],
        facts([
          ["State", status], ["Position", detail.queue_position],
          ["Id", el("span", {}, el("code", { text: id }), " ", copyButton("id", () => id))],
          ["Error", detail.error], ["Submitted", dayTime(time(detail.submitted))],
          ["Waited", waited === null ? null : duration(waited - time(detail.submitted))],
          ["Ran", ran === null || !detail.started ? null : duration(ran - time(detail.started))],
          ["Runs", detail.attempts > 1 ? detail.attempts : null], ["Priority", detail.is_low_priority ? "low" : null],
          ["Cancel", detail.cancel_asked && state !== "cancelled" ? "asked for" : null],
          ["Webhook", detail.webhook], ["Tenant", tenant],
        ]))],
      ["actions", [detail.state, detail.webhook !== null], () => actions(detail, app)],
      ["output", result, () => (result === null ? el("div") : el("div", {}, gallery(result.body.json, tenant),
        bodyBlock(result.status === 200 ? "Output" : `Error, ${result.status}`, result.body)))],
      ["input", detail.input, () => el("div", {}, bodyBlock("Input", detail.input), gallery(detail.input.json, tenant))],
      ["logs", detail.logs, () => logs(detail.logs)],
      ["deliveries", own.map((one) => [one.number, one.state, one.attempts.length]), () => (own.length
        ? section("Deliveries", [], el("ul", { class: "links" }, own.map((one) => el("li", {},
          el("a", { href: app.link("webhooks", tenant, one.number), text: `${one.url}` }),
          el("span", { class: "dim", text: ` ${one.state}, ${one.attempts.length} attempts` })))))
        : el("div"))],
      ["calls", calls.map((one) => [one.number, one.status]), () => (calls.length
        ? section("Calls about it", [], el("ul", { class: "links" }, calls.map((one) => el("li", {},
          el("a", { href: app.link("requests", tenant, one.number), text: `${one.method} …${one.path.slice(one.path.indexOf(id) + id.length) || "/"}` }),
          el("span", { class: "dim", text: ` ${one.status || "open"} at ${clockTime(time(one.at))}` })))))
        : el("div"))],
      ["headers", detail.headers, () => (detail.headers.length
        ? section("Headers that are kept", [], el("table", { class: "headers" }, el("tbody", {}, detail.headers.map(([name, value]) => el("tr", {},
          el("th", { scope: "row", text: name }), el("td", { text: value }))))))
        : el("div"))],
    ];
  },
};

function place(span, at) {
  span.hidden = !at;
  if (!at) return;
  span.style.left = `${at.left * 100}%`;
  span.style.width = `${Math.max(0, at.right - at.left) * 100}%`;
}

/** What can be done to a job by hand, and whether it can be now. */
export const ACTIONS = [
  ["finish", "Finish", "f", (job) => !isOver(job), "End it now as it would have ended"],
  ["fail", "Fail…", "x", (job) => !isOver(job), "Let it fail now"],
  ["requeue", "Requeue", "r", (job) => job.state === "running", "Put it back into the queue, as when its runner is lost"],
  ["cancel", "Cancel", "c", (job) => !isOver(job), "Ask for its cancel, as its caller would"],
  ["redeliver", "Redeliver", "d", (job) => isOver(job) && job.webhook !== null, "Deliver its news once more"],
  ["run-until", "Run to its end", "u", (job) => !isOver(job), "Move the clock on until it is over"],
];

function actions(job, app) {
  return el("div", { class: "actions", role: "group", "aria-label": "What can be done to this job" },
    ACTIONS.map(([name, text, key, isPossible, why]) => button(text, () => app.act(name), {
      title: `${why} (${key})`, disabled: !isPossible(job), "data-action": name, class: name === "fail" || name === "cancel" ? "danger" : null,
    })));
}

function logs(lines) {
  if (!lines.length) return section("Logs", [], el("p", { class: "dim", text: "Nothing was written yet." }));
  return section("Logs", [], el("ol", { class: "logs" }, lines.map(({ at, message }) => el("li", {},
    el("time", { datetime: at, text: clockTime(time(at)) }), el("span", { text: message })))));
}

/** Calls about one job that are listed with it. */
const CALLS_MAX = 50;
