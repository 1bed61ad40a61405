/** Checks the signature of a delivery as a receiver has to: in the browser, or else by the mock's word. */

const text = new TextEncoder();

/** How each attempt of a delivery fares: `{ ok, how }`. */
export async function checkAttempts(delivery, jwks) {
  if (!globalThis.crypto?.subtle) return delivery.attempts.map(byServer);
  let keys;
  try {
    keys = await Promise.all(jwks.keys.map((key) => crypto.subtle.importKey("jwk", key, { name: "Ed25519" }, false, ["verify"])));
  } catch {
    // A browser that does not know Ed25519.
    return delivery.attempts.map(byServer);
  }
  const body = text.encode(delivery.body_text);
  return Promise.all(delivery.attempts.map(async ({ headers, bytes }) => {
    // A fault may have cut the body off.
    const digest = hex(await crypto.subtle.digest("SHA-256", body.slice(0, bytes)));
    const [request, user, timestamp, signature] = headers.map(([, value]) => value);
    const message = text.encode([request, user, timestamp, digest].join("\n"));
    const verify = (key) => crypto.subtle.verify({ name: "Ed25519" }, key, unhex(signature), message);
    const held = await Promise.all(keys.map(verify));
    return { ok: held.includes(true), how: "checked in this browser" };
  }));
}

const byServer = ({ verifies }) => ({ ok: verifies, how: "checked by the mock" });

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const unhex = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
