import { fal } from "@fal-ai/client";

const result = await fal.subscribe("fal-ai/flux/dev", {
  input: { prompt: "a cat", image_size: "landscape_4_3", seed: 7 },
  logs: true,
  onEnqueue: (requestId) => console.log("request:", requestId),
  onQueueUpdate: (update) => {
    if (update.status === "IN_PROGRESS") {
      update.logs.map((log) => log.message).forEach((message) => console.log("log:", message));
    }
  },
});
console.log(result.data.images[0].url, result.data.seed);
