/** The page: what is shown, and what the keyboard and the address do. */

import { get, listen, post } from "./api.js";
import { ClockView } from "./clock.js";
import { deliveries } from "./deliveries.js";
import { Panel, button, byId, el, setText } from "./dom.js";
import { faults } from "./faults.js";
import { files } from "./files.js";
import { count } from "./format.js";
import { ACTIONS, isOver, jobs } from "./jobs.js";
import { showKeys, startKeys } from "./keys.js";
import { List } from "./list.js";
import { requests } from "./requests.js";
import { welcome } from "./start.js";
import { load, nowOf, take, tables, tenants } from "./store.js";
import { nextTheme, startTheme } from "./theme.js";

const VIEWS = [jobs, requests, deliveries, files, faults];

/** What is shown. The address says the same. */
const shown = { view: jobs, tenant: "", text: "", group: "", states: new Set(), open: null };

const list = new List(byId("list"), { onOpen: (item) => open(item), onView: () => draw() });
const panel = new Panel(el("div", { class: "panel" }));
const clock = new ClockView(byId("clock"), { tenant: clockTenant, report, link: (tenant, id) => link("jobs", tenant, id) });

/** Whose clock is shown: the chosen tenant's, or that of what is open, or the first one's. */
function clockTenant() {
  return shown.tenant || shown.open?.tenant || "default";
}

// Rows

let filtered = { version: -1, items: [] };

/** The rows that are wanted, the latest first. */
function wanted() {
  const { view, tenant, text, group, states } = shown;
  const signature = [view.name, view.table.version, tenant, text, group, ...states].join("\n");
  if (filtered.signature === signature) return filtered.items;
  const needle = text.toLowerCase();
  const items = [];
  for (const row of view.table.rows.values()) {
    if ((!tenant || row.tenant === tenant) && (!group || view.groupOf(row) === group) && (!states.size || states.has(view.stateOf(row)))
      && (!needle || (row.text ??= view.textOf(row).toLowerCase()).includes(needle))) items.push(row);
  }
  items.reverse();
  filtered = { signature, items };
  list.set(items);
  return items;
}

let isPlanned = false;

/** Draws once before the next frame, however often it is asked for. */
function plan() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    render();
  });
}

function render() {
  const items = wanted();
  const { view } = shown;
  const isEmpty = items.length === 0;
  byId("list").hidden = isEmpty;
  byId("head").hidden = isEmpty;
  byId("empty").hidden = !isEmpty;
  if (isEmpty) renderEmpty(view);
  else draw();
  renderTabs();
  renderGroups();
  renderTenants();
}

function draw() {
  shown.view.begin?.(list.seen(), list.items);
  list.draw();
}

/** Fills a row, and says whose it is where several tenants are shown. */
function fill(view, row, item) {
  view.fill(row, item);
  row.querySelector(".address").dataset.tenant = !shown.tenant && tenants.size > 1 ? item.tenant : "";
}

function renderEmpty(view) {
  const isFiltered = view.table.rows.size > 0;
  const kind = isFiltered ? "filtered" : view.name;
  const root = byId("empty");
  if (root.dataset.kind === kind) return;
  root.dataset.kind = kind;
  if (isFiltered) root.replaceChildren(el("p", { text: "Nothing here fits the filter." }), button("Show everything", clearFilter));
  else if (view === jobs) root.replaceChildren(...welcome());
  else root.replaceChildren(el("p", { text: view.nothing }));
}

function renderTabs() {
  for (const tab of byId("tabs").children) {
    const view = VIEWS.find(({ name }) => name === tab.dataset.view);
    tab.setAttribute("aria-selected", view === shown.view);
    tab.tabIndex = view === shown.view ? 0 : -1;
    setText(tab.querySelector(".count"), count(view.table.rows.size));
  }
}

let groupsVersion = "";

/** The choices of the second filter: as many as there are, up to a limit. */
function renderGroups() {
  const { view, group } = shown;
  const version = `${view.name} ${view.table.version} ${group}`;
  if (version === groupsVersion || document.activeElement === byId("group")) return;
  groupsVersion = version;
  const names = new Set(group ? [group] : []);
  for (const row of view.table.rows.values()) {
    names.add(view.groupOf(row));
    if (names.size >= GROUPS_MAX) break;
  }
  setOptions(byId("group"), [["", `${view.groupName}: all`], ...[...names].sort().map((name) => [name, name])], group);
}

