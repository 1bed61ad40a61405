/** The clock of a tenant: what it shows, what time waits for, and how it is moved. */

import { call, get, post } from "./api.js";
import { button, el, setText } from "./dom.js";
import { dayTime, duration, shortId, time } from "./format.js";
import { nowOf, setClock } from "./store.js";

const MODES = [["real", "real time"], ["scaled:60", "60 × as fast"], ["virtual", "moved by hand"], ["virtual:auto", "jumps ahead"]];

const WHAT = {
  start: "a job starts", "start-timeout": "a job waits no longer", finish: "a job ends", "runner-loss": "a runner is lost", "runner-start": "a runner has started", run: "a run ends", "stream-event": "a stream goes on",
  "session-output": "a session answers", "session-end": "a session ends", "status-event": "a status is told", delivery: "a delivery is due",
  "late-answer": "a late answer", "job-expiry": "a job is forgotten", "file-expiry": "a file is over",
};

export class ClockView {
  /** `tenant()` says whose clock it is, `report` shows why something could not be done, `link` leads to a job. */
  constructor(root, { tenant, report, link }) {
    this.tenant = tenant;
    this.report = report;
    this.link = link;
    this.whose = el("span", { class: "dim", title: "Whose clock it is: that of the chosen tenant, or of what is open" });
    this.now = el("time", { class: "now", "aria-label": "What the clock shows" });
    this.mode = el("select", { "aria-label": "How time passes", on: { change: () => this.change({ mode: this.mode.value }) } });
    this.freezer = button("Freeze", () => this.freeze(), { title: "Stop the clock, or let it go on (Space)" });
    this.by = el("input", { value: "10s", size: "6", "aria-label": "By how much", autocomplete: "off", title: "Such as 500ms, 10s, 5m, 2h" });
    this.summary = el("summary", {});
    this.waits = el("ol", { class: "waits" });
    const advance = el("form", { class: "joined", on: { submit: (event) => { event.preventDefault(); this.advance(); } } },
      this.by, el("button", { type: "submit", title: "Move the clock on (a)" }, "Advance"));
    root.append(this.whose, this.now, this.mode, this.freezer, advance,
      button("Next event", () => this.runUntil({ next: true }), { title: "Move the clock on to what comes next (n)" }),
      button("Until idle", () => this.runUntil({ idle: true }), { title: "Move the clock on until nothing is waited for (i)" }),
      el("details", { class: "popover" }, this.summary, this.waits));
    document.addEventListener("click", (event) => {
      const open = root.querySelector("details[open]");
      if (open && !open.contains(event.target)) open.open = false;
    });
  }

  /** Says whose clock it is, where there are several. */
  name(isWanted) {
    this.whose.hidden = !isWanted;
    setText(this.whose, this.tenant());
  }

  freeze() {
    return this.change({ frozen: !nowOf(this.tenant()).frozen });
  }

  advance() {
    return this.move("/clock/advance", { by: this.by.value.trim() });
  }

  runUntil(body) {
    return this.move("/clock/run-until", body);
  }

  focus() {
    this.by.focus();
    this.by.select();
  }

  async change(body) {
    await this.perform(() => call("PATCH", "/clock", { tenant: this.tenant(), body }));
  }

  async move(path, body) {
    await this.perform(() => post(path, { tenant: this.tenant(), body }));
  }

  async perform(work) {
    const tenant = this.tenant();
    try {
      this.take(tenant, await work());
    } catch (error) {
      this.report(error.message);
    }
  }

  /** Asks what time waits for. */
  async refresh() {
    const tenant = this.tenant();
    try {
      this.take(tenant, await get("/clock", { tenant, query: { limit: WAITS_SHOWN } }));
    } catch {
      // The tenant has ended, or the mock: both are told elsewhere.
    }
  }

  take(tenant, clock) {
    setClock(tenant, clock);
    if (tenant !== this.tenant()) return;
    this.shown = clock;
    const own = MODES.some(([mode]) => mode === clock.mode) ? [] : [[clock.mode, clock.mode]];
    const options = [...MODES, ...own];
    if (this.mode.options.length !== options.length || this.mode.value !== clock.mode) {
      this.mode.replaceChildren(...options.map(([value, text]) => el("option", { value, text })));
      this.mode.value = clock.mode;
    }
    setText(this.freezer, clock.frozen ? "Go on" : "Freeze");
    this.freezer.setAttribute("aria-pressed", clock.frozen);
    this.waits.replaceChildren(...clock.waits.slice(0, WAITS_SHOWN).map((wait) => el("li", { class: wait.is_progress ? null : "dim" },
      el("span", { class: "num", text: dayTime(time(wait.at)) }), el("span", { text: WHAT[wait.what] ?? wait.what }),
      wait.request_id ? el("a", { href: this.link(tenant, wait.request_id), text: shortId(wait.request_id) }) : el("span"))));
    if (!clock.waits.length) this.waits.append(el("li", { class: "dim", text: "Nothing is planned." }));
    this.tick();
  }

  /** Shows the time as it passes. Returns when something is due, in milliseconds of this machine. */
  tick() {
    const { now, rate } = nowOf(this.tenant());
    setText(this.now, dayTime(now));
    const next = this.shown?.waits.find((wait) => wait.is_progress);
    const left = next ? time(next.at) - now : null;
    const what = next ? WHAT[next.what] ?? next.what : "";
    setText(this.summary, left === null ? "Nothing is waited for" : `${left > 0 ? `In ${rough(left)}` : "Now"}: ${what}`);
    return left === null || rate === 0 ? null : left / rate;
  }
}

/** A length of time that does not flicker while it gets shorter. */
const rough = (ms) => (ms < 1000 ? duration(Math.ceil(ms / 100) * 100) : ms < 60_000 ? `${Math.ceil(ms / 1000)} s` : duration(ms));

/** Planned events that are shown. */
const WAITS_SHOWN = 50;
