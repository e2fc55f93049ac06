// A history, what is recommended after it and why, and what other models would answer. What comes from the server is
// only ever text: no markup is made of it.

import { bar, button, count, fact, make, named, numbers, sentence, sized } from "./elements.js";

const HEARD = 120; // milliseconds without a key before a search
const at = (id) => document.getElementById(id);

let key = null; // in memory alone
let most = 10; // that may be asked for
let history = []; // {id, title}, the latest last
let turn = 0; // of the question whose answer is waited for

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function ask(path, body, signal) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const how = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let response;
  let answer = {};
  try {
    response = await fetch(path, { headers, signal, ...how });
    answer = await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    if (!response) throw new Refused(0, "the server cannot be reached");
  }
  if (response.ok) return answer;
  if (response.status === 401) askForKey();
  throw new Refused(response.status, answer.error ?? `the server answered with status ${response.status}`);
}

function fail(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Refused)) throw error;
  at("error").textContent = sentence(error.message);
  at("error").hidden = false;
}

// -- the search field: a combobox whose list is what the server finds

const search = at("search");
const options = at("options");
let suggested = { text: null, items: [] };
let active = -1;
let looking = null;
let pause = 0;

async function look() {
  clearTimeout(pause);
  looking?.abort();
  looking = new AbortController();
  const text = search.value.trim();
  const query = new URLSearchParams({ q: text, k: Math.min(8, most) });
  const { items } = await ask(`v1/items?${query}`, null, looking.signal);
  suggested = { text, items };
  active = -1;
  at("looked").textContent = items.length ? "" : "No title or id has this in it.";
  options.replaceChildren(...items.map(option));
  unfold(items.length > 0 && document.activeElement === search);
}

function option(item, number) {
  const element = make("li");
  element.id = `option${number}`;
  element.setAttribute("role", "option");
  element.setAttribute("aria-selected", "false");
  element.append(named(item));
  element.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
  element.addEventListener("click", () => add(item));
  return element;
}

function unfold(open) {
  options.hidden = !open;
  search.setAttribute("aria-expanded", String(open));
  if (!open) activate(-1);
}

function activate(number) {
  active = number;
  [...options.children].forEach((each, place) => each.setAttribute("aria-selected", String(place === number)));
  if (number < 0) return search.removeAttribute("aria-activedescendant");
  search.setAttribute("aria-activedescendant", options.children[number].id);
  options.children[number].scrollIntoView({ block: "nearest" });
}

async function move(step) {
  if (options.hidden || suggested.text !== search.value.trim()) await look();
  const size = suggested.items.length;
  if (size) activate(active < 0 ? (step > 0 ? 0 : size - 1) : (active + step + size) % size);
}

async function choose() {
  if (!search.value.trim() && active < 0) return;
  if (suggested.text !== search.value.trim()) await look();
  const item = suggested.items[Math.max(active, 0)];
  if (item) add(item);
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  Enter: () => choose(),
  Escape: async () => unfold(false),
};

search.addEventListener("keydown", (event) => {
  if (event.isComposing || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]().catch(fail);
});
search.addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => look().catch(fail), HEARD);
});
search.addEventListener("click", () => look().catch(fail));
search.addEventListener("blur", () => {
  clearTimeout(pause);
  unfold(false);
});

// -- the history

function add(item) {
  history = [...history.filter((one) => one.id !== item.id), item];
  search.value = "";
  suggested = { text: null, items: [] };
  unfold(false);
  changed();
}

function remove(number) {
  history = history.filter((_, place) => place !== number);
  changed();
  const left = at("picked").querySelectorAll("button");
  (left[Math.min(number, left.length - 1)] ?? search).focus();
}

function changed() {
  const rows = history.map((item, number) => {
    const row = make("li");
    row.append(named(item), button("Remove", `Remove ${item.title || item.id}`, () => remove(number)));
    return row;
  });
  at("picked").replaceChildren(...rows);
  at("clear").hidden = !history.length;
  refresh();
}

at("clear").addEventListener("click", () => {
  history = [];
  changed();
  search.focus();
});

// -- what is recommended after it, and why

const asked = () => history.map((item) => item.id);

async function refresh() {
  const mine = ++turn;
  const busy = (is) => ["found", "compare"].forEach((id) => at(id).setAttribute("aria-busy", String(is)));
  busy(true);
  try {
    const answer = await ask("v1/recommend", { history: asked(), k: Math.min(10, most) });
    if (mine !== turn) return;
    at("error").hidden = true;
    recommended(answer);
    const models = history.length ? (await ask("v1/compare", { history: asked() })).models : [];
    if (mine === turn) compared(models);
  } catch (error) {
    if (mine === turn) fail(error);
  } finally {
    if (mine === turn) busy(false);
  }
}

