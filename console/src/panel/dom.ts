/** Finding and making elements. */

/** The element of the page with this id; that it is there is index.html's promise. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

type Attributes = Record<string, string>;

export function createElement<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Write only what differs: most of a list stays as it is from second to second. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
