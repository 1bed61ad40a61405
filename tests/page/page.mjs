// Drives the page of a mock with a browser as a person would, and prints one JSON line per check.
//
// Arguments: the folder whose node_modules has the driver, the browser, and JSON with the addresses of mocks:
// `empty` has seen nothing, `live` has a clock that stands still, two runners, 1 s of waiting and 10 s of running,
// `many` ends jobs in their submits.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { createServer as createTunnel, connect } from "node:net";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

const [folder, executablePath, addresses] = process.argv.slice(2);
const { chromium } = createRequire(path.join(folder, "package.json"))("playwright-core");
const { empty, live, many } = JSON.parse(addresses);

const FLUX = "fal-ai/flux/dev";

async function submit(base, { endpoint = FLUX, input = { prompt: "a cat" }, query = "", key = "any:key", headers = {} } = {}) {
  const answer = await fetch(`${base}/queue.fal.run/${endpoint}${query}`, {
    method: "POST",
    headers: { authorization: `Key ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify(input),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).request_id;
}

async function api(base, method, target, body) {
  const answer = await fetch(`${base}/__mock/v1${target}`, { method, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${target}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

const state = async (base, id) => (await api(base, "GET", `/jobs/${id}`)).state;

/** A page in a profile of its own, connected. What the browser complains about is noted in the check's list. */
async function open(check, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1300, height: 800 }, permissions: ["clipboard-read", "clipboard-write"], ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  check.contexts.push(context);
  const complain = (text) => check.complaints.push(text);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complain(message.text()));
  page.on("pageerror", (error) => complain(error.stack));
  page.on("request", (request) => new URL(request.url()).origin === new URL(address).origin || complain(`asked for ${request.url()}`));
  await page.goto(address);
  await page.locator("#live[data-state=on]").waitFor();
  return page;
}

const row = (page, id) => page.locator("#list .row:not([hidden])", { hasText: id.slice(0, 8) });
const panel = (page) => page.locator("#detail");
const stateIn = (page, text) => panel(page).locator(".facts .state", { hasText: new RegExp(`^${text}$`) }).first().waitFor();
const action = (page, name) => panel(page).locator(`[data-action="${name}"]`);
/** Waits until something is so in the page. */
const until = (page, test, argument) => page.waitForFunction(test, argument, { polling: 20 });

const checks = {
  async "policy-of-the-page"() {
    const answer = await fetch(`${empty}/`, { headers: { accept: "text/html" } });
    const policy = answer.headers.get("content-security-policy");
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.match(await (await fetch(`${empty}/`)).text(), /^fal-mock: /, "terminals get a text");
    return policy;
  },

  async "a-newcomer-runs-what-the-page-says"(check) {
    const page = await open(check, `${empty}/`);
    const first = page.locator(".way").first();
    await first.getByRole("button", { name: /Copy/ }).click();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(command.includes(new URL(empty).host), command);
    await promisify(execFile)("sh", ["-c", command]);
    await page.locator(".row", { hasText: FLUX }).waitFor();
    await page.locator(".way").first().waitFor({ state: "hidden" });
    return command;
  },

  async "a-job-is-seen-from-submit-to-picture"(check) {
    const page = await open(check, `${live}/`);
    const id = await submit(live);
    await row(page, id).locator("[data-state=queued]").first().waitFor();
    await row(page, id).click();
    await stateIn(page, "waiting");
    await page.getByLabel("By how much").fill("1s");
    await page.getByRole("button", { name: "Advance" }).click();
    await stateIn(page, "running");
    await row(page, id).locator("[data-state=running]").first().waitFor();
    await panel(page).locator(".logs li").first().waitFor();
    await page.getByRole("button", { name: "Until idle" }).click();
    await stateIn(page, "done");
    const picture = panel(page).locator(".media img");
    await picture.waitFor();
    await until(page, () => document.querySelector("#detail .media img").naturalWidth > 0);
    assert.ok(page.url().includes(id), "the address names it");
    const before = await api(live, "GET", "/requests");
    assert.deepEqual(before.requests.filter((one) => one.method === "GET"), [], "looking leaves no trace");
    // The address alone shows the same.
    const again = await open(check, page.url());
    await again.locator("#detail .media img").waitFor();
  },

  async "every-button-of-a-job"(check) {
    const page = await open(check, `${live}/`);
    const begin = async (query = "") => {
      const id = await submit(live, { query });
      await row(page, id).click();
      await panel(page).locator("code", { hasText: id }).waitFor();
      return id;
    };
    let id = await begin();
    await action(page, "finish").click();
    await stateIn(page, "done");
    assert.ok(await action(page, "finish").isDisabled());

    id = await begin();
    await action(page, "fail").click();
    await page.getByLabel("Message").fill("out of memory");
    await page.getByLabel("Status").selectOption("502");
    await page.locator("#fail").getByRole("button", { name: "Fail", exact: true }).click();
    await stateIn(page, "failed");
    const failed = await api(live, "GET", `/jobs/${id}`);
    assert.deepEqual([failed.result.status, failed.error], [502, "out of memory"]);

    id = await begin();
    await action(page, "cancel").click();
    await stateIn(page, "cancelled");

    id = await begin();
    await api(live, "POST", "/clock/advance", { by: "1s" });
    await stateIn(page, "running");
    await action(page, "requeue").click();
    await stateIn(page, "waiting");
    await action(page, "run-until").click();
    await stateIn(page, "done");
    assert.equal((await api(live, "GET", `/jobs/${id}`)).attempts, 2);

    let letters = 0;
    const receiver = createServer((request, answer) => {
      letters += 1;
      request.resume().on("end", () => answer.end());
    });
    await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
    const hook = `http://127.0.0.1:${receiver.address().port}/hook`;
    id = await begin(`?fal_webhook=${encodeURIComponent(hook)}`);
    await action(page, "finish").click();
    await panel(page).locator(".links a", { hasText: hook }).waitFor();
    await until(page, () => document.querySelector("#detail .links").textContent.includes("delivered"));
    const before = await panel(page).locator(".links a").first().getAttribute("href");
    await action(page, "redeliver").click();
    // It has another number then.
    await until(page, (href) => {
      const link = document.querySelector("#detail .links a");
      return link.getAttribute("href") !== href && link.parentElement.textContent.includes("delivered");
    }, before);
    await panel(page).locator(".links a", { hasText: hook }).first().click();
    await panel(page).locator(".attempts [data-state=valid]").waitFor();
    assert.match(await panel(page).locator(".part-head", { hasText: "Attempts" }).textContent(), /checked in this browser/);
    receiver.close();
    assert.equal(letters, 2);
  },

  async "every-button-of-the-clock"(check) {
    const page = await open(check, `${live}/`);
    const clock = () => api(live, "GET", "/clock");
    const freeze = page.locator("#clock button").first();
    await freeze.click();
    await page.getByRole("button", { name: "Go on" }).waitFor();
    assert.equal((await clock()).frozen, true);
    await page.getByRole("button", { name: "Go on" }).click();
    await page.getByRole("button", { name: "Freeze" }).waitFor();
    const id = await submit(live);
    await until(page, () => document.querySelector("#clock summary").textContent.includes("a job starts"));
    await page.locator("#clock summary").click();
    assert.ok(await page.locator(".waits a", { hasText: id.slice(0, 8) }).first().isVisible());
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Next event" }).click();
    await until(page, () => document.querySelector("#clock summary").textContent.includes("a job ends"));
    const modes = page.getByLabel("How time passes");
    await modes.selectOption("real");
    await until(page, () => document.querySelector("#clock select").value === "real");
    assert.equal((await clock()).mode, "real");
    const before = await page.locator("#clock .now").textContent();
    await until(page, (text) => document.querySelector("#clock .now").textContent !== text, before);
    await modes.selectOption("virtual");
    await page.getByLabel("By how much").fill("soon");
    await page.getByRole("button", { name: "Advance" }).click();
    await page.locator(".note", { hasText: "by:" }).waitFor();
    check.expect(/400 \(Bad Request\)/);
    await page.getByRole("button", { name: "Until idle" }).click();
    await row(page, id).locator("[data-state=succeeded]").first().waitFor();
  },

  async "the-keyboard-does-it-all"(check) {
    const page = await open(check, `${live}/`);
    const first = await submit(live, { endpoint: "keys/one" });
    const second = await submit(live, { endpoint: "keys/two" });
    await row(page, second).waitFor();
    const press = (keys) => page.keyboard.press(keys);
    await press("/");
    await page.keyboard.type("keys/");
    await until(page, () => document.querySelectorAll("#list .row:not([hidden])").length === 2);
    await press("Escape");
    await press("j");
    await row(page, second).and(page.locator("[aria-selected=true]")).waitFor();
    await press("j");
    await press("Enter");
    await panel(page).locator("code", { hasText: first }).waitFor();
    await press("k");
    await panel(page).locator("code", { hasText: second }).waitFor();
    await press("f");
    await stateIn(page, "done");
    await press("j");
    await panel(page).locator("code", { hasText: first }).waitFor();
    await press("x");
    await page.locator("#fail[open]").waitFor();
    await press("Escape");
    await press("c");
    await stateIn(page, "cancelled");
    await press("Escape");
    await panel(page).waitFor({ state: "hidden" });
    await press("?");
    await page.locator("#keys[open] kbd").first().waitFor();
    await press("Escape");
    await page.locator("#keys").waitFor({ state: "hidden" });
    for (const [key, title] of [["2", "Requests"], ["3", "Webhooks"], ["4", "Files"], ["1", "Jobs"]]) {
      await press(key);
      await page.locator("[role=tab][aria-selected=true]", { hasText: title }).waitFor();
    }
    await press("a");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "By how much");
    await press("Escape");
    await press(" ");
    await page.getByRole("button", { name: "Go on" }).waitFor();
    await press(" ");
    await page.getByRole("button", { name: "Freeze" }).waitFor();
  },

  async "filters-and-tenants"(check) {
    const { key, name } = await api(live, "POST", "/tenants", { name: "guest" });
    const page = await open(check, `${live}/`);
    const own = await submit(live, { endpoint: "filter/a" });
    const guest = await submit(live, { endpoint: "filter/b", key });
    await row(page, guest).first().waitFor();
    await page.getByLabel("Tenant").selectOption(name);
    await until(page, () => [...document.querySelectorAll("#list .row:not([hidden])")].every((one) => one.textContent.includes("filter/b")));
    await page.getByLabel("Tenant").selectOption("");
    await page.getByLabel("Endpoint").selectOption("filter/a");
    await until(page, () => document.querySelectorAll("#list .row:not([hidden])").length === 1);
    await page.locator("#states [data-state=succeeded]").click();
    await page.getByText("Nothing here fits the filter.").waitFor();
    await api(live, "POST", `/jobs/${own}/finish`);
    await row(page, own).locator("[data-state=succeeded]").first().waitFor();
    const address = page.url();
    await page.getByLabel("Endpoint").selectOption("");
    const again = await open(check, address);
    await until(again, () => document.querySelectorAll("#list .row:not([hidden])").length === 1);
    assert.equal(await again.getByLabel("Endpoint").inputValue(), "filter/a");
    await api(live, "DELETE", `/tenants/${name}`);
    await page.getByLabel("Tenant").waitFor({ state: "hidden" });
  },

  async "requests-show-bodies-and-a-command"(check) {
    await fetch(`${live}/queue.fal.run/${FLUX}`, { method: "POST", body: "{}" });
    const input = { prompt: "it's" };
    await submit(live, { endpoint: "curl/me", input });
    const page = await open(check, `${live}/#view=requests`);
    await page.locator(".row", { hasText: "/curl/me" }).click();
    await panel(page).locator(".code", { hasText: "it's" }).first().waitFor();
    await panel(page).getByRole("button", { name: "Copy as curl" }).click();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    const { stdout } = await promisify(execFile)("sh", ["-c", command]);
    const { request_id: id } = JSON.parse(stdout);
    assert.deepEqual((await api(live, "GET", `/jobs/${id}`)).input.json, input, "the command says the same again");
    await page.locator("#states [data-state=refused]").click();
    await page.locator(".row", { hasText: "401" }).first().waitFor();
  },

  async "faults-are-listed-and-signatures-can-be-bad"(check) {
    const scenario = "faults:\n  - { name: at the door, fault: ingress, on: status, nth: 1 }\n  - { name: stranger, fault: webhook-wrong-key, times: 1 }\n";
    const put = await fetch(`${live}/__mock/v1/scenario`, { method: "PUT", body: scenario });
    assert.equal(put.status, 200);
    const page = await open(check, `${live}/#view=faults`);
    await page.getByText("No faults:").waitFor();
    const id = await submit(live, { query: `?fal_webhook=${encodeURIComponent("http://127.0.0.1:9/")}` });
    await fetch(`${live}/queue.fal.run/fal-ai/flux/requests/${id}/status`, { headers: { authorization: "Key any:key" } });
    await page.locator(".row", { hasText: "at the door" }).click();
    await panel(page).locator("a", { hasText: id }).click();
    await action(page, "finish").click();
    await panel(page).locator(".links a", { hasText: "http://127.0.0.1:9/" }).click();
    await panel(page).locator(".attempts [data-state=invalid]", { hasText: "does not verify" }).first().waitFor();
    await api(live, "DELETE", "/scenario");
  },

  async "what-clients-send-is-never-html"(check) {
    const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"'><svg onload=pwned=1>`;
    const hook = `http://127.0.0.1:9/${encodeURIComponent(evil)}`;
    const id = await submit(live, { input: { prompt: evil, image_url: "javascript:pwned=1", url: "https://evil.test/files/x.png", [evil]: evil },
      query: `?fal_webhook=${encodeURIComponent(hook)}&x=${encodeURIComponent(evil)}`, headers: { "x-fal-runner-hint": evil } });
    await api(live, "POST", `/jobs/${id}/fail`, { detail: evil, body: { detail: evil } });
    const page = await open(check, `${live}/#job=${id}`);
    await panel(page).locator(".code", { hasText: "<svg onload" }).first().waitFor();
    const sources = await page.evaluate(() => [...document.querySelectorAll("[src]")].map((one) => one.src));
    assert.ok(sources.every((one) => one.startsWith(`${live}/__mock/`)), sources.join(" "));
    for (const kind of ["requests", "webhooks"]) {
      await page.goto(`${live}/#view=${kind}`);
      await page.locator("#list .row:not([hidden])").first().click();
      await panel(page).locator(".facts").waitFor();
    }
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    // A file that is a page: where it is opened, it has no origin.
    const token = await (await fetch(`${live}/rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3`, { method: "POST", headers: { authorization: "Key any:key" }, body: "{}" })).json();
    const upload = await fetch(`${live}/v3.fal.media/files/upload`, {
      method: "POST", headers: { authorization: `Bearer ${token.token}`, "content-type": "text/html" }, body: "<script>document.title='pwned'</script>",
    });
    const { access_url: url } = await upload.json();
    const file = await page.context().newPage();
    for (const address of [url, `${live}/__mock/v1/files/content?url=${encodeURIComponent(url)}`]) {
      const response = await file.goto(address);
      assert.match(response.headers()["content-type"], /^text\/html/);
      assert.equal(await file.title(), "", `${address} runs scripts`);
      assert.match(response.headers()["content-security-policy"], /^sandbox(;|$)/);
    }
  },

  async "dark-and-light-can-be-read"(check) {
    const id = await submit(live);
    const found = [];
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(check, `${live}/#job=${id}`, { colorScheme, reducedMotion: "reduce" });
      await action(page, "finish").waitFor();
      found.push(await page.evaluate(poorContrasts));
      assert.equal(await page.evaluate(() => document.getAnimations().length), 0, "nothing moves for those who want that");
      await page.keyboard.press("t");
      const theme = await page.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]);
      assert.deepEqual(theme, ["light", "rgb(255, 255, 255)"]);
      await page.reload();
      await page.getByRole("button", { name: "Theme: light" }).waitFor();
    }
    assert.deepEqual(found.map(({ poor }) => poor), [[], []]);
    assert.notEqual(found[0].ground, found[1].ground);
  },

  async "everything-has-a-name"(check) {
    const id = await submit(live);
    const page = await open(check, `${live}/#job=${id}`);
    await action(page, "finish").waitFor();
    const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, summary, img, [role=listbox], [role=tablist], aside, dialog")]
      .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length || one.hasAttribute("alt")))
      .map((one) => one.outerHTML.slice(0, 200)));
    assert.deepEqual(nameless.filter((one) => !one.startsWith("<dialog")), []);
    await page.locator("#list [role=option][aria-setsize]").first().waitFor();
  },

  async "a-broken-connection-mends-itself"(check) {
    const sockets = new Set();
    const { hostname, port } = new URL(live);
    let isCut = false;
    const tunnel = createTunnel((socket) => {
      if (isCut) return socket.destroy();
      const other = connect(port, hostname);
      for (const one of [socket, other]) {
        sockets.add(one);
        one.on("error", () => {}).on("close", () => sockets.delete(one));
      }
      socket.pipe(other).pipe(socket);
    });
    await new Promise((done) => tunnel.listen(0, "127.0.0.1", done));
    const page = await open(check, `http://127.0.0.1:${tunnel.address().port}/`);
    isCut = true;
    sockets.forEach((one) => one.destroy());
    await page.locator("#live[data-state=off]").waitFor();
    const id = await submit(live, { endpoint: "while/away" });
    isCut = false;
    await page.locator("#live[data-state=on]").waitFor();
    await row(page, id).waitFor();
    await page.context().close();
    tunnel.close();
    sockets.forEach((one) => one.destroy());
    check.expect(/net::ERR/);
  },

  async "ten-thousand-jobs"(check) {
    const started = performance.now();
    await fill(many, 10_000);
    const filled = performance.now();
    const page = await open(check, `${many}/`);
    await until(page, () => document.querySelector("[data-view=jobs] .count").textContent === "10,000");
    await page.locator("#list .row").first().waitFor();
    const loaded = performance.now();
    const rows = await page.locator("#list .row").count();
    assert.ok(rows < 60, `${rows} rows are in the document`);
    const frames = await page.evaluate(scrollThrough);
    const frame = (part) => frames.toSorted((a, b) => a - b)[Math.floor((frames.length - 1) * part)];
    const update = await page.evaluate(() => new Promise((done) => {
      const list = document.getElementById("list");
      list.scrollTop = 0;
      requestAnimationFrame(() => setTimeout(() => {
        const first = list.querySelector("[aria-posinset='1'] code").textContent;
        const began = performance.now();
        const look = () => (list.querySelector("[aria-posinset='1'] code").textContent === first ? requestAnimationFrame(look) : done(performance.now() - began));
        fetch("/queue.fal.run/many/last", { method: "POST", headers: { authorization: "Key any:key" }, body: "{}" });
        look();
      }));
    }));
    const typed = await page.evaluate(() => new Promise((done) => {
      const text = document.getElementById("text");
      text.value = "app49";
      const began = performance.now();
      text.dispatchEvent(new Event("input"));
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    }));
    return { filled_ms: Math.round(filled - started), loaded_ms: Math.round(loaded - filled), rows, frame_ms: { median: round(frame(0.5)), p95: round(frame(0.95)), max: round(frame(1)) },
      update_ms: round(update), filter_ms: round(typed) };
  },
};

