/** Files of the mock that a body names: shown where a browser can, linked where not. Nothing is loaded from elsewhere. */

import { contentOf } from "./api.js";
import { bytes } from "./format.js";
import { el } from "./dom.js";

const HOSTS = ["v3.fal.media", "v3b.fal.media", "v2.fal.media", "fal.media", "storage.googleapis.com", "gcs.fal.media"];

/** Whether an address is that of a file of the mock: by fal's name, or behind a door in a path. */
export function isOurs(text) {
  if (typeof text !== "string" || text.length > ADDRESS_CHARS_MAX || !text.includes("/files/")) return false;
  let url;
  try {
    url = new URL(text);
  } catch {
    return false;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return false;
  return HOSTS.includes(url.hostname) || HOSTS.includes(url.pathname.split("/")[1]);
}

/** The files that a value names, each once, with what stands beside their address. */
export function filesIn(value) {
  const found = new Map();
  const walk = (one, beside, depth) => {
    if (found.size >= FILES_MAX || depth > DEPTH_MAX) return;
    if (isOurs(one)) {
      if (!found.has(one)) found.set(one, { url: one, type: typeOf(one, beside), beside });
    } else if (one && typeof one === "object") {
      for (const member of Object.values(one)) walk(member, one, depth + 1);
    }
  };
  walk(value, null, 0);
  return [...found.values()];
}

function typeOf(url, beside) {
  if (typeof beside?.content_type === "string") return beside.content_type;
  const ending = new URL(url).pathname.split(".").at(-1).toLowerCase();
  return TYPES[ending] ?? "application/octet-stream";
}

/** Shows a file. */
export function mediaView({ url, type, beside }, tenant) {
  const src = contentOf(url, tenant);
  const name = new URL(url).pathname.split("/").at(-1);
  const about = [type, Number.isFinite(beside?.width) && Number.isFinite(beside?.height) ? `${beside.width} × ${beside.height}` : null,
    Number.isFinite(beside?.file_size) ? bytes(beside.file_size) : null].filter(Boolean).join(" · ");
  const kind = type.split("/")[0];
  const gone = () => shown?.replaceWith(el("p", { class: "dim", text: "This cannot be shown: it may be over, or no such file." }));
  let shown = null;
  if (kind === "image") shown = el("img", { src, alt: `Image ${name}`, loading: "lazy", on: { error: gone } });
  else if (kind === "video") shown = el("video", { src, controls: true, preload: "metadata", "aria-label": `Video ${name}`, on: { error: gone } });
  else if (kind === "audio") shown = el("audio", { src, controls: true, preload: "metadata", "aria-label": `Sound ${name}`, on: { error: gone } });
  return el("figure", { class: `media media-${kind}` }, shown,
    el("figcaption", {}, el("a", { href: src, target: "_blank", rel: "noopener", title: url, text: name }), el("span", { class: "dim", text: about })));
}

/** All files of a body in one block; null if it names none. */
export function gallery(value, tenant) {
  const files = filesIn(value);
  return files.length ? el("div", { class: "gallery" }, files.map((file) => mediaView(file, tenant))) : null;
}

const TYPES = {
  png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", webp: "image/webp", gif: "image/gif", svg: "image/svg+xml",
  mp4: "video/mp4", webm: "video/webm", mov: "video/quicktime", wav: "audio/wav", mp3: "audio/mpeg", ogg: "audio/ogg", flac: "audio/flac",
};

/** Files of one body that are shown. */
const FILES_MAX = 32;

const DEPTH_MAX = 24;
const ADDRESS_CHARS_MAX = 4096;
