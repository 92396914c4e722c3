/** List with filters and a text search; rows keep their elements as they change. */

import { createElement, setText } from "./dom";

export interface Row {
  key: string;
  color: string;
  title: string;
  aside: string;
  note: string;
  /** Text that the search looks in. */
  searchText: string;
}

export interface Filter<T> {
  name: string;
  matches(item: T): boolean;
}

interface Options<T> {
  root: HTMLElement;
  filters: Filter<T>[];
  placeholder: string;
  row(item: T): Row;
  onSelect(key: string): void;
}

interface RowElements {
  button: HTMLButtonElement;
  mark: HTMLElement;
  title: HTMLElement;
  aside: HTMLElement;
  note: HTMLElement;
}

/** Rows shown at most; filters and the search find the others. */
const ROWS_MAX = 120;
const LIST_NOTE = "Everything in and around the visible part of the map.";

export class FilterList<T> {
  private readonly rowElements = new Map<string, RowElements>();
  private readonly chips: HTMLButtonElement[] = [];
  private readonly list = createElement("ul");
  private readonly footer = createElement("p", { class: "list-footer" });
  private readonly search: HTMLInputElement;
  private items: T[] = [];
  private filterIndex = 0;
  private selectedKey: string | null = null;

  constructor(private readonly options: Options<T>) {
    const chips = createElement("div", { class: "chips", role: "group", "aria-label": "Filter" });
    options.filters.forEach((filter, index) => {
      const chip = createElement("button", { type: "button", "data-filter": filter.name }, filter.name, createElement("b"));
      chip.addEventListener("click", () => this.selectFilter(index));
      this.chips.push(chip);
      chips.append(chip);
    });
    const attributes = { type: "search", placeholder: options.placeholder };
    this.search = createElement("input", { ...attributes, "aria-label": options.placeholder });
    this.search.addEventListener("input", () => this.render());
    options.root.append(chips, this.search, this.list, this.footer);
    this.selectFilter(0);
  }

  show(items: T[]): void {
    this.items = items;
    this.render();
  }

  /** Mark the selected row. */
  select(key: string | null): void {
    this.selectedKey = key;
    for (const [name, line] of this.rowElements) setSelected(line, name === key);
  }

  private selectFilter(index: number): void {
    this.filterIndex = index;
    this.chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(i === index)));
    this.render();
  }

  private render(): void {
    // A hidden list is not rendered; opening its tab renders it.
    if (this.options.root.hidden) return;
    this.options.filters.forEach((filter, i) => {
      const count = this.items.reduce((sum, item) => sum + Number(filter.matches(item)), 0);
      setText(this.chips[i]!.lastElementChild!, String(count));
    });
    const query = this.search.value.trim().toLowerCase();
    const filter = this.options.filters[this.filterIndex]!;
    const rows: Row[] = [];
    let hiddenCount = 0;
    for (const item of this.items) {
      if (!filter.matches(item)) continue;
      const row = this.options.row(item);
      if (query && !row.searchText.toLowerCase().includes(query)) continue;
      if (rows.length < ROWS_MAX) rows.push(row);
      else hiddenCount++;
    }
    this.renderRows(rows);
    setText(this.footer, this.footerText(rows.length, hiddenCount));
  }

  private footerText(shown: number, hiddenCount: number): string {
    if (shown === 0) return "Nothing here at the moment.";
    return hiddenCount > 0 ? `${hiddenCount} more; use a filter or the search.` : LIST_NOTE;
  }

  private renderRows(rows: Row[]): void {
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, line] of this.rowElements) {
      if (keys.has(key)) continue;
      line.button.parentElement?.remove();
      this.rowElements.delete(key);
    }
    let before: Element | null = this.list.firstElementChild;
    for (const row of rows) {
      const line = this.rowElements.get(row.key) ?? this.createRow(row.key);
      updateRow(line, row);
      const item = line.button.parentElement!;
      if (item === before) before = item.nextElementSibling;
      else this.list.insertBefore(item, before);
    }
  }

  private createRow(key: string): RowElements {
    const line: RowElements = {
      button: createElement("button", { type: "button", class: "row" }),
      mark: createElement("i"),
      title: createElement("strong"),
      aside: createElement("span"),
      note: createElement("small"),
    };
    line.button.append(line.mark, line.title, line.aside, line.note);
    line.button.addEventListener("click", () => this.options.onSelect(key));
    setSelected(line, key === this.selectedKey);
    createElement("li", {}, line.button);
    this.rowElements.set(key, line);
    return line;
  }
}

function updateRow(line: RowElements, row: Row): void {
  if (line.mark.dataset["color"] !== row.color) {
    line.mark.dataset["color"] = row.color;
    line.mark.style.background = row.color;
  }
  setText(line.title, row.title);
  setText(line.aside, row.aside);
  setText(line.note, row.note);
}

function setSelected(line: RowElements, isSelected: boolean): void {
  line.button.setAttribute("aria-pressed", String(isSelected));
}
