/** The axis of time beside the jobs: which stretch it shows, its marks, and the spans of a job on it. */

import { clockTime, time } from "./format.js";

/** What the axis may show. */
export const RANGES = [["view", "Axis: in view"], ["60000", "last minute"], ["600000", "last 10 minutes"], ["3600000", "last hour"], ["all", "everything"]];

/** When a job is over, or how far it has come. */
const endOf = (job, now) => time(job.ended) ?? Math.max(now, time(job.submitted));

/** The stretch of time, in milliseconds. `seen` and `all` are jobs, `now` gives the time of a job's tenant. */
export function stretch(range, seen, all, now) {
  const jobs = range === "view" ? seen : all;
  let [from, to] = [Infinity, -Infinity];
  for (const job of jobs) {
    from = Math.min(from, time(job.submitted));
    to = Math.max(to, endOf(job, now(job)));
  }
  if (!Number.isFinite(from)) return null;
  if (range !== "view" && range !== "all") {
    const wanted = Number(range);
    to = Math.max(...seen.slice(0, 1).map(now), to);
    from = to - wanted;
  }
  const room = Math.max((to - from) * 0.02, 1);
  return { from: from - room / 2, to: to + room };
}

/** Marks of round times: where, and what stands there. */
export function marks({ from, to }) {
  const step = STEPS.find((one) => (to - from) / one <= MARKS_MAX) ?? STEPS.at(-1);
  const found = [];
  // Round in the time of the day that is shown.
  const zone = new Date(from).getTimezoneOffset() * 60_000;
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to && found.length <= MARKS_MAX; at += step) {
    const text = clockTime(at);
    found.push({ left: share(at, from, to), text: step >= 60_000 ? text.slice(0, 5) : step >= 1000 ? text.slice(0, 8) : text.slice(3) });
  }
  return found;
}

/** How a job lies on the axis: when it waited and when it ran, in parts of its width. */
export function spans(job, { from, to }, now) {
  const [submitted, started] = [time(job.submitted), time(job.started)];
  const end = endOf(job, now);
  const wait = { left: share(submitted, from, to), right: share(started ?? end, from, to) };
  const run = started === null ? null : { left: share(started, from, to), right: share(end, from, to) };
  return { wait, run };
}

const share = (at, from, to) => Math.min(1, Math.max(0, (at - from) / (to - from)));

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE,
  5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 7 * 24 * HOUR,
];
const MARKS_MAX = 5;
