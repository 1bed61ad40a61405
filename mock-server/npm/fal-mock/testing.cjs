/**
 * Tests of programs that call fal, offline, in Vitest, Jest and others: a mock per run, a world of its own per test.
 * One file that needs nothing else; the package `fal-mock` brings it along.
 *
 * In Vitest a test takes `fal` as a fixture, and its client from it:
 *
 *     import { createFalClient } from "@fal-ai/client";
 *     import { withFal } from "fal-mock/testing";
 *     import { expect, test as base } from "vitest";
 *
 *     const test = withFal(base);
 *     test("a picture is made", async ({ fal }) => {
 *       const { data } = await createFalClient(fal.config()).subscribe("fal-ai/flux/dev", { input: { prompt: "a cat" } });
 *       expect(data.images).toHaveLength(1);
 *       expect((await fal.jobs()).map((job) => job.state)).toEqual(["succeeded"]);
 *     });
 *
 * Elsewhere `const fal = useFal()` does the same by hooks, and moves `process.env.FAL_KEY` from world to world. With
 * `globalSetup: "fal-mock/testing"` one mock serves all files, and the processes that run tests reach it by fal's own
 * addresses: then a program under test needs no `config()`. Without it each file has a mock of its own.
 *
 * Time jumps: what takes two hours is over at once, unless `{ clock: "real" }` says otherwise.
 */
"use strict";

const { spawn } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");

/**
 * @typedef {string | number} Duration Such as `"90s"` or `"2h"`; a number is seconds.
 *
 * @typedef {object} Settings How a world is; more in `POST /__mock/v1/tenants`.
 * @property {string} [clock] `real`, `scaled:N`, `virtual` or `virtual:auto`, which is the default.
 * @property {string | URL | Record<string, unknown>} [scenario] What is to happen, as in {@link Fal.scenario}.
 * @property {number} [seed] What everything that looks random follows from.
 * @property {string} [start] What the clock shows when it begins, such as `2030-01-02T03:04:05Z`.
 * @property {Duration} [queue_time] How long a job waits although a runner is free.
 * @property {Duration} [run_time] How long a run takes.
 * @property {number} [runners] How many jobs of one app run at once.
 * @property {boolean} [instant] Jobs complete while they are being submitted.
 *
 * @typedef {object} Hooks Those of the program that runs the tests.
 * @property {(hook: (...context: any[]) => any) => unknown} beforeEach
 * @property {(hook: (...context: any[]) => any) => unknown} afterEach
 */

/** No mock could be started or reached, or it refused what was asked; the text says what to do. */
class MockError extends Error {
  /** @param {string} message @param {ErrorOptions} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = "MockError";
  }
}

/** A mock that runs. */
class Mock {
  /** @param {string} url @param {import("node:child_process").ChildProcess} [child] */
  constructor(url, child) {
    /** Its address. */
    this.url = url.replace(/\/+$/, "");
    let address;
    try {
      address = new URL(this.url);
    } catch {}
    if (address?.protocol !== "http:") {
      throw new MockError(`${url} is no address of a mock: give one such as http://127.0.0.1:8787`);
    }
    this._at = { host: address.hostname.replace(/^\[|\]$/g, ""), port: Number(address.port || 80) };
    this._child = child;
    /** @type {Promise<{ folder: string, variables: Record<string, string | null> }> | undefined} */
    this._told = undefined;
  }

  /**
   * Starts one on a free port. It ends with this process, however that ends.
   *
   * @param {object} [options]
   * @param {string[]} [options.args] Those of `fal-mock`, such as `["--openapi", "documents/"]`.
   * @param {string} [options.binary] Default: the one that `FAL_MOCK_BIN` names, that of the package, or the first on
   * the path.
   * @returns {Promise<Mock>}
   */
  static async start({ args = [], binary = findBinary() } = {}) {
    const child = spawn(binary, ["--port", "0", "--quiet", "--stop-on-eof", ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      windowsHide: true,
    });
    const url = await new Promise((resolve, reject) => {
      let said = "";
      let complaints = "";
      child.stdout.setEncoding("utf8").on("data", (text) => {
        said += text;
        const line = /^.* (http:\/\/\S+)\n/.exec(said);
        if (line) resolve(line[1]);
      });
      child.stderr.setEncoding("utf8").on("data", (text) => (complaints += text));
      child.on("error", (error) => reject(new MockError(`${binary} cannot be started: ${error.message}`)));
      child.on("close", (code) => {
        reject(new MockError(`${binary} did not start: ${complaints.trim() || `it ended with ${code}`}`));
      });
    });
    // It is no reason to stay for this process; and when that goes, the end of its input tells the mock.
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) /** @type {any} */ (stream).unref?.();
    return new Mock(url, child);
  }

