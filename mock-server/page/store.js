/** What the page knows: rows of every tenant, filled by lists and kept true by events. */

import { get } from "./api.js";
import { time } from "./format.js";

/** Rows of one kind, the oldest first. A row replaces the one of the same id. */
class Table {
  constructor(id, at) {
    this.id = id;
    this.at = at;
    this.rows = new Map();
    this.version = 0;
  }

  key(tenant, id) {
    return `${tenant}/${id}`;
  }

  put(tenant, row) {
    const key = this.key(tenant, row[this.id]);
    this.rows.set(key, { ...row, tenant, key });
    if (this.rows.size > ROWS_MAX) this.rows.delete(this.rows.keys().next().value);
    this.version += 1;
  }

  remove(tenant, id) {
    if (this.rows.delete(this.key(tenant, id))) this.version += 1;
  }

  /** All rows of a tenant are these, the latest first. */
  replace(tenant, rows) {
    const others = [...this.rows.values()].filter((row) => row.tenant !== tenant);
    const own = rows.map((row) => ({ ...row, tenant, key: this.key(tenant, row[this.id]) })).reverse();
    let all = others.concat(own);
    if (others.length && this.at) all.sort((a, b) => (a[this.at] < b[this.at] ? -1 : a[this.at] > b[this.at] ? 1 : 0));
    if (all.length > ROWS_MAX) all = all.slice(-ROWS_MAX);
    this.rows = new Map(all.map((row) => [row.key, row]));
    this.version += 1;
  }

  forget(tenant) {
    this.replace(tenant, []);
  }
}

export const tables = {
  jobs: new Table("request_id", "submitted"),
  requests: new Table("number", "at"),
  deliveries: new Table("number", null),
  files: new Table("id", null),
  faults: new Table("id", "at"),
};

/** The names of all tenants. */
export const tenants = new Set(["default"]);

/** The clocks of tenants, each as it was told last. */
const clocks = new Map();

/** What a tenant's clock shows now, in milliseconds, and how fast it runs. */
export function nowOf(tenant) {
  const clock = clocks.get(tenant);
  if (!clock) return { now: Date.now(), rate: 1 };
  return { now: clock.now + (performance.now() - clock.at) * clock.rate, rate: clock.rate, ...clock.shown };
}

export function setClock(tenant, { mode, frozen, now }) {
  const rate = frozen || mode.startsWith("virtual") ? 0 : Number(mode.split(":")[1] ?? 1);
  clocks.set(tenant, { now: time(now), at: performance.now(), rate, shown: { mode, frozen } });
}

const LISTS = [["jobs", "/jobs", "jobs"], ["requests", "/requests", "requests"], ["deliveries", "/webhooks", "deliveries"], ["files", "/files", "files"]];

/** Asks for everything anew, or for all of one tenant. */
export async function load(only) {
  const { tenants: rows } = await get("/tenants");
  tenants.clear();
  rows.forEach((row) => tenants.add(row.name));
  const names = rows.map((row) => row.name);
  // The first, and the latest of the others.
  const wanted = only ? [only] : [...names.slice(0, 1), ...names.slice(1).slice(-TENANTS_MAX)];
  if (!only) for (const table of Object.values(tables)) {
    for (const name of new Set([...table.rows.values()].map((row) => row.tenant))) table.forget(name);
  }
  for (const tenant of wanted.filter((name) => tenants.has(name))) await loadTenant(tenant);
}

async function loadTenant(tenant) {
  try {
    const lists = LISTS.map(([, path]) => get(path, { tenant, query: { limit: path === "/webhooks" ? DELIVERIES_MAX : ROWS_MAX } }));
    const [clock, { faults }, ...answers] = await Promise.all([get("/clock", { tenant, query: { limit: 1 } }), get("/faults", { tenant }), ...lists]);
    setClock(tenant, clock);
    tables.faults.replace(tenant, faults.flatMap(firings).sort((a, b) => (a.at < b.at ? 1 : -1)));
    LISTS.forEach(([table, , member], at) => tables[table].replace(tenant, answers[at][member]));
  } catch (error) {
    // It may have ended meanwhile; the others are shown all the same.
    if (tenant === "default") throw error;
  }
}

/** One time that a fault happened, with an id of its own. */
const firing = (row) => ({ ...row, id: `${row.name} ${row.number}` });

/** The last times that a fault happened. */
const firings = ({ name, fault, fired, firings: all }) =>
  all.map(({ at, whom }, index) => firing({ name, fault, number: fired - all.length + index + 1, at, whom, request_id: whom.match(JOB)?.[0] ?? null }));

const JOB = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Takes an event. */
export function take(kind, data) {
  const { tenant } = data;
  switch (kind) {
    case "job": tables.jobs.put(tenant, data.job); break;
    case "job-gone": tables.jobs.remove(tenant, data.request_id); break;
    case "request": tables.requests.put(tenant, data.request); break;
    case "delivery": tables.deliveries.put(tenant, data.delivery); break;
    case "delivery-gone": tables.deliveries.remove(tenant, data.number); break;
    case "file": tables.files.put(tenant, data.file); break;
    case "file-gone": tables.files.remove(tenant, data.id); break;
    case "fault": tables.faults.put(tenant, firing(data.fault)); break;
    case "clock": setClock(tenant, data.clock); break;
    case "tenant": tenants.add(tenant); break;
    case "tenant-ended":
      tenants.delete(tenant);
      Object.values(tables).forEach((table) => table.forget(tenant));
      break;
    default: break;
  }
}

/** Rows of one kind that the page keeps: as many as the control API lists. */
export const ROWS_MAX = 10_000;

/** Deliveries are listed with their bodies, so fewer of them are asked for. */
const DELIVERIES_MAX = 1000;

/** Tenants beside the first that are asked for. What happens in others is shown from then on. */
const TENANTS_MAX = 50;
