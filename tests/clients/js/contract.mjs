// Calls a mock with the official client as an application would, and prints one JSON line per check.
//
// Arguments: the folder whose node_modules has the client, and JSON with the addresses of four mocks:
// `fast` does jobs in a moment, `instant` while they are submitted, `slow` never and one at a time;
// `failing` lets them fail. A third argument names one of them: then the environment is that of `fal-mock exec`
// for this mock, the client has no proxy setting, and checks that need another mock are skipped.

import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, addresses, under] = process.argv.slice(2);
const { createFalClient, ApiError, ValidationError } = createRequire(
  path.join(folder, "package.json"),
)("@fal-ai/client");
const { fast, instant, slow, failing } = JSON.parse(addresses);
const door = under ? "exec" : "proxyUrl";

class Skipped extends Error {}

const client = (url, more = {}) => {
  if (!under) {
    const proxyUrl = { url: `${url}/api/fal/proxy`, when: "always" };
    return createFalClient({ proxyUrl, credentials: "any:key", ...more });
  }
  if (JSON.parse(addresses)[under] !== url) throw new Skipped();
  // The key is that of the environment.
  return createFalClient(more);
};

const flux = "fal-ai/flux/dev";
const input = { prompt: "a cat" };
const statuses = (updates) => updates.map(({ status }) => status);