  /** One that runs already. @param {string} url @returns {Promise<Mock>} */
  static async at(url) {
    const mock = new Mock(url);
    try {
      await mock.call("GET", "live");
    } catch (error) {
      throw new MockError(
        `no mock answers at ${url} (${/** @type {Error} */ (error).message}): start it with \`fal-mock\`, ` +
          "or unset FAL_MOCK_URL to let the tests start one",
        { cause: error },
      );
    }
    return mock;
  }

  /**
   * One call of the control API: `call("GET", "jobs", { query: { state: "failed" } })`. A body that is text goes as it
   * is, every other one as JSON. What is refused is a {@link MockError}.
   *
   * @param {string} method
   * @param {string} target
   * @param {{ body?: unknown, query?: Record<string, unknown> }} [more]
   * @returns {Promise<any>}
   */
  call(method, target, { body, query = {} } = {}) {
    const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
    const full = `/__mock/v1/${target}${search && `?${search}`}`;
    const data = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      // Not `fetch`, which a test may have replaced.
      const request = http.request(
        { ...this._at, method, path: full, agent: false, timeout: CALL_MS_MAX },
        (response) => {
          let text = "";
          response.setEncoding("utf8").on("data", (more) => (text += more));
          response.on("error", reject);
          response.on("end", () => {
            const isJson = /json/.test(response.headers["content-type"] ?? "");
            const value = isJson && text ? JSON.parse(text) : text;
            if ((response.statusCode ?? 0) < 400) return resolve(value);
            reject(new MockError(`${method} /__mock/v1/${target}: ${value?.detail ?? value}`));
          });
        },
      );
      request.on("timeout", () => request.destroy(new MockError(`${method} ${target} was not answered in time`)));
      request.on("error", reject);
      request.end(data);
    });
  }

  /**
   * A world of its own, until its `end`.
   *
   * @param {string} [name] @param {Settings} [settings] @returns {Promise<Fal>}
   */
  async tenant(name = "test", { scenario, clock = "virtual:auto", ...settings } = {}) {
    const stem = name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+|-+$/g, "") || "test";
    /** @type {Record<string, unknown>} */
    const body = { ...settings, clock, name: `${stem.slice(0, 48)}-${crypto.randomBytes(4).toString("hex")}` };
    for (const time of ["queue_time", "run_time"]) {
      if (typeof body[time] === "number") body[time] = duration(body[time]);
    }
    const made = await this.call("POST", "tenants", { body });
    const world = new Fal(this, made.name, made.key);
    try {
      if (scenario !== undefined) await world.scenario(scenario);
    } catch (error) {
      await world.end();
      throw error;
    }
    return world;
  }

  /**
   * What leads programs here with that key; `null` for a variable that must not be there.
   *
   * @param {string} key @returns {Promise<Record<string, string | null>>}
   */
  async variables(key) {
    this._told ??= (async () => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fal-mock-"));
      process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
      const query = { dir: folder, key: ANY_KEY, node_options: process.env.NODE_OPTIONS };
      const { files, variables } = await this.call("GET", "env", { query });
      for (const [name, text] of Object.entries(files)) {
        fs.writeFileSync(path.join(folder, path.basename(name)), /** @type {string} */ (text));
      }
      return { folder, variables };
    })();
    const { variables } = await this._told;
    return Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, value === ANY_KEY ? key : value]),
    );
  }

  /** Stops one that was started here. @returns {Promise<void>} */
  async stop() {
    const child = this._child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const closed = new Promise((resolve) => child.once("exit", resolve));
      child.ref();
      child.stdin?.end();
      await closed;
    }
  }
}

/**
 * The world of one test: jobs, files, requests, clock and scenario that no other test sees.
 *
 * Where a method moves time, webhooks are delivered on the way.
 */
class Fal {
  /** @param {Mock} mock @param {string} name @param {string} key */
  constructor(mock, name, key) {
    this.mock = mock;
    this.name = name;
    /** What selects this world: the credentials of whoever is to live in it. */
    this.key = key;
    this.hasScenario = false;
  }

  /** The address of the mock. */
  get url() {
    return this.mock.url;
  }

  /**
   * For `fal.config` and `createFalClient`: a client of this world, over plain HTTP.
   *
   * @returns {{ credentials: string, proxyUrl: { url: string, when: "always" }, suppressLocalCredentialsWarning: true }}
   */
  config() {
    const proxyUrl = { url: `${this.url}/api/fal/proxy`, when: /** @type {const} */ ("always") };
    return { credentials: this.key, proxyUrl, suppressLocalCredentialsWarning: true };
  }

