import { fal } from "@fal-ai/client";

const result = await new Promise((resolve, reject) => {
  const connection = fal.realtime.connect("fal-ai/fast-lcm-diffusion", {
    connectionKey: "realtime-example",
    throttleInterval: 0,
    onResult: (result) => {
      connection.close();
      resolve(result);
    },
    onError: reject,
  });
  connection.send({ prompt: "a cat", seed: 7 });
});
console.log(Object.keys(result).sort().join(" "));