function recommended({ items, by, unknown, version }) {
  const known = by === "history";
  const gone = unknown.length ? ` Not in the catalogue: ${unknown.join(", ")}.` : "";
  at("said").textContent = known
    ? `${count(items.length, "recommendation")} after ${count(history.length, "item")}, with the cosine of each.${gone}`
    : `No ${history.length ? "known item in the history" : "history yet"}: the most popular items, with their share of all interactions.${gone}`;
  at("version").textContent = `Version ${version}`;
  const best = Math.max(...items.map((item) => item.score), 0);
  at("items").replaceChildren(...items.map((item, number) => row(item, number, known, item.score / best)));
}

function row(item, number, known, share) {
  const element = make("li");
  const score = make("span", "score");
  score.append(bar(share), make("span", "", known ? item.score.toFixed(3) : `${(100 * item.score).toFixed(2)} %`));
  const acts = make("span", "acts");
  const place = make("div", "why");
  place.id = `why${number}`;
  place.hidden = true;
  const title = item.title || item.id;
  if (known) acts.append(explained(item, place, title));
  const taken = () => {
    add({ id: item.id, title: item.title });
    at("found").focus(); // this button goes with its row
  };
  acts.append(button("Add", `Add ${title} to the history`, taken));
  element.append(named(item), score, acts, place);
  return element;
}

function explained(item, place, title) {
  const history = asked();
  const element = button("Why?", `Why ${title}?`, () => {
    if (element.getAttribute("aria-disabled")) return;
    place.hidden = !place.hidden;
    element.setAttribute("aria-expanded", String(!place.hidden));
    if (place.hidden || place.childElementCount) return;
    ask("v1/explain", { history, item: item.id }).then(
      (answer) => place.replaceChildren(...reasons(answer)),
      (error) => {
        if (error.status !== 404) return fail(error);
        element.textContent = "Cannot say why";
        element.removeAttribute("aria-label");
        element.setAttribute("aria-disabled", "true");
        place.replaceChildren(make("p", "hint", sentence(error.message)));
      },
    );
  });
  element.setAttribute("aria-expanded", "false");
  element.setAttribute("aria-controls", place.id);
  return element;
}

function reasons({ items, always, score }) {
  const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(3)}`;
  const largest = Math.max(...items.map((item) => Math.abs(item.score)), Math.abs(always));
  const line = (name, number) => {
    const part = make("li");
    part.append(name, bar(number / largest), make("span", "given", signed(number)));
    return part;
  };
  const list = make("ul");
  list.append(...items.map((item) => line(make("span", "name", item.title || item.id), item.score)));
  list.append(line(make("span", "name quiet", "whatever the history"), always));
  return [make("p", "hint", `What each item gave to the cosine, ${score.toFixed(3)} in all:`), list];
}

// -- what each model answers

const ABOUT = { teacher: "large, run offline", student: "distilled, float32" };

function compared(models) {
  const columns = models.length > 1 ? models : [];
  at("models").replaceChildren(...columns.map((model, number) => column(model, models[0], number === models.length - 1)));
  at("compared").textContent = columns.length
    ? "Each model’s first items; ✓ where the teacher has them too. The time is that of this very question."
    : history.length
      ? "Nothing to compare with: rexjax export WORKDIR FOLDER --compare takes the teacher and the student along."
      : "Put something into the history, and each model answers it.";
}

function column(model, teacher, served) {
  const element = make("article");
  const name = model.name.replace(/^(.)/, (first) => first.toUpperCase()).replaceAll("_", ", ");
  const theirs = new Set(teacher.items.map((item) => item.id));
  const list = make("ol");
  list.append(...model.items.map((item) => answered(item, model !== teacher && theirs.has(item.id))));
  const same = model.items.filter((item) => theirs.has(item.id)).length;
  const cost = make("dl");
  const less = (mine, its) => (model === teacher ? "" : `${numbers.format(mine / its)} × the teacher’s`);
  cost.append(...fact("latency", `${model.ms.toFixed(2)} ms`, less(model.ms, teacher.ms)));
  cost.append(...fact("bytes", sized(model.bytes), less(model.bytes, teacher.bytes)));
  if (model !== teacher) cost.append(...fact("same items", `${same} of ${model.items.length}`, ""));
  const what = served ? "compressed, what answers here" : ABOUT[model.name];
  element.append(make("h3", "", name), make("p", "hint", what), list, cost);
  return element;
}

function answered(item, same) {
  const element = make("li", same ? "same" : "");
  element.append(make("span", "name", item.title || item.id));
  if (same) element.append(make("span", "hidden", " (the teacher’s too)"));
  return element;
}

// -- the key, and the first question

function askForKey() {
  at("keyform").hidden = false;
  at("key").focus();
}

at("keyform").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value;
  at("key").value = "";
  at("keyform").hidden = true;
  search.focus();
  changed();
});

ask("openapi.json")
  .then((found) => (most = found.components.schemas.Recommend.properties.k.maximum))
  .catch(fail)
  .then(changed);