function renderTenants() {
  const names = [...tenants];
  byId("tenant-field").hidden = names.length < 2;
  clock.name(names.length > 1);
  setOptions(byId("tenant"), [["", `${names.length} tenants`], ...names.map((name) => [name, name])], shown.tenant);
}

function setOptions(select, options, value) {
  const signature = JSON.stringify(options);
  if (select.dataset.signature !== signature && document.activeElement !== select) {
    select.dataset.signature = signature;
    select.replaceChildren(...options.map(([name, text]) => el("option", { value: name, text })));
  }
  if (select.value !== value) select.value = value;
}

// One of them

function open(item) {
  const isNew = shown.open?.key !== item.key;
  shown.open = item;
  list.select(item.key);
  remember(isNew);
  refreshDetail();
  plan();
}

function close() {
  shown.open = null;
  byId("detail").hidden = true;
  remember(true);
  byId("list").focus({ preventScroll: true });
  plan();
}

let detailTurn = 0;

/** Asks for what is open, and draws it. */
async function refreshDetail() {
  const { open: item, view } = shown;
  const root = byId("detail");
  if (!item) {
    root.hidden = true;
    return;
  }
  const turn = ++detailTurn;
  const current = view.table.rows.get(item.key) ?? item;
  let parts;
  try {
    const detail = await view.load(current);
    if (turn !== detailTurn) return;
    shown.detail = detail;
    parts = view.parts(current, detail, app);
  } catch (error) {
    if (turn !== detailTurn) return;
    shown.detail = null;
    parts = [["refused", error.message, () => el("p", { class: "dim", role: "alert", text: error.message })]];
  }
  if (!root.contains(panel.root)) {
    root.replaceChildren(button("Close", close, { class: "quiet close", "aria-label": "Close the details", title: "Close (Esc)" }), panel.root);
  }
  root.hidden = false;
  panel.draw(`${view.name} ${item.key}`, parts);
}

let detailPlanned = null;

/** The same soon, for news that come in dozens. */
function planDetail() {
  detailPlanned ??= setTimeout(() => {
    detailPlanned = null;
    refreshDetail();
  }, DETAIL_PAUSE_MS);
}

/** Does something to the job that is open, or that is marked. */
async function act(name) {
  const item = shown.view === jobs ? shown.open ?? list.items[list.index.get(list.selected)] : null;
  if (!item) return report("Choose a job first: j and k move, Enter opens.");
  if (name === "fail") return askHowToFail(item);
  await perform(item, name);
}

async function perform(item, name, body) {
  const { tenant, request_id: id } = item;
  try {
    if (name === "run-until") await post("/clock/run-until", { tenant, body: { job: id } });
    else await post(`/jobs/${id}/${name}`, { tenant, body });
  } catch (error) {
    report(error.message);
  }
  planDetail();
}

let failing = null;

function askHowToFail(item) {
  if (isOver(tables.jobs.rows.get(item.key) ?? item)) return report("The job is over already.");
  failing = item;
  byId("fail").showModal();
}

function startFailing() {
  byId("fail-close").addEventListener("click", () => byId("fail").close());
  byId("fail-form").addEventListener("submit", () => {
    const body = { status: Number(byId("fail-status").value), detail: byId("fail-detail").value };
    perform(failing, "fail", body);
  });
}

// The address

function link(name, tenant, id) {
  const view = VIEWS.find((one) => one.name === name);
  const parameters = new URLSearchParams({ [view.key]: id });
  if (tenant !== "default") parameters.set("of", tenant);
  return `#${parameters}`;
}

/** Writes what is shown into the address. */
function remember(isStep = false) {
  const { view, tenant, text, group, states, open: item } = shown;
  const parameters = new URLSearchParams();
  if (item) {
    parameters.set(view.key, String(item[view.table.id]));
    if (item.tenant !== "default") parameters.set("of", item.tenant);
  } else if (view !== jobs) parameters.set("view", view.name);
  for (const [name, value] of [["tenant", tenant], ["text", text], ["group", group], ["state", [...states].join(",")]]) {
    if (value) parameters.set(name, value);
  }
  const address = `#${parameters}`;
  if (address === location.hash || (address === "#" && !location.hash)) return;
  history[isStep ? "pushState" : "replaceState"](null, "", address === "#" ? location.pathname : address);
}

