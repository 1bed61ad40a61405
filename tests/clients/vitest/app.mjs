// An application as somebody would write it: it knows nothing of tests.
import { createFalClient, fal } from "@fal-ai/client";

// Made when the module is loaded, as many applications do it.
const client = createFalClient();

/** The address of a picture. */
export async function draw(prompt) {
  const { data } = await fal.subscribe("fal-ai/flux/dev", { input: { prompt } });
  return data.images[0].url;
}

export async function drawByClient(prompt) {
  const { data } = await client.run("fal-ai/flux/dev", { input: { prompt } });
  return data.images[0].url;
}

/** The address of what was stored. */
export const store = (text) => fal.storage.upload(new Blob([text], { type: "text/plain" }));
