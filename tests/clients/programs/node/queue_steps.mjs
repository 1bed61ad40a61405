import { fal } from "@fal-ai/client";

const { request_id } = await fal.queue.submit("fal-ai/flux/dev", { input: { prompt: "a cat" } });
const status = await fal.queue.status("fal-ai/flux/dev", { requestId: request_id, logs: true });
console.log("status:", status.status);

await fal.queue.subscribeToStatus("fal-ai/flux/dev", { requestId: request_id, mode: "streaming" });
const result = await fal.queue.result("fal-ai/flux/dev", { requestId: request_id });
console.log(result.data.images[0].url);
