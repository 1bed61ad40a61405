// The fixture `fal`: a world for each test, many at once, by clients that are told where the mock is.
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";

import { ApiError, createFalClient } from "@fal-ai/client";
import { Mock, withFal } from "fal-mock/testing";
import { describe, expect, test as base } from "vitest";

const FLUX = "fal-ai/flux/dev";
const test = withFal(base);
const slow = withFal(base, { clock: "virtual", queue_time: "1m", run_time: 7200, runners: 1 });

describe.concurrent("worlds", () => {
  test.for(["a cat", "a dog", "a bird", "a fish", "a snail", "a worm"])("%s is drawn", async (prompt, { fal, expect }) => {
    const client = createFalClient(fal.config());
    const { data, requestId } = await client.subscribe(FLUX, { input: { prompt } });
    expect(data.images).toHaveLength(1);
    expect(await fal.jobs()).toMatchObject([{ request_id: requestId, endpoint: FLUX, state: "succeeded" }]);
    expect((await fal.job(requestId)).input.json).toEqual({ prompt });
  });

  test.for([1, 2, 3])("runs are counted apart, %i", async (count, { fal, expect }) => {
    const client = createFalClient(fal.config());
    await Promise.all(Array.from({ length: count }, () => client.run(FLUX, { input: { prompt: "x" } })));
    expect((await fal.counters()).runs).toBe(count);
  });

  slow("two hours of training", async ({ fal, expect }) => {
    const { queue } = createFalClient(fal.config());
    const id = "acme/lora-trainer";
    const { request_id: requestId } = await queue.submit(id, { input: {} });
    const before = await fal.now();
    await fal.advance("1m");
    await fal.advance(3600);
    expect((await queue.status(id, { requestId })).status).toBe("IN_PROGRESS");
    await fal.runUntil({ job: requestId });
    expect((await queue.status(id, { requestId })).status).toBe("COMPLETED");
    expect((await fal.now()) - before).toBeGreaterThanOrEqual(7_260_000);
    expect((await queue.result(id, { requestId })).data).toBeTruthy();
  });

  slow("a job fails by hand", async ({ fal, expect }) => {
    const { queue } = createFalClient(fal.config());
    const { request_id: requestId } = await queue.submit(FLUX, { input: { prompt: "x" } });
    await fal.runUntil({ next: true });
    await fal.fail(requestId, { status: 418, detail: "it fell over" });
    const failed = queue.result(FLUX, { requestId });
    await expect(failed).rejects.toBeInstanceOf(ApiError);
    await expect(failed).rejects.toMatchObject({ status: 418 });
    expect(await fal.jobs({ state: "failed" })).toHaveLength(1);
  });

  slow("jobs are moved by hand", async ({ fal, expect }) => {
    const { queue } = createFalClient(fal.config());
    const [one, two] = [await queue.submit(FLUX, { input: { prompt: "1" } }), await queue.submit(FLUX, { input: { prompt: "2" } })];
    await fal.runUntil({ next: true });
    await fal.finish(one.request_id);
    await fal.cancel(two.request_id);
    await fal.runUntil({ idle: true });
    expect((await fal.job(one.request_id)).state).toBe("succeeded");
    expect(await fal.jobs({ state: "succeeded" })).toHaveLength(1);
  });

  withFal(base, { scenario: "content-policy" })("a scenario that comes with the mock decides", async ({ fal, expect }) => {
    const client = createFalClient(fal.config());
    const drawn = client.subscribe(FLUX, { input: { prompt: "a forbidden city" } });
    await expect(drawn).rejects.toMatchObject({ status: 422 });
    await client.subscribe(FLUX, { input: { prompt: "an open city" } });
  });

  const memory = withFal(base, { scenario: new URL("out-of-memory.yaml", import.meta.url) });
  memory("a scenario beside the test decides", async ({ fal, expect }) => {
    const client = createFalClient(fal.config());
    await expect(client.subscribe(FLUX, { input: { prompt: "very large" } })).rejects.toMatchObject({ status: 418 });
    await client.subscribe(FLUX, { input: { prompt: "small" } });
  });

  test("a scenario can be said in the test", async ({ fal, expect }) => {
    await fal.scenario({ expect: { requests: [{ operation: "submit", count: 1 }] } });
    await expect(fal.verify()).rejects.toThrow("wanted 1, got 0");
    await createFalClient(fal.config()).queue.submit(FLUX, { input: { prompt: "a cat" } });
    expect(await fal.unmet()).toEqual([]);
    await expect(fal.scenario("fualts: []\n")).rejects.toThrow(/test:1:.*fualts/);
  });

  test("a wrong input is refused", async ({ fal, expect }) => {
    const run = createFalClient(fal.config()).run(FLUX, { input: { prompt: ["no text"] } });
    await expect(run).rejects.toMatchObject({ status: 422 });
    expect(await fal.requests({ status: 422 })).toHaveLength(1);
  });

  test("the ledger finds the twin", async ({ fal, expect }) => {
    const { queue } = createFalClient(fal.config());
    for (const prompt of ["a cat", "a dog", "a cat"]) await queue.submit(FLUX, { input: { prompt } });
    expect(await fal.ledger()).toMatchObject({ calls: 3, twins: 1 });
    expect((await fal.ledger({ twins: true })).last).toMatchObject([{ number: 3, twin_of: 1 }]);
  });

  test("what came is verified", async ({ fal, expect }) => {
    await createFalClient(fal.config()).subscribe(FLUX, { input: { prompt: "a cat" } });
    await fal.verify({ requests: [{ operation: "submit", count: 1 }], order: ["submit", "result"] });
    const twice = fal.verify({ requests: [{ operation: "submit", count: 2 }] });
    await expect(twice).rejects.toThrow("operation submit: wanted 2, got 1");
  });

  test("an upload arrives", async ({ fal, expect }) => {
    const url = await createFalClient(fal.config()).storage.upload(new Blob(["thirteen byte"]));
    expect(await (await fetch(url)).text()).toBe("thirteen byte");
    expect(await fal.files()).toMatchObject([{ bytes: 13, is_complete: true }]);
  });

  test("a webhook is delivered", async ({ fal, expect }) => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const received = new Promise((resolve) => {
      server.on("request", (request, response) => {
        response.end();
        resolve(request.headers);
      });
    });
    const webhookUrl = `http://127.0.0.1:${server.address().port}/done`;
    await createFalClient(fal.config()).queue.submit(FLUX, { input: { prompt: "x" }, webhookUrl });
    expect(await received).toHaveProperty("x-fal-webhook-signature");
    server.close();
    expect(await fal.webhooks()).toMatchObject([{ url: webhookUrl }]);
  });

  test("a world goes back", async ({ fal, expect }) => {
    const { queue } = createFalClient(fal.config());
    await queue.submit(FLUX, { input: { prompt: "1" } });
    await fal.snapshot("one");
    await queue.submit(FLUX, { input: { prompt: "2" } });
    await fal.restore("one");
    expect(await fal.jobs()).toHaveLength(1);
    await fal.reset();
    expect(await fal.jobs()).toEqual([]);
  });

  test("a program that is started calls into the world", async ({ fal, expect }) => {
    const script = `import { fal } from "@fal-ai/client";
      console.log((await fal.run("acme/app", { input: {} })).data.images[0].url);`;
    const env = await fal.environment();
    const said = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { env, cwd: import.meta.dirname });
    expect(said.toString()).toMatch(/^https:\/\/v3\.fal\.media\//);
    expect((await fal.counters()).runs).toBe(1);
  });

  test("a seed decides", async ({ fal, expect }) => {
    const ids = [];
    for (const _ of "ab") {
      const world = await fal.mock.tenant("seeded", { seed: 7 });
      ids.push((await createFalClient(world.config()).queue.submit(FLUX, { input: {} })).request_id);
      await world.end();
    }
    expect(ids[0]).toBe(ids[1]);
  });
});

base("all files share the mock of the global setup", async () => {
  const mock = await Mock.at(process.env.FAL_MOCK_URL);
  expect((await mock.call("GET", "tenants")).tenants.length).toBeGreaterThan(0);
  await expect(mock.call("GET", "nothing")).rejects.toThrow("openapi.json lists all");
});