/** The check's answer is shown as its detail. */
const checks = {
  async run() {
    const { data, requestId } = await client(fast).run(flux, { input: { ...input, seed: 7 } });
    assert.match(requestId, UUID);
    assert.equal(data.seed, 7);
    return sizeOf(data.images[0]);
  },

  async "subscribe-polling"() {
    const { updates, enqueued, result } = await follow({ mode: "polling", pollInterval: 15 });
    assert.equal(result.requestId, enqueued);
    assertForward(statuses(updates));
    assert.ok(updates.at(-1).logs.length > 1, "no logs");
    return sizeOf(result.data.images[0]);
  },

  async "subscribe-streaming"() {
    const { updates, enqueued, result } = await follow({ mode: "streaming" });
    assert.equal(result.requestId, enqueued);
    assertForward(statuses(updates));
    // In this mode the client adds the logs of all events up: what is sent twice shows twice.
    const lines = updates.at(-1).logs.map(({ message, timestamp }) => `${timestamp} ${message}`);
    assert.ok(lines.length > 1, "no logs");
    assert.equal(new Set(lines).size, lines.length, `a line came twice: ${lines.join("; ")}`);
    return sizeOf(result.data.images[0]);
  },

  async "subscribe-to-a-job-that-is-done-already"() {
    for (const mode of ["polling", "streaming"]) {
      const updates = [];
      const onQueueUpdate = (update) => updates.push(update);
      const { data } = await client(instant).subscribe(flux, { input, mode, onQueueUpdate });
      assert.deepEqual(statuses(updates), ["COMPLETED"]);
      await sizeOf(data.images[0]);
    }
  },

  async "queue-steps"() {
    const { queue } = client(fast);
    const { request_id: requestId, status } = await queue.submit(flux, { input });
    assert.equal(status, "IN_QUEUE");
    const first = await queue.status(flux, { requestId, logs: true });
    assert.equal(first.request_id, requestId);
    const stream = await queue.streamStatus(flux, { requestId, logs: true });
    const seen = [];
    for await (const update of stream) seen.push(update.status);
    assert.equal((await stream.done()).status, "COMPLETED");
    assertForward(seen);
    const last = await queue.status(flux, { requestId, logs: true });
    assert.equal(last.status, "COMPLETED");
    assert.ok(last.metrics.inference_time > 0);
    const result = await queue.result(flux, { requestId });
    assert.equal(result.requestId, requestId);
    return sizeOf(result.data.images[0]);
  },

  async "result-before-completion"() {
    const { queue } = client(slow);
    const { request_id: requestId } = await queue.submit("acme/early", { input });
    await assert.rejects(queue.result("acme/early", { requestId }), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.requestId, requestId);
      return error.status === 400;
    });
  },

  async "queue-subscribe-to-status"() {
    const { queue } = client(fast);
    const { request_id: requestId } = await queue.submit(flux, { input });
    const done = await queue.subscribeToStatus(flux, { requestId, mode: "streaming" });
    assert.equal(done.status, "COMPLETED");
  },

  async "storage-upload"() {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) % 251);
    const url = await client(fast).storage.upload(new Blob([bytes], { type: "image/png" }));
    const answer = await fetch(url);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "image/png");
    assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), bytes);
    return url;
  },

  async "storage-upload-named-file"() {
    const file = new File(["text"], "notes.txt", { type: "text/plain" });
    const url = await client(fast).storage.upload(file, { lifecycle: { expiresIn: "1h" } });
    assert.equal(await (await fetch(url)).text(), "text");
    return url;
  },

  async "storage-upload-in-parts"() {
    // One byte too long to be sent in one piece. The mock refuses the second part twice.
    const piece = randomBytes(1 << 20);
    const pieces = Array.from({ length: 90 }, (_, i) => [Uint8Array.of(i), piece.subarray(1)]).flat();
    const file = new File([...pieces, "!"], "long.bin", { type: "application/zip" });
    const url = await client(fast).storage.upload(file);
    const answer = await fetch(url);
    assert.equal(answer.headers.get("content-type"), "application/zip");
    assert.equal(Number(answer.headers.get("content-length")), file.size);
    const [sent, got] = [createHash("sha256"), createHash("sha256")];
    for await (const chunk of file.stream()) sent.update(chunk);
    for await (const chunk of answer.body) got.update(chunk);
    assert.equal(got.digest("hex"), sent.digest("hex"));
    const end = await fetch(url, { headers: { range: "bytes=-2" } });
    assert.equal(end.status, 206);
    assert.equal((await end.text()).at(-1), "!");
    return `${file.size} bytes`;
  },

  async "storage-upload-for-few"() {
    const initialAcl = { default: "forbid", rules: [{ user: "acme", decision: "allow" }] };
    const lifecycle = { expiresIn: 3600, initialAcl };
    const url = await client(fast).storage.upload(new Blob(["secret"]), { lifecycle });
    assert.equal((await fetch(url)).status, 403);
    const headers = { authorization: "Key acme:key" };
    assert.equal(await (await fetch(url, { headers })).text(), "secret");
    return url;
  },

  async "output-for-nobody"() {
    const storageSettings = { expiresIn: "1h", initialAcl: { default: "hide" } };
    const { data } = await client(instant).run(flux, { input, storageSettings });
    assert.equal((await fetch(data.images[0].url)).status, 404);
  },

  async "files-inside-an-input"() {
    const file = (type) => new Blob(["content"], { type });
    const { data } = await client(fast).subscribe("fal-ai/controlnet-ip-adapter", {
      input: {
        prompt: "portrait of a man",
        reference_image_url: file("image/png"),
        reference_pose_image_url: file("image/jpeg"),
        ip_archive_url: file("application/zip"),
        seed: 42,
      },
      pollInterval: 15,
    });
    assert.equal(data.seed, 42);
    for (const image of data.images) {
      for (const name of ["url", "content_type", "file_name", "file_size", "width", "height"]) {
        assert.ok(image[name], `${name} is missing`);
      }
      await sizeOf(image);
    }
    return `${data.images.length} images`;
  },

  async "validation-error-of-run"() {
    return invalid(client(fast).run("fal-ai/controlnet-ip-adapter", { input: { seed: "x" } }));
  },

  async "validation-error-of-job"() {
    return invalid(
      client(fast).subscribe("fal-ai/controlnet-ip-adapter", {
        input: { seed: "x" },
        pollInterval: 15,
      }),
    );
  },

  async "failed-job"() {
    const updates = [];
    let enqueued;
    const failed = client(failing).subscribe(flux, {
      input,
      pollInterval: 15,
      onEnqueue: (requestId) => (enqueued = requestId),
      onQueueUpdate: (update) => updates.push(update),
    });
    await assert.rejects(failed, (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, 500);
      assert.equal(error.requestId, enqueued);
      assert.equal(error.body.error_type, "runner_server_error");
      return true;
    });
    assert.equal(updates.at(-1).status, "COMPLETED");
    assert.equal(updates.at(-1).error_type, "runner_server_error");
  },

  async "failed-run"() {
    await assert.rejects(client(failing).run(flux, { input }), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.status, 500);
      assert.match(error.requestId, UUID);
      return true;
    });
  },

  async "start-timeout-of-user"() {
    // The runner of this mock is taken by the first job for ever, so the second cannot start in time.
    const { queue } = client(slow);
    const { request_id: first } = await queue.submit("acme/single", { input });
    const waiting = queue.submit("acme/single", { input, startTimeout: 1.1 });
    const { request_id: requestId } = await waiting;
    await queue.subscribeToStatus("acme/single", { requestId, mode: "streaming" });
    await assert.rejects(queue.result("acme/single", { requestId }), (error) => {
      assert.equal(error.status, 504);
      return error.isUserTimeout;
    });
    await queue.cancel("acme/single", { requestId: first });
  },

  async "cancel-in-queue"() {
    const { queue } = client(slow);
    const { request_id: first } = await queue.submit("acme/queued", { input });
    const { request_id: requestId } = await queue.submit("acme/queued", { input });
    await queue.cancel("acme/queued", { requestId });
    const { status } = await queue.status("acme/queued", { requestId });
    assert.equal(status, "COMPLETED");
    await queue.cancel("acme/queued", { requestId: first });
  },

  async "cancel-of-running-job"() {
    const { queue } = client(slow);
    const { request_id: requestId } = await queue.submit("acme/running", { input });
    const updates = [];
    const done = queue.subscribeToStatus("acme/running", {
      requestId,
      mode: "streaming",
      onQueueUpdate(update) {
        if (update.status === "IN_PROGRESS" && !statuses(updates).includes("IN_PROGRESS")) {
          queue.cancel("acme/running", { requestId }).catch((error) => updates.push(error));
        }
        updates.push(update);
      },
    });
    assert.equal((await done).status, "COMPLETED");
    assert.ok(statuses(updates).includes("IN_PROGRESS"));
  },

  async "abort-of-submit"() {
    const abortSignal = AbortSignal.abort();
    await assert.rejects(client(slow).queue.submit(flux, { input, abortSignal }), {
      name: "AbortError",
    });
  },

  async "abort-of-run"() {
    const controller = new AbortController();
    const abortSignal = controller.signal;
    const run = client(slow).run("acme/aborted", { input, abortSignal });
    setTimeout(() => controller.abort(), 100);
    await assert.rejects(run, { name: "AbortError" });
  },

  async "abort-while-polling"() {
    const controller = new AbortController();
    const subscription = client(slow).subscribe("acme/polled", {
      input,
      pollInterval: 15,
      abortSignal: controller.signal,
      onQueueUpdate: () => controller.abort(),
    });
    await assert.rejects(subscription, { name: "AbortError" });
  },

  async "timeout-cancels"() {
    const subscription = client(slow).subscribe("acme/late", {
      input,
      pollInterval: 15,
      timeout: 150,
    });
    await assert.rejects(subscription, /timed out/);
  },

  async "webhook-is-delivered-and-verifies"() {
    const { webhookUrl, delivery, close } = await receiver();
    try {
      const { request_id: requestId } = await client(fast).queue.submit(flux, {
        input,
        webhookUrl,
      });
      const { url, headers, body } = await delivery;
      assert.equal(url, "/hook?x=1&y=2");
      assert.ok(await isSigned(headers, body), "no key has made its signature");
      assert.ok(!(await isSigned(headers, `${body} `)), "any body would do");
      const { request_id: told, status, payload } = JSON.parse(body);
      assert.deepEqual([told, status], [requestId, "OK"]);
      const { data } = await client(fast).queue.result(flux, { requestId });
      assert.deepEqual({ ...payload, images: data.images }, data);
      return sizeOf(payload.images[0]);
    } finally {
      close();
    }
  },

  async "low-priority"() {
    const { request_id: requestId } = await client(fast).queue.submit("acme/low", {
      input,
      priority: "low",
      hint: "lora-1",
      headers: { "x-my-trace": "42" },
    });
    assert.match(requestId, UUID);
  },

  async "wrong-key"() {
    const stranger = client(fast, { credentials: "no-colon" });
    await assert.rejects(stranger.run(flux, { input }), (error) => error.status === 401);
    await assert.rejects(stranger.queue.submit(flux, { input }), (error) => error.status === 401);
  },

  async "stream-of-text"() {
    const stream = await client(fast).stream("fal-ai/any-llm", { input });
    const items = [];
    for await (const item of stream) items.push(item);
    assert.ok(items.length > 2, `${items.length} items`);
    assert.match(stream.requestId, UUID);
    const done = await stream.done();
    assert.deepEqual(done, items.at(-1));
    assert.deepEqual(items.map(({ partial }) => partial).indexOf(false), items.length - 1);
    items.slice(1).forEach(({ output }, at) => assert.ok(output.startsWith(items[at].output)));
    assert.ok(done.output.includes(input.prompt), done.output);
    return done.output;
  },

  async "stream-of-pictures"() {
    const stream = await client(fast).stream(`${flux}/stream`, { input: { ...input, seed: 7 } });
    const items = [];
    stream.on("data", (item) => items.push(item));
    const done = await stream.done();
    assert.deepEqual(done, items.at(-1));
    assert.equal(done.seed, 7);
    assert.equal(new Set(items.map(({ images }) => images[0].url)).size, items.length);
    for (const { images } of items) await sizeOf(images[0]);
    return `${items.length} items`;
  },

  async "validation-error-of-stream"() {
    const stream = await client(fast).stream("fal-ai/controlnet-ip-adapter", {
      input: { seed: "x" },
    });
    return invalid(stream.done());
  },

  async "cut-stream"() {
    // Its mock cuts the first stream in the middle.
    const stream = await client(failing).stream(flux, { input });
    await assert.rejects(stream.done(), (error) => error instanceof ApiError);
  },

  async "abort-of-stream"() {
    const stream = await client(slow).stream("acme/streamed", { input });
    setTimeout(() => stream.abort(), 100);
    await stream.done();
  },

  async "files-inside-an-input-by-hand"() {
    const { storage } = client(fast);
    const file = new Blob(["content"], { type: "image/png" });
    const { list, text } = await storage.transformInput({ list: [{ file }], text: "as it was" });
    assert.equal(text, "as it was");
    assert.equal(await (await fetch(list[0].file)).text(), "content");
  },

  async "stream-by-its-own-client"() {
    const stream = await client(fast).streaming.stream("fal-ai/any-llm", { input });
    assert.ok((await stream.done()).output.includes(input.prompt));
  },

  async realtime() {
    const tokenless = client(fast);
    // Sockets go around a proxy setting, to the real address.
    if (!under) throw new Skipped();
    const results = [];
    await new Promise((resolve, reject) => {
      const connection = tokenless.realtime.connect("acme/live", {
        connectionKey: "contract",
        throttleInterval: 0,
        maxBuffering: 10,
        onError: reject,
        onResult(result) {
          results.push(result);
          if (results.length === 3) {
            connection.close();
            resolve();
            return;
          }
          connection.send({ ...input, request_id: `${results.length}` });
        },
      });
      connection.send({ ...input, request_id: "0" });
    });
    assert.deepEqual(results.map(({ request_id }) => request_id), ["0", "1", "2"]);
    assert.ok(results.every(({ images }) => images.length === 1));
  },
};

