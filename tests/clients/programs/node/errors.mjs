import { fal, ValidationError } from "@fal-ai/client";

try {
  await fal.run("fal-ai/flux/dev", { input: { prompt: 7 } });
} catch (error) {
  if (!(error instanceof ValidationError)) throw error;
  console.log(error.status, error.fieldErrors[0].loc);
}
