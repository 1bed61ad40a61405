// One call with the official client; says in one line what reached the caller.

import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const { fal } = require("@fal-ai/client");

try {
  const input = { prompt: "a forbidden cat" };
  const { data } = await fal.subscribe("fal-ai/flux/dev", { input, pollInterval: 100 });
  console.log(data.images.length > 0 ? "the output" : "an output without pictures");
} catch (error) {
  console.log(error.status ? `an error, ${error.status}` : `an error, ${error.name}`);
}
