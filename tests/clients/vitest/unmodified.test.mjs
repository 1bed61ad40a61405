// Hooks, and an application that nobody tells of the mock: the process that runs this file reaches it by fal's names.
import { useFal } from "fal-mock/testing";
import * as vitest from "vitest";

import { draw, drawByClient, store } from "./app.mjs";

const { expect, test } = vitest;
const fal = useFal({}, vitest);

test.for(["a cat", "a dog"])("%s is drawn, as ever", async (prompt) => {
  expect(await draw(prompt)).toMatch(/^https:\/\/v3\.fal\.media\/files\//);
  const [job] = await fal.jobs();
  expect((await fal.job(job.request_id)).input.json).toEqual({ prompt });
});

test("a client that is older than the test calls into its world", async () => {
  const picture = await fetch(await drawByClient("a bird"));
  expect(new Uint8Array(await picture.arrayBuffer()).length).toBeGreaterThan(100);
  expect((await fal.counters()).runs).toBe(1);
});

test("an upload arrives", async () => {
  expect(await (await fetch(await store("hello"))).text()).toBe("hello");
  expect(await fal.files()).toHaveLength(1);
});

test("other hosts are out of reach", async () => {
  await expect(fetch("https://example.com")).rejects.toThrow();
});