  /**
   * `base` changed so that a program ends up in this world.
   *
   * @param {NodeJS.ProcessEnv} [base] @returns {Promise<Record<string, string>>}
   */
  async environment(base = process.env) {
    const all = Object.entries({ ...base, ...(await this.mock.variables(this.key)) });
    return Object.fromEntries(/** @type {[string, string][]} */ (all.filter(([, value]) => value != null)));
  }

  /**
   * A call of the control API about this world, for what has no method here.
   *
   * @param {string} method @param {string} target @param {{ body?: unknown, query?: Record<string, unknown> }} [more]
   * @returns {Promise<any>}
   */
  call(method, target, { body, query } = {}) {
    return this.mock.call(method, target, { body, query: { ...query, tenant: this.name } });
  }

  /**
   * Plays a scenario from now on: one that comes with the mock, such as `"rate-limited"`; its file as a `URL`, such as
   * `new URL("outage.yaml", import.meta.url)`; its text in YAML or JSON; or the same as an object. What the mock plays
   * for everybody (`--scenario`) decides where this one does not.
   *
   * @param {string | URL | Record<string, unknown>} scenario @returns {Promise<void>}
   */
  async scenario(scenario) {
    let name = "test";
    /** @type {unknown} */
    let body = scenario;
    if (scenario instanceof URL) {
      name = scenario.pathname;
      try {
        body = fs.readFileSync(scenario, "utf8");
      } catch (error) {
        throw new MockError(`the scenario cannot be read: ${/** @type {Error} */ (error).message}`);
      }
    } else if (typeof scenario === "string" && /^[a-z0-9-]+$/.test(scenario)) {
      name = scenario;
      body = undefined;
    }
    await this.call("PUT", "scenario", { body, query: { name } });
    this.hasScenario = true;
  }

  /** Ends an unfinished job now as it would have ended. @param {string} requestId */
  finish(requestId) {
    return this.call("POST", `jobs/${requestId}/finish`);
  }

  /**
   * Lets an unfinished job fail now.
   *
   * @param {string} requestId
   * @param {{ status?: number, error_type?: string, detail?: string, body?: unknown }} [failure]
   */
  fail(requestId, failure = {}) {
    return this.call("POST", `jobs/${requestId}/fail`, { body: failure });
  }

  /** Puts a running job back into the queue, as when its runner is lost. @param {string} requestId */
  requeue(requestId) {
    return this.call("POST", `jobs/${requestId}/requeue`);
  }

  /** Asks for the cancel of a job. @param {string} requestId */
  cancel(requestId) {
    return this.call("POST", `jobs/${requestId}/cancel`);
  }

  /** Delivers the news of a job to its webhook once more. @param {string} requestId */
  redeliver(requestId) {
    return this.call("POST", `jobs/${requestId}/redeliver`);
  }

  /** Throws away `all`, or only `requests` or `ledger`. @param {"all" | "requests" | "ledger"} [scope] */
  reset(scope = "all") {
    return this.call("POST", "reset", { query: { scope } });
  }

  /** Keeps a copy of this world. @param {string} name */
  snapshot(name) {
    return this.call("PUT", `snapshots/${name}`);
  }

  /** Goes back to a copy, in time too. @param {string} name */
  restore(name) {
    return this.call("POST", `snapshots/${name}/restore`);
  }

  /** What the clock shows. @returns {Promise<Date>} */
  async now() {
    return new Date((await this.clock()).now);
  }

  /**
   * The clock and what is waited for; with a change it goes in another way from now on.
   *
   * @param {{ mode?: string, frozen?: boolean }} [change]
   */
  clock(change) {
    return change ? this.call("PATCH", "clock", { body: change }) : this.call("GET", "clock");
  }

  /** Moves the clock on. @param {Duration} by */
  advance(by) {
    return this.call("POST", "clock/advance", { body: { by: duration(by) } });
  }

  /**
   * Moves the clock on to the end of a job, to a time, to the next event, or until nothing is waited for.
   *
   * @param {{ job: string } | { time: string | Date } | { next: true } | { idle: true }} goal
   */
  runUntil(goal) {
    return this.call("POST", "clock/run-until", { body: goal });
  }

  /** Jobs, the latest first. @param {{ state?: string, endpoint?: string, limit?: number }} [filters] @returns {Promise<any[]>} */
  async jobs(filters) {
    return (await this.call("GET", "jobs", { query: filters })).jobs;
  }

