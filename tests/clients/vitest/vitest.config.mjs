import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { globalSetup: ["fal-mock/testing"], include: ["*.test.mjs"], maxWorkers: 2 },
});