/** The public methods of the client that each check exercises. */
const methods = {
  run: ["run"],
  "subscribe-polling": ["subscribe"],
  "subscribe-streaming": ["subscribe"],
  "subscribe-to-a-job-that-is-done-already": ["subscribe"],
  "queue-steps": ["queue.submit", "queue.status", "queue.streamStatus", "queue.result"],
  "result-before-completion": ["queue.submit", "queue.result"],
  "queue-subscribe-to-status": ["queue.submit", "queue.subscribeToStatus"],
  "storage-upload": ["storage.upload"],
  "storage-upload-named-file": ["storage.upload"],
  "storage-upload-in-parts": ["storage.upload"],
  "storage-upload-for-few": ["storage.upload"],
  "output-for-nobody": ["run"],
  "files-inside-an-input": ["subscribe"],
  "files-inside-an-input-by-hand": ["storage.transformInput"],
  "validation-error-of-run": ["run"],
  "validation-error-of-job": ["subscribe"],
  "failed-job": ["subscribe"],
  "failed-run": ["run"],
  "start-timeout-of-user": ["queue.submit", "queue.subscribeToStatus", "queue.result"],
  "cancel-in-queue": ["queue.cancel", "queue.status"],
  "cancel-of-running-job": ["queue.cancel", "queue.subscribeToStatus"],
  "abort-of-submit": ["queue.submit"],
  "abort-of-run": ["run"],
  "abort-while-polling": ["subscribe"],
  "timeout-cancels": ["subscribe"],
  "webhook-is-delivered-and-verifies": ["queue.submit", "queue.result"],
  "low-priority": ["queue.submit"],
  "wrong-key": ["run", "queue.submit"],
  "stream-of-text": ["stream"],
  "stream-of-pictures": ["stream"],
  "stream-by-its-own-client": ["streaming.stream"],
  "validation-error-of-stream": ["stream"],
  "cut-stream": ["stream"],
  "abort-of-stream": ["stream"],
  realtime: ["realtime.connect"],
};