  /** One job with input, logs, runs and result. @param {string} requestId */
  job(requestId) {
    return this.call("GET", `jobs/${requestId}`);
  }

  /**
   * Requests and their answers, the latest first.
   *
   * @param {{ host?: string, status?: number | string, text?: string, after?: number, limit?: number }} [filters]
   * @returns {Promise<any[]>}
   */
  async requests(filters) {
    return (await this.call("GET", "requests", { query: filters })).requests;
  }

  /** One request with headers and bodies. @param {number} number */
  request(number) {
    return this.call("GET", `requests/${number}`);
  }

  /**
   * What was called, what was called twice with the same input, and what it would have cost.
   *
   * @param {{ twins?: boolean, limit?: number }} [filters]
   */
  ledger(filters) {
    return this.call("GET", "ledger", { query: filters });
  }

  /** Deliveries to webhooks with their attempts, the latest first. @returns {Promise<any[]>} */
  async webhooks() {
    return (await this.call("GET", "webhooks")).deliveries;
  }

  /** Files that are kept, the latest first. @returns {Promise<any[]>} */
  async files() {
    return (await this.call("GET", "files")).files;
  }

  /** Counts of everything since the world began. @returns {Promise<Record<string, number>>} */
  counters() {
    return this.call("GET", "counters");
  }

  /** What the scenario expects and has not happened, one sentence each. @returns {Promise<string[]>} */
  async unmet() {
    return (await this.call("GET", "verify")).unmet;
  }

  /**
   * Fails unless these requests have come, as often as they say, and in this order:
   *
   *     await fal.verify({ requests: [{ operation: "submit", count: 1 }], order: ["submit", "result"] });
   *
   * Both are as below `expect` in a scenario. Without them it is all that the scenario expects, which is asked at the end of
   * each test that plays one.
   *
   * @param {{ requests?: Record<string, unknown>[], order?: (string | Record<string, unknown>)[] }} [expect]
   * @returns {Promise<void>}
   */
  async verify(expect) {
    const unmet = expect ? (await this.call("POST", "verify", { body: expect })).unmet : await this.unmet();
    if (unmet.length) throw new Error(["not as expected:", ...unmet].join("\n  "));
  }

  /** What has happened here, for a person. @returns {Promise<string>} */
  async summary() {
    const [requests, jobs] = await Promise.all([this.requests({ limit: SUMMARY_MAX }), this.jobs({ limit: SUMMARY_MAX })]);
    const lines = [`fal-mock: ${requests.length ? "the last requests" : "no requests came in"}`];
    for (const one of requests.reverse()) {
      const target = `${one.host}${one.path}${one.query && `?${one.query}`}`;
      lines.push(`  ${one.number} ${one.at.slice(11, 23)} ${one.method} ${one.status || "cut"} ${target}`);
    }
    for (const one of jobs.reverse()) {
      lines.push(`job ${one.request_id} ${one.endpoint} ${one.state}${one.error ? `: ${one.error}` : ""}`);
    }
    if (this.hasScenario) lines.push(...(await this.unmet()).map((one) => `not as expected: ${one}`));
    return lines.join("\n");
  }

  /** Ends this world; all that it holds is gone. @returns {Promise<void>} */
  end() {
    return this.mock.call("DELETE", `tenants/${this.name}`);
  }
}

/** The mock of this process: the one at `FAL_MOCK_URL`, else one that is started. @type {Promise<Mock> | undefined} */
let shared;

/** @returns {Promise<Mock>} */
function sharedMock() {
  shared ??= process.env.FAL_MOCK_URL ? Mock.at(process.env.FAL_MOCK_URL) : Mock.start();
  return shared;
}

/**
 * Vitest's `test` with the fixture `fal`, a world for each test that asks for it; also for `test.concurrent`.
 *
 * @template {{ extend: (fixtures: any) => any }} Test
 * @param {Test} test @param {Settings} [settings]
 * @returns {import("vitest").TestAPI<{ fal: Fal }>}
 */
function withFal(test, settings) {
  return test.extend({
    /** @param {any} context @param {(fal: Fal) => Promise<void>} use */
    fal: async ({ task }, use) => {
      const world = await (await sharedMock()).tenant(task.name, settings);
      try {
        await use(world);
        await conclude(world, task);
      } finally {
        await world.end();
      }
    },
  });
}

