/** A list of rows to filter by kind and by a word; rows keep their elements as they change. */

import { make, say } from "./dom";

export interface Row {
  key: string;
  color: string;
  title: string;
  side: string;
  note: string;
  /** What a typed word is looked for in. */
  words: string;
}

export interface Filter<T> {
  name: string;
  takes(item: T): boolean;
}

interface Options<T> {
  root: HTMLElement;
  filters: Filter<T>[];
  placeholder: string;
  row(item: T): Row;
  onPick(key: string): void;
}

interface Line {
  button: HTMLButtonElement;
  mark: HTMLElement;
  title: HTMLElement;
  side: HTMLElement;
  note: HTMLElement;
}

/** More rows than anyone reads; a filter finds the others. */
const ROWS_MAX = 120;
const WHAT_IS_LISTED = "What is in and around the window of the map.";

export class FilterList<T> {
  private readonly lines = new Map<string, Line>();
  private readonly chips: HTMLButtonElement[] = [];
  private readonly list = make("ul");
  private readonly rest = make("p", { class: "rest" });
  private readonly search: HTMLInputElement;
  private items: T[] = [];
  private chosen = 0;
  private picked: string | null = null;

  constructor(private readonly options: Options<T>) {
    const chips = make("div", { class: "chips", role: "group", "aria-label": "Filter" });
    options.filters.forEach((filter, index) => {
      const chip = make("button", { type: "button", "data-filter": filter.name }, filter.name, make("b"));
      chip.addEventListener("click", () => this.choose(index));
      this.chips.push(chip);
      chips.append(chip);
    });
    const attributes = { type: "search", placeholder: options.placeholder };
    this.search = make("input", { ...attributes, "aria-label": options.placeholder });
    this.search.addEventListener("input", () => this.draw());
    options.root.append(chips, this.search, this.list, this.rest);
    this.choose(0);
  }

  show(items: T[]): void {
    this.items = items;
    this.draw();
  }

  /** Mark the row of what is picked. */
  pick(key: string | null): void {
    this.picked = key;
    for (const [name, line] of this.lines) mark(line, name === key);
  }

  private choose(index: number): void {
    this.chosen = index;
    this.chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(i === index)));
    this.draw();
  }

  private draw(): void {
    // A list that nobody sees costs nothing; its tab draws it when it opens.
    if (this.options.root.hidden) return;
    this.options.filters.forEach((filter, i) => {
      const count = this.items.reduce((sum, item) => sum + Number(filter.takes(item)), 0);
      say(this.chips[i]!.lastElementChild!, String(count));
    });
    const word = this.search.value.trim().toLowerCase();
    const filter = this.options.filters[this.chosen]!;
    const rows: Row[] = [];
    let more = 0;
    for (const item of this.items) {
      if (!filter.takes(item)) continue;
      const row = this.options.row(item);
      if (word && !row.words.toLowerCase().includes(word)) continue;
      if (rows.length < ROWS_MAX) rows.push(row);
      else more++;
    }
    this.put(rows);
    say(this.rest, this.closing(rows.length, more));
  }

  private closing(shown: number, more: number): string {
    if (shown === 0) return "Nothing here at the moment.";
    return more > 0 ? `${more} more; a filter or a word finds them.` : WHAT_IS_LISTED;
  }

  private put(rows: Row[]): void {
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, line] of this.lines) {
      if (keys.has(key)) continue;
      line.button.parentElement?.remove();
      this.lines.delete(key);
    }
    let before: Element | null = this.list.firstElementChild;
    for (const row of rows) {
      const line = this.lines.get(row.key) ?? this.newLine(row.key);
      write(line, row);
      const item = line.button.parentElement!;
      if (item === before) before = item.nextElementSibling;
      else this.list.insertBefore(item, before);
    }
  }

  private newLine(key: string): Line {
    const line: Line = {
      button: make("button", { type: "button", class: "row" }),
      mark: make("i"),
      title: make("strong"),
      side: make("span"),
      note: make("small"),
    };
    line.button.append(line.mark, line.title, line.side, line.note);
    line.button.addEventListener("click", () => this.options.onPick(key));
    mark(line, key === this.picked);
    make("li", {}, line.button);
    this.lines.set(key, line);
    return line;
  }
}

function write(line: Line, row: Row): void {
  if (line.mark.dataset["color"] !== row.color) {
    line.mark.dataset["color"] = row.color;
    line.mark.style.background = row.color;
  }
  say(line.title, row.title);
  say(line.side, row.side);
  say(line.note, row.note);
}

function mark(line: Line, isPicked: boolean): void {
  line.button.setAttribute("aria-pressed", String(isPicked));
}
