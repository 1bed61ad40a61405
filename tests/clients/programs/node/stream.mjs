import { fal } from "@fal-ai/client";

const stream = await fal.stream("fal-ai/any-llm", { input: { prompt: "Tell me about cats." } });
for await (const event of stream) {
  console.log(event.output);
}
const result = await stream.done();
console.log("done:", result.output);
