// Tests that fail, for what is said then.
import { createFalClient } from "@fal-ai/client";
import { useFal, withFal } from "fal-mock/testing";
import * as vitest from "vitest";

const { describe, expect, test: base } = vitest;

const test = withFal(base);
test("by fixture", async ({ fal }) => {
  await createFalClient(fal.config()).run("acme/fixture", { input: {} });
  expect((await fal.counters()).runs).toBe(2);
});

describe("by hooks", () => {
  const fal = useFal({}, vitest);
  base("by hooks", async () => {
    await createFalClient(fal.config()).queue.submit("acme/hooks", { input: {} });
    expect(await fal.jobs()).toEqual([]);
  });
});

withFal(base, { scenario: { expect: { requests: [{ operation: "submit", count: 1 }] } } })("expectations", async ({ fal }) => {
  const { queue } = createFalClient(fal.config());
  for (const _ of "ab") await queue.submit("acme/twice", { input: {} });
});
