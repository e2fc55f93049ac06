// The page's small parts, made of text alone.

export const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export function make(tag, kind, text) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, name, act) {
  const element = make("button", "", text);
  element.type = "button";
  element.setAttribute("aria-label", name);
  element.addEventListener("click", act);
  return element;
}

export function named(item) {
  const name = make("span", "name", item.title || item.id);
  if (item.title && item.title !== item.id) name.append(" ", make("small", "id", item.id));
  return name;
}

export function bar(share) {
  const element = make("span", share < 0 ? "bar less" : "bar");
  element.setAttribute("aria-hidden", "true");
  element.style.setProperty("--share", Math.min(1, Math.abs(share) || 0));
  return element;
}

export function fact(name, value, note) {
  const told = make("dd", "", value);
  if (note) told.append(" ", make("small", "", note));
  return [make("dt", "", name), told];
}

export function sized(bytes) {
  const power = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${numbers.format(bytes / 1000 ** power)} ${["bytes", "kB", "MB", "GB"][power]}`;
}
