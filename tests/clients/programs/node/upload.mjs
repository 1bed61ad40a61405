import { fal } from "@fal-ai/client";

const file = new File(["some words"], "words.txt", { type: "text/plain" });
console.log(await fal.storage.upload(file));