const round = (number) => Math.round(number * 10) / 10;

/** Scrolls from end to end; answers how long each frame took. */
function scrollThrough() {
  return new Promise((done) => {
    const list = document.getElementById("list");
    const times = [];
    const steps = 60;
    let [at, before] = [0, performance.now()];
    const step = () => {
      const now = performance.now();
      times.push(now - before);
      before = now;
      at += 1;
      list.scrollTop = (list.scrollHeight * at) / steps;
      if (at < steps) requestAnimationFrame(step);
      else done(times.slice(1));
    };
    requestAnimationFrame(step);
  });
}

/** Texts whose colour is too near to that behind them (WCAG 2.2, 1.4.3), and the ground. */
function poorContrasts() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return rgba("white");
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || one.closest("[hidden], :disabled, option, .hidden, noscript, dialog:not([open])") || !one.checkVisibility()) continue;
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.add(`${ratio.toFixed(2)}: ${one.className} ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return { poor: [...poor], ground: getComputedStyle(document.body).backgroundColor };
}

/** Submits jobs as fast as they are taken: many in one write, over one connection. */
function fill(base, count) {
  const { hostname, port } = new URL(base);
  const body = '{"prompt":"a cat"}';
  const one = (at) => `POST /queue.fal.run/many/app${at % 50} HTTP/1.1\r\nhost: x\r\nauthorization: Key any:key\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  return new Promise((done, fail) => {
    let [answers, text] = [0, ""];
    const socket = connect(port, hostname).setEncoding("latin1").on("error", fail).on("data", (piece) => {
      const all = text + piece;
      answers += all.split("HTTP/1.1 200").length - 1;
      text = all.slice(-11);
      if (answers === count) done(socket.end());
    });
    socket.write(Array.from({ length: count }, (_, at) => one(at)).join(""));
  });
}

async function perform(id, run) {
  const check = { complaints: [], contexts: [] };
  check.expect = (text) => check.complaints.splice(0, Infinity, ...check.complaints.filter((one) => !text.test(one)));
  const began = performance.now();
  let line;
  try {
    const detail = await run(check);
    assert.deepEqual(check.complaints, [], "the browser complained");
    line = { id, ok: true, detail };
  } catch (error) {
    line = { id, ok: false, detail: `${error.stack}\n${check.complaints.join("\n")}` };
  }
  console.log(JSON.stringify({ ...line, took_ms: Math.round(performance.now() - began) }));
  await Promise.all(check.contexts.map((context) => context.close()));
  return line.ok;
}

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
let failed = false;
for (const [id, run] of Object.entries(checks)) {
  if (!(await perform(id, run))) failed = true;
}
await browser.close();
process.exit(failed ? 1 : 0);
