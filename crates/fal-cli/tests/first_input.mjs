// What somebody writes first, with an input that is not right. The folder is that whose node_modules has the client.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, endpoint, input] = process.argv.slice(2);
const { fal } = createRequire(path.join(folder, "package.json"))("@fal-ai/client");

const result = await fal.subscribe(endpoint, { input: JSON.parse(input) });
console.log(result.data.images.length, "image(s)");