/** Shows what the address says. */
function recall() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const named = VIEWS.find((view) => parameters.has(view.key));
  const view = named ?? VIEWS.find(({ name }) => name === parameters.get("view")) ?? jobs;
  shown.tenant = parameters.get("tenant") ?? "";
  shown.text = parameters.get("text") ?? "";
  shown.group = parameters.get("group") ?? "";
  shown.states = new Set((parameters.get("state") ?? "").split(",").filter((state) => view.states.some(([name]) => name === state)));
  shown.open = null;
  if (named) {
    const id = parameters.get(view.key);
    const tenant = parameters.get("of") ?? "default";
    const key = view.table.key(tenant, id);
    shown.open = view.table.rows.get(key) ?? { [view.table.id]: id, tenant, key };
  }
  use(view);
  if (shown.open) list.select(shown.open.key);
  refreshDetail();
  clock.refresh();
}

// Filters and tabs

function use(view) {
  const isOther = shown.view !== view || !byId("head").hasChildNodes();
  shown.view = view;
  if (isOther) {
    list.use({ name: view.title, make: view.make, fill: (row, item) => fill(view, row, item) });
    filtered = { signature: null, items: [] };
    byId("head").className = `head ${view.grid}`;
    byId("head").replaceChildren(...view.head());
    setText(byId("group-name"), view.groupName);
    byId("states").replaceChildren(...view.states.map(([state, text]) => button(text, () => toggle(state), { class: "chip state", "data-state": state })));
    delete byId("empty").dataset.kind;
    byId("range-field").hidden = !view.range;
  }
  for (const chip of byId("states").children) chip.setAttribute("aria-pressed", shown.states.has(chip.dataset.state));
  byId("text").value = shown.text;
  groupsVersion = "";
  render();
}

/** Goes to another kind of rows. */
function go(view) {
  Object.assign(shown, { open: null, group: "", states: new Set() });
  list.selected = null;
  byId("detail").hidden = true;
  use(view);
  remember(true);
}

function toggle(state) {
  shown.states.has(state) ? shown.states.delete(state) : shown.states.add(state);
  use(shown.view);
  remember();
}

function clearFilter() {
  Object.assign(shown, { text: "", group: "", tenant: "", states: new Set() });
  use(shown.view);
  remember();
}

function startFilter() {
  byId("tabs").replaceChildren(...VIEWS.map((view, at) => el("button", {
    type: "button", role: "tab", "aria-controls": "browse", "data-view": view.name, title: `${view.title} (${at + 1})`, on: { click: () => go(view) },
  }, `${view.title} `, el("span", { class: "count" }))));
  byId("text").addEventListener("input", () => {
    shown.text = byId("text").value;
    remember();
    plan();
  });
  byId("group").addEventListener("change", () => {
    shown.group = byId("group").value;
    remember();
    plan();
  });
  byId("tenant").addEventListener("change", () => {
    shown.tenant = byId("tenant").value;
    remember();
    plan();
    clock.refresh();
  });
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  jobs.range.addEventListener("change", plan);
}

// News

/** Says what went wrong, for a while. */
function report(text) {
  const note = el("p", { class: "note" }, text);
  byId("notes").replaceChildren(note);
  setTimeout(() => note.remove(), NOTE_MS);
}

/** Events that come while lists are being asked for: they are taken when the lists are there. */
let late = null;

async function reload(only) {
  if (late) return;
  late = [];
  try {
    await load(only);
  } catch (error) {
    report(error.message);
  }
  const events = late;
  late = null;
  for (const [kind, data] of events) onEvent(kind, data);
  shown.open = shown.open && (shown.view.table.rows.get(shown.open.key) ?? shown.open);
  refreshDetail();
  clock.refresh();
  plan();
}

function onEvent(kind, data) {
  if (kind === "hello") {
    if (!data.resumed) reload();
    return;
  }
  if (late) {
    late.push([kind, data]);
    return;
  }
  if (kind === "reset") {
    reload(data.tenant);
    return;
  }
  take(kind, data);
  plan();
  if (shown.open && concerns(kind, data)) planDetail();
  if (data.tenant === clockTenant()) planClock();
}