/** Every method of the client is exercised by some check, and every check says what it exercises. */
function assertComplete() {
  const all = [];
  for (const [name, member] of Object.entries(createFalClient({}))) {
    if (typeof member === "function") all.push(name);
    else all.push(...Object.keys(member).map((method) => `${name}.${method}`));
  }
  assert.deepEqual([...new Set(Object.values(methods).flat())].sort(), all.sort());
  assert.deepEqual(Object.keys(methods).sort(), Object.keys(checks).sort());
}

/** Listens for one delivery. */
async function receiver() {
  let arrived;
  const delivery = new Promise((resolve) => (arrived = resolve));
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    response.end();
    arrived({ url: request.url, headers: request.headers, body: Buffer.concat(pieces).toString() });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const webhookUrl = `http://127.0.0.1:${server.address().port}/hook?x=1&y=2`;
  return { webhookUrl, delivery, close: () => server.close() };
}

/** Verifies with nothing but Node, so that no code of the mock agrees with itself. */
async function isSigned(headers, body) {
  const { keys } = await (await fetch(`${fast}/rest.fal.ai/.well-known/jwks.json`)).json();
  const header = (name) => headers[`x-fal-webhook-${name}`];
  const digest = createHash("sha256").update(body).digest("hex");
  const message = [header("request-id"), header("user-id"), header("timestamp"), digest].join("\n");
  const signature = Buffer.from(header("signature"), "hex");
  return keys.some((key) =>
    verify(null, Buffer.from(message), createPublicKey({ key, format: "jwk" }), signature),
  );
}

