import { fal } from "@fal-ai/client";

const { request_id } = await fal.queue.submit("fal-ai/flux/dev", { input: { prompt: "a cat" } });
await fal.queue.cancel("fal-ai/flux/dev", { requestId: request_id });
console.log("cancelled:", request_id);
