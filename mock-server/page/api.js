/** The control API: calls, and the stream of events. */

const BASE = "/__mock/v1";

/** Why a call could not be done, in a sentence. */
export class Refused extends Error {}

/** Makes a call; answers JSON, or null where there is none. */
export async function call(method, path, { tenant, query = {}, body } = {}) {
  const parameters = new URLSearchParams(query);
  if (tenant) parameters.set("tenant", tenant);
  const text = parameters.size ? `?${parameters}` : "";
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(`${BASE}${path}${text}`, options);
  } catch {
    throw new Refused("The mock does not answer: has it been stopped?");
  }
  const isJson = /json/.test(answer.headers.get("content-type") ?? "");
  const value = isJson ? await answer.json() : null;
  if (!answer.ok) throw new Refused(value?.detail ?? `The mock answers ${answer.status}`);
  return value;
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, options) => call("POST", path, options);

/** The kinds of events. */
const KINDS = [
  "hello", "reset", "job", "job-gone", "request", "delivery", "delivery-gone", "file", "file-gone", "clock", "tenant",
  "tenant-ended", "fault",
];

/** Listens for good. `onEvent` gets the kind and the data, `onState` whether it is connected. */
export function listen(onEvent, onState) {
  const source = new EventSource(`${BASE}/events`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => onEvent(kind, JSON.parse(event.data)));
  }
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => {
    onState(false);
    // A browser tries again by itself where a connection breaks, but not where it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(onEvent, onState), REFUSED_PAUSE_MS);
  });
}

/** Where the page sees a file of the mock: its own address, which leaves no trace in the journal. */
export const contentOf = (url, tenant) => `${BASE}/files/content?${new URLSearchParams({ url, tenant })}`;

const REFUSED_PAUSE_MS = 2000;
