/** Elements. Whatever a client of the mock has sent becomes a text node and nothing else. */

/**
 * Makes an element. `props` are attributes, but `class`, `text` (its only content), and `on` (listeners by event).
 * Children that are null are left out.
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Sets a text if it is another one, so that nothing is laid out in vain. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A button that does something. */
export function button(text, run, props = {}) {
  return el("button", { type: "button", on: { click: run }, ...props }, text);
}

/** A button that copies what `text()` says. */
export function copyButton(what, text, name = "Copy") {
  const made = button(name, async () => {
    const done = await copy(text());
    made.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (made.textContent = name), 1200);
  }, { class: "small quiet", "aria-label": `Copy ${what}` });
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages by plain http from another machine have no clipboard, but this old way.
    const area = el("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A part of a panel under a heading; `tools` stand beside it. */
export function section(title, tools, ...children) {
  return el("section", { class: "part" },
    el("div", { class: "part-head" }, el("h3", { text: title }), el("div", { class: "tools" }, tools)),
    children);
}

/** Names and values. Those without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, shown.map(([name, value]) => [
    el("dt", { text: name }),
    el("dd", {}, value instanceof Node ? value : String(value)),
  ]));
}

/** A body as the control API tells it: JSON, a text, or bytes. */
export function bodyBlock(title, body, note = "") {
  if (!body || body.text === "") return section(title, [], el("p", { class: "dim", text: note || "Empty." }));
  const text = bodyText(body);
  const tools = [copyButton(title.toLowerCase(), () => text)];
  const kind = "json" in body ? jsonView(text) : el("pre", { class: "code", tabindex: "0", text: shorten(text) });
  return section(title, tools, note ? el("p", { class: "dim", text: note }) : null, kind);
}

export function bodyText(body) {
  if ("json" in body) return JSON.stringify(body.json, null, 2);
  return body.text ?? body.base64;
}

/** JSON with its kinds of values told apart. */
function jsonView(text) {
  const view = el("pre", { class: "code", tabindex: "0" });
  if (text.length > COLOURED_MAX) {
    view.textContent = shorten(text);
    return view;
  }
  const token = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
  let end = 0;
  for (const match of text.matchAll(token)) {
    view.append(text.slice(end, match.index));
    const kind = match[1] ? (match[2] ? "key" : "string") : /^[tfn]/.test(match[0]) ? "word" : "number";
    view.append(el("span", { class: `json-${kind}`, text: match[1] ?? match[0] }), match[2] ?? "");
    end = match.index + match[0].length;
  }
  view.append(text.slice(end));
  return view;
}

function shorten(text) {
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}\n… ${text.length - SHOWN_MAX} more characters`;
}

/** A panel that is drawn again and again: a part whose data are the same stays, and with it what plays in it. */
export class Panel {
  constructor(root) {
    this.root = root;
    this.key = null;
    this.parts = new Map();
  }

  /** Draws parts: `[name, data, build]` each. Another `key` begins anew, from the top. */
  draw(key, parts) {
    if (this.key !== key) {
      this.key = key;
      this.parts.clear();
      this.root.replaceChildren();
      this.root.scrollTop = 0;
    }
    const wanted = new Set(parts.map(([name]) => name));
    for (const [name, part] of this.parts) {
      if (!wanted.has(name)) {
        part.node.remove();
        this.parts.delete(name);
      }
    }
    let before = null;
    for (const [name, data, build] of parts) {
      const signature = JSON.stringify(data);
      const old = this.parts.get(name);
      if (old?.signature === signature) {
        before = old.node;
        continue;
      }
      const node = build();
      if (old) {
        // Whoever was on a button stays on the one that took its place.
        const focused = old.node.contains(document.activeElement) ? document.activeElement.textContent : null;
        old.node.replaceWith(node);
        if (focused) [...node.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
      } else if (before) before.after(node);
      else this.root.prepend(node);
      this.parts.set(name, { signature, node });
      before = node;
    }
  }
}

/** Longer JSON is not coloured. */
const COLOURED_MAX = 50_000;

/** Characters of a body that are shown. */
const SHOWN_MAX = 200_000;