/** Whether an event is about what is open. */
function concerns(kind, data) {
  const { view, open: item } = shown;
  if (data.tenant !== item.tenant) return false;
  const id = item[view.table.id];
  const row = data[kind];
  if (view === jobs) return (row?.request_id ?? data.request_id) === id || (kind === "request" && row.path.includes(id));
  return kind.startsWith(view.key) && String(row?.[view.table.id] ?? "") === String(id);
}

let clockPlanned = null;

function planClock() {
  clockPlanned ??= setTimeout(async () => {
    await clock.refresh();
    clockPlanned = null;
  }, CLOCK_PAUSE_MS);
}

let positionsAsked = 0;

/** Positions in line are in no event, since all change when one job starts. */
async function askPositions() {
  const tenant = clockTenant();
  const isWaiting = shown.view === jobs && list.seen().some((row) => row.state === "queued");
  if (!isWaiting || performance.now() - positionsAsked < POSITIONS_PAUSE_MS) return;
  positionsAsked = performance.now();
  const { jobs: rows } = await get("/jobs", { tenant, query: { state: "queued", limit: POSITIONS_MAX } });
  for (const row of rows) {
    const known = tables.jobs.rows.get(tables.jobs.key(tenant, row.request_id));
    if (known?.state === "queued") known.queue_position = row.queue_position;
  }
}

/** Time passes: what depends on it is drawn again. */
function tick() {
  if (document.hidden || byId("live").dataset.state !== "on") return;
  const due = clock.tick();
  if (due !== null && due < 0) planClock();
  const isMoving = (row) => !isOver(row) && nowOf(row.tenant).rate > 0;
  if (shown.view === jobs && list.seen().some(isMoving)) {
    draw();
    askPositions().catch(() => {});
  }
  if (shown.view === jobs && shown.open && shown.detail && isMoving({ ...shown.detail, tenant: shown.open.tenant })) planDetail();
}

function onState(isConnected) {
  const live = byId("live");
  live.dataset.state = isConnected ? "on" : "off";
  setText(live, isConnected ? "live" : "not connected, trying again");
}

/** Moves the mark, and what is open with it. */
function move(step) {
  const item = list.beside(step);
  if (!item) return;
  list.select(item.key);
  if (shown.open) open(item);
  draw();
}

function openSelected() {
  const item = list.items[list.index.get(list.selected)] ?? list.items[0];
  if (item) open(item);
}

function escape() {
  if (shown.open) close();
  else byId("list").focus({ preventScroll: true });
}

const app = { act, link };

const KEYS = [
  [["j", "ArrowDown"], "the next row", () => move(1)],
  [["k", "ArrowUp"], "the row before", () => move(-1)],
  [["Enter"], "open the row", openSelected],
  [["Escape"], "close what is open", escape],
  [["/"], "filter by text", () => byId("text").focus()],
  ...VIEWS.map((view, at) => [[String(at + 1)], view.title.toLowerCase(), () => go(view)]),
  ...ACTIONS.map(([name, text, key]) => [[key], `job: ${text.toLowerCase().replace("…", "")}`, () => act(name)]),
  [[" "], "clock: freeze, or go on", () => clock.freeze()],
  [["n"], "clock: to the next event", () => clock.runUntil({ next: true })],
  [["i"], "clock: until idle", () => clock.runUntil({ idle: true })],
  [["a"], "clock: advance by …", () => clock.focus()],
  [["t"], "light or dark", nextTheme],
  [["?"], "this help", () => showKeys(KEYS)],
];

/** Choices of the second filter. */
const GROUPS_MAX = 500;

/** Jobs whose positions are asked for. */
const POSITIONS_MAX = 200;

const DETAIL_PAUSE_MS = 200;
const CLOCK_PAUSE_MS = 250;
const POSITIONS_PAUSE_MS = 1000;
const TICK_MS = 200;
const NOTE_MS = 8000;

startTheme();
startFilter();
startFailing();
startKeys(KEYS);
recall();
window.addEventListener("hashchange", recall);
setInterval(tick, TICK_MS);
listen(onEvent, onState);