/** Updates never go back, and end with the job. */
function assertForward(seen) {
  const order = ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"];
  const ranks = seen.map((status) => order.indexOf(status));
  assert.deepEqual(ranks, ranks.toSorted(), `${seen}`);
  assert.equal(seen.at(-1), "COMPLETED");
  assert.ok(new Set(seen).size > 1, "the job was not seen before its end");
}

async function follow(options) {
  const updates = [];
  let enqueued;
  const result = await client(fast).subscribe(flux, {
    input,
    logs: true,
    onEnqueue: (requestId) => (enqueued = requestId),
    onQueueUpdate: (update) => updates.push({ ...update, logs: [...(update.logs ?? [])] }),
    ...options,
  });
  return { updates, enqueued, result };
}

async function invalid(call) {
  let fields;
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof ValidationError, String(error));
    assert.equal(error.status, 422);
    assert.match(error.requestId, UUID);
    fields = error.fieldErrors;
    assert.equal(error.getFieldErrors("seed").length, 1);
    assert.equal(error.getFieldErrors("prompt")[0].type, "missing");
    return true;
  });
  const places = fields.map(({ loc }) => loc.join(".")).sort();
  assert.deepEqual(places, [
    "body.ip_archive_url",
    "body.prompt",
    "body.reference_image_url",
    "body.reference_pose_image_url",
    "body.seed",
  ]);
  return places.join(" ");
}

/** Fetches an image of an output and reads its size from the file itself. */
async function sizeOf({ url, width, height }) {
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  const view = new DataView(await answer.arrayBuffer());
  assert.equal(view.getBigUint64(0), 0x89504e470d0a1a0an, "this is no PNG");
  assert.equal(view.getUint32(12), 0x49484452, "its first chunk is no IHDR");
  assert.deepEqual([view.getUint32(16), view.getUint32(20)], [width, height]);
  return `${width}x${height}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

// One after the other, so that what a mock has seen belongs to the check that ran.
for (const [id, check] of Object.entries({ ...checks, completeness: assertComplete })) {
  let line = { id, ok: true, door, methods: methods[id] ?? [] };
  try {
    line.detail = (await check()) ?? null;
  } catch (error) {
    if (error instanceof Skipped) continue;
    line = { ...line, ok: false, detail: error?.stack ?? String(error) };
  }
  console.log(JSON.stringify(line));
}
