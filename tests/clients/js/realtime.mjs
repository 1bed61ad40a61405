// Holds realtime sessions and client-mode streams with the official client, and prints one JSON line per
// check. Node 20 needs --experimental-websocket; the addresses of the service are hard-coded in the client,
// so what leaves here is led to a mock.
//
// Arguments: the folder whose node_modules has the client, and JSON with the addresses of two mocks:
// `fast` works well, `failing` does to its first messages what its test has planned.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, addresses] = process.argv.slice(2);
const { fast, failing } = JSON.parse(addresses);
const { createFalClient } = createRequire(path.join(folder, "package.json"))("@fal-ai/client");

/** The mock that the check under way talks to. */
let mock = fast;
/** The addresses that were asked for, without their queries. */
let asked = [];

const lead = (url) => {
  const { protocol, host, pathname, search } = new URL(url);
  asked.push(`${protocol}//${host}${pathname}`);
  const base = protocol.startsWith("ws") ? mock.replace(/^http/, "ws") : mock;
  return `${base}/${host}${pathname}${search}`;
};
const { WebSocket: RealWebSocket, fetch: realFetch } = globalThis;
globalThis.WebSocket = class extends RealWebSocket {
  constructor(url) {
    super(lead(url));
  }
};
globalThis.fetch = (url, options) => realFetch(lead(url), options);
console.warn = () => {};

const fal = createFalClient({ credentials: "any:key" });

