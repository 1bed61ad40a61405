/** A list of any length: only the rows that can be seen are there. */

import { el } from "./dom.js";

export const ROW_HEIGHT = 32;

/** Rows that are drawn above and below what can be seen. */
const SPARE = 6;

export class List {
  /** `onOpen` gets the item that was chosen, `onView` is told when other rows are seen. */
  constructor(root, { onOpen, onView }) {
    this.root = root;
    this.items = [];
    this.index = new Map();
    this.rows = [];
    this.selected = null;
    this.onView = onView;
    this.space = el("div", { class: "space" });
    root.replaceChildren(this.space);
    root.setAttribute("role", "listbox");
    root.tabIndex = 0;
    root.addEventListener("scroll", () => this.onView(), { passive: true });
    root.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) onOpen(this.items[row.at]);
    });
    new ResizeObserver(() => this.onView()).observe(root);
  }

  /** Shows another kind of rows: `make` makes an empty one, `fill` fills it with an item. */
  use({ name, make, fill }) {
    this.make = make;
    this.fill = fill;
    this.rows = [];
    this.space.replaceChildren();
    this.items = [];
    this.root.scrollTop = 0;
    this.root.setAttribute("aria-label", name);
  }

  /** The items, in the order in which they are shown. What is looked at stays where it is. */
  set(items) {
    const top = this.root.scrollTop;
    const first = Math.floor(top / ROW_HEIGHT);
    const anchor = top > 0 ? this.items[first]?.key : undefined;
    this.items = items;
    this.index = new Map(items.map((item, at) => [item.key, at]));
    this.space.style.height = `${items.length * ROW_HEIGHT}px`;
    const now = anchor === undefined ? undefined : this.index.get(anchor);
    if (now !== undefined && now !== first) this.root.scrollTop = top + (now - first) * ROW_HEIGHT;
  }

  /** The items that can be seen. */
  seen() {
    const from = Math.max(0, Math.floor(this.root.scrollTop / ROW_HEIGHT));
    return this.items.slice(from, from + Math.ceil(this.root.clientHeight / ROW_HEIGHT) + 1);
  }

  draw() {
    const from = Math.max(0, Math.floor(this.root.scrollTop / ROW_HEIGHT) - SPARE);
    const height = Math.ceil(this.root.clientHeight / ROW_HEIGHT) + 2 * SPARE;
    const shown = this.items.slice(from, from + height);
    while (this.rows.length < shown.length) {
      const row = this.make();
      row.classList.add("row");
      row.setAttribute("role", "option");
      this.space.append(row);
      this.rows.push(row);
    }
    let active = null;
    this.rows.forEach((row, at) => {
      const item = shown[at];
      row.hidden = !item;
      if (!item) return;
      row.at = from + at;
      row.id = `row-${row.at}`;
      row.style.transform = `translateY(${row.at * ROW_HEIGHT}px)`;
      row.ariaPosInSet = row.at + 1;
      row.ariaSetSize = this.items.length;
      const isSelected = item.key === this.selected;
      row.setAttribute("aria-selected", isSelected);
      if (isSelected) active = row.id;
      this.fill(row, item);
    });
    if (active) this.root.setAttribute("aria-activedescendant", active);
    else this.root.removeAttribute("aria-activedescendant");
  }

  /** Marks an item, and scrolls so far that it can be seen. */
  select(key) {
    this.selected = key;
    const at = this.index.get(key);
    if (at === undefined) return;
    const top = at * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop) this.root.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.root.scrollTop = top + ROW_HEIGHT - clientHeight;
  }

  /** The item so many rows below the one that is marked. */
  beside(step) {
    const at = this.index.get(this.selected);
    const next = at === undefined ? 0 : at + step;
    return this.items[Math.max(0, Math.min(this.items.length - 1, next))];
  }
}
