// Calls a mock with the official client through `fal-cli proxy`, and prints one JSON line per check.
//
// Arguments: the folder whose node_modules has the client, the proxy's address, the mock's address.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, mock] = process.argv.slice(2);
const { createFalClient, ApiError, ValidationError } = createRequire(
  path.join(folder, "package.json"),
)("@fal-ai/client");

const SECRET = "a-secret-of-callers";
const client = (credentials = SECRET) =>
  createFalClient({ proxyUrl: { url, when: "always" }, credentials });

const flux = "fal-ai/flux/dev";
const input = { prompt: "a cat" };

const checks = {
  async run() {
    const { data, requestId } = await client().run(flux, { input: { ...input, seed: 7 } });
    assert.match(requestId, UUID);
    assert.equal(data.seed, 7);
    assert.equal((await fetch(data.images[0].url)).status, 200);
  },

  async "subscribe-polling"() {
    return follow({ mode: "polling", pollInterval: 15 });
  },

  async "subscribe-streaming"() {
    return follow({ mode: "streaming" });
  },

  async cancel() {
    const { queue } = client();
    const { request_id: requestId } = await queue.submit(flux, { input });
    await queue.cancel(flux, { requestId });
    await queue.subscribeToStatus(flux, { requestId, pollInterval: 15 });
  },

  async "priority-and-hint"() {
    const options = { input, priority: "low", hint: "lora-1" };
    await client().queue.submit("fal-ai/hinted", options);
  },

  async upload() {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) % 251);
    const file = await client().storage.upload(new Blob([bytes], { type: "image/png" }));
    assert.ok(file.startsWith(mock), `${file} does not lead to the mock itself`);
    assert.deepEqual(new Uint8Array(await (await fetch(file)).arrayBuffer()), bytes);
  },

  async stream() {
    const stream = await client().stream("fal-ai/any-llm", { input });
    const items = [];
    for await (const item of stream) items.push(item);
    assert.ok(items.length > 2, `${items.length} items`);
    assert.deepEqual(await stream.done(), items.at(-1));
    return `${items.length} items`;
  },

  async "validation-error"() {
    const call = client().run("fal-ai/controlnet-ip-adapter", { input: { seed: "x" } });
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof ValidationError, String(error));
      assert.equal(error.status, 422);
      assert.match(error.requestId, UUID);
      return error.getFieldErrors("prompt")[0].type === "missing";
    });
  },

  async refusals() {
    const refused = (status) => (error) => {
      assert.ok(error instanceof ApiError, String(error));
      return error.status === status;
    };
    await assert.rejects(client("of:somebody-else").run(flux, { input }), refused(401));
    await assert.rejects(client().run("acme/expensive", { input }), refused(400));
  },
};

async function follow(options) {
  const statuses = [];
  const onQueueUpdate = ({ status }) => statuses.push(status);
  const { data } = await client().subscribe(flux, { input, logs: true, onQueueUpdate, ...options });
  assert.equal(statuses.at(-1), "COMPLETED");
  assert.equal((await fetch(data.images[0].url)).status, 200);
  return statuses.join(" ");
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

for (const [id, check] of Object.entries(checks)) {
  let line;
  try {
    line = { id, ok: true, detail: (await check()) ?? null };
  } catch (error) {
    line = { id, ok: false, detail: error?.stack ?? String(error) };
  }
  console.log(JSON.stringify(line));
}