/** A connection that collects what it gets. */
function connect(id, options = {}) {
  const results = [];
  const errors = [];
  const wakers = [];
  const wake = () => wakers.splice(0).forEach((waker) => waker());
  const connection = fal.realtime.connect(id, {
    throttleInterval: 0,
    onResult: (result) => (results.push(result), wake()),
    onError: (error) => (errors.push(error), wake()),
    ...options,
  });
  const until = async (is) => {
    while (!is()) {
      // The timer keeps node waiting where nothing else does, so that what does not come is told.
      await new Promise((resolve, reject) => {
        const late = () => reject(new Error(`${results.length} results, ${errors}`));
        const timer = setTimeout(late, 5000);
        wakers.push(() => (clearTimeout(timer), resolve()));
      });
    }
  };
  return {
    ...connection,
    results,
    errors,
    got: (count) => until(() => results.length >= count),
    failed: (count) => until(() => errors.length >= count),
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const PNG = [0x89, 0x50, 0x4e, 0x47];

const minted = async (app, route = "tokens/realtime", duration = 60) => {
  const answer = await realFetch(`${mock}/rest.fal.ai/${route}`, {
    method: "POST",
    headers: { authorization: "Key any:key" },
    body: JSON.stringify({ allowed_apps: [app], duration }),
  });
  return (await answer.json()).token;
};

const checks = {
  async "result-with-binary-picture"() {
    const session = connect("acme/app");
    session.send({ prompt: "a cat", request_id: "r-1", seed: 7 });
    await session.got(1);
    const [{ images, seed, request_id: requestId }] = session.results;
    assert.deepEqual([seed, requestId], [7, "r-1"]);
    assert.ok(images[0].content instanceof Uint8Array);
    assert.deepEqual([...images[0].content.slice(0, 4)], PNG);
    assert.equal(images[0].content_type, "image/png");
    session.close();
    await pause(50);
    // It sends a close without a code and counts any answer but 1000 as an error.
    assert.deepEqual(session.errors, []);
    assert.deepEqual(asked, [
      "https://rest.fal.ai/tokens/",
      "wss://fal.run/acme/app/realtime",
    ]);
  },

  async "id-that-ends-in-realtime"() {
    const session = connect("acme/app/realtime", { maxBuffering: 2.5 });
    session.send({});
    await session.got(1);
    assert.equal(asked.at(-1), "wss://fal.run/acme/app/realtime");
    session.close();
  },

  async "latest-message-before-the-connection"() {
    const session = connect("acme/app");
    for (const request_id of ["1", "2", "3", "4", "5"]) session.send({ request_id });
    await session.got(1);
    await pause(200);
    assert.deepEqual(session.results.map(({ request_id }) => request_id), ["5"]);
    session.close();
  },

  async "silence-is-no-error-and-the-next-message-connects-again"() {
    const session = connect("acme/app");
    session.send({ request_id: "1" });
    await session.got(1);
    await pause(1900);
    assert.deepEqual(session.errors, []);
    session.send({ request_id: "2" });
    await session.got(2);
    assert.equal(asked.filter((url) => url.startsWith("wss:")).length, 2);
    assert.equal(asked.filter((url) => url.startsWith("https:")).length, 2);
    session.close();
  },

  async "token-provider-with-the-whole-path"() {
    let wanted;
    const tokenProvider = (app) => minted((wanted = app));
    const session = connect("acme/app", { tokenProvider });
    session.send({});
    await session.got(1);
    assert.equal(wanted, "acme/app/realtime");
    session.close();
  },

  async "bad-token-is-dropped-and-another-one-fetched"() {
    const tokens = ["nonsense"];
    const tokenProvider = async (app) => tokens.shift() ?? minted(app);
    const session = connect("acme/app", { tokenProvider });
    session.send({ request_id: "1" });
    await pause(200);
    assert.deepEqual(session.results, []);
    session.send({ request_id: "2" });
    await session.got(1);
    session.close();
  },

  async "text-both-ways"() {
    const session = connect("acme/app", { encodeMessage: (input) => JSON.stringify(input) });
    session.send({ request_id: "1" });
    await session.got(1);
    assert.match(session.results[0].images[0].url, /^data:image\/png;base64,iVBOR/);
    session.close();
  },

  async "stream-of-outputs"() {
    const session = connect("acme/app-server-streaming");
    session.send({ request_id: "1" });
    await session.got(4);
    await pause(100);
    assert.equal(session.results.length, 4, "timings and the end are no results");
    assert.deepEqual(session.errors, []);
  },

  async "messages-of-an-unknown-kind"() {
    mock = failing;
    const session = connect("acme/app");
    session.send({});
    await pause(200);
    assert.deepEqual([session.results, session.errors], [[], []]);
    session.close();
  },

  async "failure-of-the-app"() {
    mock = failing;
    const session = connect("acme/app");
    session.send({});
    await session.failed(1);
    assert.equal(session.errors[0].status, 400);
    assert.equal(session.errors[0].message, "INTERNAL_ERROR: it fell over");
    assert.equal(session.errors[0].body.type, "x-fal-error");
  },

  async "close-with-a-code"() {
    mock = failing;
    const session = connect("acme/app");
    session.send({});
    await session.failed(1);
    assert.equal(session.errors[0].status, 1011);
    assert.match(session.errors[0].message, /as planned/);
  },

  async "close-without-a-code"() {
    mock = failing;
    const session = connect("acme/app");
    session.send({});
    await session.failed(1);
    assert.equal(session.errors[0].status, 1005);
  },

  async "lost-connection"() {
    mock = failing;
    const session = connect("acme/app");
    session.send({});
    await session.failed(1);
    assert.ok(session.errors.some(({ status }) => status === 1006), `${session.errors}`);
  },

  async "client-mode-stream"() {
    let wanted;
    const stream = await fal.stream("fal-ai/any-llm", {
      input: { prompt: "a cat" },
      connectionMode: "client",
      tokenProvider: (app) => minted((wanted = app)),
    });
    const items = [];
    for await (const item of stream) items.push(item);
    assert.equal(wanted, "fal-ai/any-llm/stream");
    assert.equal(items.at(-1).partial, false);
    assert.ok(items.length > 5);
  },
};

for (const [id, check] of Object.entries(checks)) {
  mock = fast;
  asked = [];
  let line;
  try {
    line = { id, ok: true, detail: (await check()) ?? null };
  } catch (error) {
    line = { id, ok: false, detail: error?.stack ?? String(error) };
  }
  console.log(JSON.stringify(line));
}
process.exit();
