/** Times, lengths and sizes as texts. */

const two = (number) => String(number).padStart(2, "0");

/** The time of day with milliseconds, of a time in milliseconds. */
export function clockTime(ms) {
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return "–";
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** Day and time of day. */
export function dayTime(ms) {
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return "–";
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clockTime(ms)}`;
}

/** How long something takes, of milliseconds. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0.9995) return ms < 0.0005 ? "0 ms" : `${ms.toFixed(2)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${(minutes / 1440).toFixed(1)} days`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  for (const [unit, size] of [["kB", 1e3], ["MB", 1e6]]) {
    if (count < size * 999.5) return `${(count / size).toFixed(count < size * 10 ? 1 : 0)} ${unit}`;
  }
  return `${(count / 1e9).toFixed(1)} GB`;
}

export const count = (number) => number.toLocaleString("en");

/** Milliseconds of a time in RFC 3339; null of none. */
export const time = (text) => (text ? Date.parse(text) : null);

/** The part of an id by which people know it. */
export const shortId = (id) => id.slice(0, 8);
