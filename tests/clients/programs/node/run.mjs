import { fal } from "@fal-ai/client";

const result = await fal.run("fal-ai/flux/schnell", { input: { prompt: "a cat" } });
console.log(result.data.images[0].url);