/**
 * A world for each test that follows, by hooks: for Jest, for Vitest with `globals`, for `node:test`.
 *
 * `process.env.FAL_KEY` is its key meanwhile, so tests that run at once in one process need {@link withFal} instead.
 *
 * @param {Settings} [settings]
 * @param {Hooks} [hooks] Default: those that are global. Elsewhere the module that has them, such as `vitest`.
 * @returns {Fal} That of the test which runs.
 */
function useFal(settings, hooks = /** @type {any} */ (globalThis)) {
  if (typeof hooks.beforeEach !== "function") {
    throw new MockError('there is no global beforeEach: `import * as vitest from "vitest"; useFal({}, vitest)`');
  }
  /** @type {Fal | undefined} */
  let world;
  /** @type {string | undefined} */
  let before;
  // Without a named parameter: in Jest that would be a callback to wait for.
  hooks.beforeEach(async (...[context]) => {
    const name = context?.task?.name ?? context?.name ?? /** @type {any} */ (globalThis).expect?.getState?.().currentTestName;
    world = await (await sharedMock()).tenant(name, settings);
    before = process.env.FAL_KEY;
    process.env.FAL_KEY = world.key;
  });
  hooks.afterEach(async (...[context]) => {
    const ended = world;
    world = undefined;
    if (before === undefined) delete process.env.FAL_KEY;
    else process.env.FAL_KEY = before;
    if (!ended) return;
    try {
      await conclude(ended, context?.task);
    } finally {
      await ended.end();
    }
  });
  return new Proxy(/** @type {Fal} */ ({}), {
    get(_, name) {
      if (!world) throw new MockError(`fal.${String(name)} is there in tests and their hooks only`);
      const value = Reflect.get(world, name);
      return typeof value === "function" ? value.bind(world) : value;
    },
  });
}

/**
 * What is to be said and judged when a test has ended.
 *
 * @param {Fal} world @param {any} [task] That of Vitest, which knows how it ended.
 */
async function conclude(world, task) {
  if (task?.result?.state === "fail") {
    console.error(await world.summary());
  } else if (world.hasScenario) {
    await world.verify();
  }
}

/**
 * For `globalSetup`, in Vitest and Jest: one mock for all test files. The processes that run them reach it by fal's
 * own addresses, whatever client the program under test has.
 *
 * @returns {Promise<() => Promise<void>>} What ends it.
 */
async function globalSetup() {
  const mock = await sharedMock();
  const key = `fal-mock-${crypto.randomBytes(8).toString("hex")}:${crypto.randomBytes(8).toString("hex")}`;
  /** @type {Record<string, string | undefined>} */
  const before = {};
  for (const [name, value] of Object.entries(await mock.variables(key))) {
    before[name] = process.env[name];
    if (value === null) delete process.env[name];
    else process.env[name] = value;
  }
  teardown = async () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    shared = undefined;
    await mock.stop();
  };
  return teardown;
}

/** @type {() => Promise<void>} */
let teardown = async () => {};

/**
 * The program `fal-mock`: that of `FAL_MOCK_BIN`, of the package for this platform, or the first on the path.
 *
 * @returns {string}
 */
function findBinary() {
  const name = process.platform === "win32" ? "fal-mock.exe" : "fal-mock";
  const named = process.env.FAL_MOCK_BIN;
  if (named) {
    if (!fs.existsSync(named)) throw new MockError(`FAL_MOCK_BIN names ${named}, which is not there`);
    return named;
  }
  try {
    return require.resolve(`@fal-mock/${process.platform}-${process.arch}/${name}`);
  } catch {}
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    const file = path.join(folder, name);
    // A script of that name is the package's own, which asks here.
    if (folder && !folder.includes("node_modules") && fs.existsSync(file)) return file;
  }
  throw new MockError(
    "fal-mock is not installed: `npm install --save-dev fal-mock`, or name the program by FAL_MOCK_BIN, " +
      "or start it elsewhere and name its address by FAL_MOCK_URL",
  );
}

/** @param {unknown} value @returns {string} */
function duration(value) {
  return typeof value === "number" ? `${value}s` : String(value);
}

const ANY_KEY = "fal-mock:any-key";

/** Until a call of the control API has been answered; moves of time wait for deliveries. */
const CALL_MS_MAX = 60_000;

/** Requests and jobs that a summary names. */
const SUMMARY_MAX = 20;

// A function, as `globalSetup` of Vitest and Jest wants it, with everything else on it.
module.exports = globalSetup;
module.exports.Fal = Fal;
module.exports.Mock = Mock;
module.exports.MockError = MockError;
module.exports.findBinary = findBinary;
module.exports.globalSetup = globalSetup;
module.exports.useFal = useFal;
module.exports.withFal = withFal;
