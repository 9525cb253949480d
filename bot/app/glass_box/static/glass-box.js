// Draws the data of the glass box. All texts are inserted as text, never as HTML.

const byId = (id) => document.getElementById(id);
const percent = (chance) => `${Math.round(100 * chance)}\u202f%`;
const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let data = null;
let selected = null; // index of the viewer; null: the member who asked last

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Keep one child per item, so that a bar that changes moves instead of being drawn anew.
function keep(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, i) => {
    const key = String(keyOf(item, i));
    let child = known.get(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    known.delete(key);
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
    update(child, item, i);
  });
  for (const child of known.values()) child.remove();
}

function part(parent, name) {
  return parent.querySelector(`[data-part="${name}"]`);
}

function named(tag, name, className = "") {
  const element = make(tag, className);
  element.dataset.part = name;
  return element;
}

// --- who is looked at ---------------------------------------------------------------------------------

function current() {
  if (selected !== null && selected < data.viewers.length) return selected;
  const asker = data.replies.length ? data.replies[0].viewer : 0;
  return asker ?? 0;
}

function drawViewers() {
  const shown = current();
  keep(byId("choices"), data.viewers, (_, i) => i, () => {
    const label = make("label");
    const input = make("input");
    input.type = "radio";
    input.name = "viewer";
    input.addEventListener("change", () => {
      selected = Number(label.dataset.key);
      draw();
    });
    label.append(input, named("span", "name"));
    return label;
  }, (label, viewer, i) => {
    label.querySelector("input").checked = i === shown;
    write(part(label, "name"), viewer.name);
  });
  const viewer = data.viewers[shown];
  write(byId("about-viewer"), aboutViewer(viewer));
  write(byId("taste-title"), `Taste of ${viewer.name}`);
}

function aboutViewer(viewer) {
  if (viewer.consent !== "agreed") return `${viewer.name} has not agreed to learning: ranked by the average taste.`;
  if (!viewer.learnt) return `Nothing is learnt of ${viewer.name} yet: ranked by the average taste.`;
  if (viewer.contradicts) return `The labels of ${viewer.name} contradict each other: ranked by the average taste.`;
  const labels = viewer.labels === 1 ? "1 label" : `${viewer.labels} labels`;
  return `Ranked by ${viewer.name}'s own head, learnt from ${labels}.`;
}

// --- taste --------------------------------------------------------------------------------------------

function drawBars() {
  const viewer = data.viewers[current()];
  byId("taste").classList.toggle("blank", !viewer.learnt);
  keep(byId("bars"), viewer.bars, (bar) => bar.key, () => {
    const row = make("li");
    const track = named("span", "track", "track");
    track.setAttribute("aria-hidden", "true");
    track.append(named("span", "before", "before"), named("span", "bar", "bar"));
    row.append(named("span", "less", "less"), named("span", "more", "more"), track, named("span", "said", "unseen"));
    return row;
  }, (row, bar) => {
    const less = part(row, "less");
    const more = part(row, "more");
    write(less, bar.less);
    write(more, bar.more);
    less.classList.toggle("strong", bar.at <= -0.05);
    more.classList.toggle("strong", bar.at >= 0.05);
    const fill = part(row, "bar");
    fill.style.setProperty("--from", Math.min(0, bar.at));
    fill.style.setProperty("--length", Math.abs(bar.at));
    fill.classList.toggle("toward-less", bar.at < 0);
    fill.dataset.at = bar.at;
    part(row, "before").style.setProperty("--from", bar.before);
    part(row, "before").hidden = !viewer.learnt || bar.before === bar.at;
    write(part(row, "said"), saidOf(bar));
  });
}

function saidOf(bar) {
  const strength = Math.round(100 * Math.abs(bar.at));
  if (strength < 1) return "no difference";
  return `leans toward ${bar.at < 0 ? bar.less : bar.more}, strength ${strength} of 100`;
}

// --- replies ------------------------------------------------------------------------------------------

function drawReplies() {
  byId("no-replies").hidden = data.replies.length > 0;
  keep(byId("replies"), data.replies, (reply) => reply.number, () => {
    const article = make("article");
    article.append(named("h3", "asked"), named("p", "given", "given"), named("ul", "candidates", "candidates"));
    return article;
  }, (article, reply) => {
    write(part(article, "asked"), `${reply.asker}: “${reply.asked}”`);
    write(part(article, "given"), givenOf(reply));
    const shown = current();
    const chances = reply.now[shown].chances;
    const best = chances.indexOf(Math.max(...chances));
    keep(part(article, "candidates"), reply.candidates, (_, i) => i, createCandidate, (item, candidate, i) => {
      drawCandidate(item, candidate, {
        chance: chances[i],
        score: reply.now[shown].scores[i],
        best: i === best,
        own: reply.viewer === shown,
        name: data.viewers[shown].name,
      });
    });
  });
}

function givenOf(reply) {
  const at = clock(reply.at) + (reply.again ? " · another answer" : "");
  if (!reply.feedback.length) return `${at} · no reaction yet`;
  const label = reply.label === null ? "teaches nothing" : `label ${reply.label.toFixed(2)}`;
  return `${at} · ${reply.asker} gave ${reply.feedback.join(", ")} · ${label}`;
}

function createCandidate() {
  const item = make("li", "candidate");
  const head = make("p", "head");
  head.append(named("strong", "style"), named("span", "posted", "badge posted"), named("span", "best", "badge best"));
  const text = named("p", "text", "text");
  text.dir = "auto";
  const track = make("span", "track chance");
  track.setAttribute("aria-hidden", "true");
  track.append(named("span", "before", "before"), named("span", "bar", "bar"));
  item.append(head, text, named("p", "chance", "figures"), track, named("p", "facts", "facts"));
  return item;
}

function drawCandidate(item, candidate, now) {
  item.classList.toggle("is-posted", candidate.posted);
  write(part(item, "style"), candidate.style);
  const text = part(item, "text");
  if (text.textContent !== candidate.text) {
    text.textContent = candidate.text;
    requestAnimationFrame(() => { // what must be scrolled can be reached with the keyboard
      if (text.scrollHeight > text.clientHeight) text.tabIndex = 0;
      else text.removeAttribute("tabindex");
    });
  }
  write(part(item, "posted"), candidate.posted ? "✓ posted" : "");
  write(part(item, "best"), now.best ? `${now.name}'s most likely` : "");
  const moved = now.own && Math.round(100 * candidate.chance) !== Math.round(100 * now.chance);
  const chance = moved
    ? `chance ${percent(candidate.chance)} → ${percent(now.chance)}`
    : `chance ${percent(now.chance)}`;
  const figure = part(item, "chance");
  write(figure, chance);
  figure.dataset.trend = !moved ? "" : now.chance > candidate.chance ? "up" : "down";
  const bar = part(item, "bar");
  bar.style.setProperty("--length", now.chance);
  const before = part(item, "before");
  before.style.setProperty("--from", candidate.chance);
  before.hidden = !moved;
  write(part(item, "facts"), `score ${now.score.toFixed(2)} · length ${candidate.length}`);
}

// --- news ---------------------------------------------------------------------------------------------

function drawNotes() {
  const latest = data.notes.find((note) => note.kind === "taste") ?? data.notes[0];
  byId("steps").hidden = data.notes.some((note) => note.kind === "taste");
  write(byId("latest"), latest ? latest.text : "Nothing yet. Four steps make something change:");
  keep(byId("notes"), data.notes, (note) => note.key, (note) => {
    const item = make("li");
    item.dataset.kind = note.kind;
    const time = make("time", "", clock(note.at));
    time.dateTime = note.at;
    item.append(time, make("span", "", note.text));
    return item;
  }, () => {});
}

function draw() {
  drawViewers();
  drawBars();
  drawReplies();
  drawNotes();
}

function connected(state, text) {
  const shown = byId("connection");
  shown.dataset.state = state;
  write(shown, text);
}

const stream = new EventSource("events");
stream.onopen = () => connected("live", "live");
stream.onerror = () => connected("lost", "The playground does not answer. Is it still running?");
stream.onmessage = (event) => {
  data = JSON.parse(event.data);
  draw();
};
