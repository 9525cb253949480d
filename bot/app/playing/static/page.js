// The playground's additions to simcord's page. It reads window.simcordPreview and the elements of the page;
// it changes nothing inside of simcord's scripts.

const SENT_AGAIN_MS = 15_000; // a click or message that the page cannot take yet is tried again for so long
const LIVE_MS = 600;
const NEAR_PX = 40;
const BY_HAND_MS = 2000; // scrolling that comes so soon after the wheel, a finger or a key is the reader's

const open = new Set(); // ids of messages whose menu is open
const $ = (selector, root = document) => root.querySelector(selector);
const composer = () => $("#channel-composer-input");
const timeline = $("#channel-timeline");

let passing = false; // what this script itself clicks or sends goes through

/** Whether the page ignores clicks because an earlier one is still running. */
function blocked() {
  const page = window.simcordPreview;
  return !page || page.pendingAction !== null || page.transport.uncertainRequestId !== null
    || (page.awaitingRevision !== null && page.awaitingRevision > page.publishedRevision);
}

// --- clicks: the page drops a click while another one runs; it is kept and made afterwards ---------------------
let taken = { key: null, request: null }; // last click that the page took
const clicks = []; // {key, until}

const CONTROLS = ":is(#channel-message-list, #modal-root) :is(button, [role=option]):not(.playground-apps *)";

/** Name of a control that outlives a redrawing of the page: whose it is, and what it says. */
function nameOf(control) {
  const owner = control.closest("[data-control-key], [data-message-id]");
  return JSON.stringify([owner?.dataset.controlKey ?? owner?.dataset.messageId ?? "", control.getAttribute("role"),
    control.matches(".reaction-chip") ? "" : control.textContent]); // the number on a reaction changes
}
function keyOf(event) {
  const control = event.target instanceof Element ? event.target.closest(CONTROLS) : null;
  return control && nameOf(control);
}

document.addEventListener("click", (event) => {
  const key = keyOf(event);
  if (key === null || (!blocked() && (passing || !clicks.length))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const running = window.simcordPreview?.pendingAction?.requestId;
  const before = clicks.at(-1)?.key ?? (running && running === taken.request ? taken.key : null);
  if (key !== before) clicks.push({ key, until: Date.now() + SENT_AGAIN_MS }); // else: an impatient second click
}, true);

window.addEventListener("click", (event) => { // after the page's own listeners
  const key = keyOf(event);
  if (key !== null) taken = { key, request: window.simcordPreview.pendingAction?.requestId ?? null };
});

function clickAgain({ key, until }) {
  passing = true;
  if (until > Date.now()) [...document.querySelectorAll(CONTROLS)].find((control) => nameOf(control) === key)?.click();
  passing = false;
}

// --- messages: each Enter sends what was written by then, also while the page is busy --------------------------
const outbox = []; // {text, until}
let sending = null; // {text, request}

function write(text) {
  composer().value = text;
  composer().dispatchEvent(new Event("input", { bubbles: true }));
}
const isPlain = () => composer() instanceof HTMLTextAreaElement && composer().dataset.commandMode !== "true"
  && !composer().dataset.controlKey?.startsWith("edit:");
document.addEventListener("submit", (event) => {
  if (event.target.id !== "channel-composer" || passing) return;
  following = true;
  if (!isPlain()) {
    if (!blocked()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    outbox.push({ text: null, until: Date.now() + SENT_AGAIN_MS });
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  const text = composer().value;
  if (!text.trim()) return;
  outbox.push({ text, until: Date.now() + SENT_AGAIN_MS });
  write("");
  setTimeout(step); // a form cannot be submitted from inside of its own submit event
}, true);

function send({ text }) {
  const later = text === null ? null : composer().value;
  passing = true;
  if (text !== null) write(text);
  $("#channel-composer").requestSubmit();
  passing = false;
  if (text === null) return;
  write(later);
  const request = window.simcordPreview.pendingAction?.requestId ?? null;
  if (request === null) giveBack(text); // the page took it for something else
  else sending = { text, request };
}

/** Put words that were not sent back into the field. */
const giveBack = (text) => write([text, composer().value].filter(Boolean).join("\n"));

function finishSending() {
  const receipt = window.simcordPreview.lastAction;
  if (receipt?.requestId === sending.request && (receipt.rejected || receipt.settlement !== "settled")) {
    giveBack(sending.text);
  } else if (!$("#reply-context").hidden && isPlain()) {
    $("#reply-cancel").click();
  }
  sending = null;
}

function step() {
  if (!clicks.length && !sending && !outbox.length) return;
  if (blocked()) return;
  if (sending) finishSending();
  if (clicks.length) clickAgain(clicks.shift());
  else if (outbox.length) {
    const next = outbox.shift();
    if (next.until > Date.now()) send(next);
    else if (next.text !== null) giveBack(next.text);
  }
}
setInterval(step, 60);

// Enter runs a command that needs nothing more, as in Discord. simcord's focus is on an option that may be left out.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || !event.target.closest?.("#channel-composer")) return;
  const { state, draft } = window.simcordPreview.commandPicker;
  if (state !== "composing" || !draft?.submittable || draft.focusedOption !== null) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  $("#channel-composer").requestSubmit();
}, true);

// --- the newest message stays in sight until the reader scrolls up --------------------------------------------
let following = true;
let byHand = 0;
const atEnd = () => timeline.scrollHeight - timeline.scrollTop - timeline.clientHeight <= NEAR_PX;
for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) {
  timeline.addEventListener(kind, (event) => {
    if (kind === "pointerdown" && event.target !== timeline) return; // a button; the scroll bar is the timeline's
    byHand = Date.now();
    if (event.deltaY < 0 && timeline.scrollTop > 0) following = false;
  }, { passive: true });
}
timeline.addEventListener("scroll", () => {
  if (atEnd()) following = true;
  else if (Date.now() - byHand < BY_HAND_MS) following = false;
}, { passive: true });
$("#history-older").addEventListener("click", () => { following = false; });
for (const id of ["#history-newer", "#new-messages"]) $(id).addEventListener("click", () => { following = true; });
$("#viewer-picker").addEventListener("change", () => { following = true; open.clear(); });

// Links to a message lead to it on this page; simcord's lead to discord.com, which does not know it.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest('a[href^="https://discord.com/channels/"]') : null;
  if (!link) return;
  event.preventDefault();
  following = false;
  $(`[data-message-id="${CSS.escape(link.href.split("/").at(-1))}"]`)?.scrollIntoView({ block: "center" });
}, true);

// A reload keeps the viewer, in this tab.
const viewers = $("#viewer-picker");
viewers.addEventListener("change", () => sessionStorage.setItem("viewer", viewers.value));
let returning = sessionStorage.getItem("viewer");
function comeBack() {
  if (!returning || !viewers.options.length || blocked()) return;
  const there = [...viewers.options].some((option) => option.value === returning);
  if (there && viewers.value !== returning) {
    viewers.value = returning;
    viewers.dispatchEvent(new Event("change"));
  }
  returning = null;
}

function follow() {
  comeBack();
  if (!following || $("#channel-layout").hidden) return;
  if (!$("#history-newer").hidden) { // simcord shows an older part, for example after a reload
    if (!blocked()) $("#new-messages").click();
  } else if (timeline.scrollHeight - timeline.scrollTop - timeline.clientHeight > 1) {
    timeline.scrollTop = timeline.scrollHeight;
  }
}
new ResizeObserver(follow).observe($("#channel-message-list"));
new ResizeObserver(follow).observe(timeline);
setInterval(follow, 300);

// --- menus of messages, "is writing", who may do what ----------------------------------------------------------
let live = { writing: false, menus: [], roles: {} };
const headers = { "X-Simcord-Capability": location.hash.slice(1), "Content-Type": "application/json" };

async function useMenu(button, message, show) {
  const said = $("output", button.closest(".playground-apps"));
  button.disabled = true;
  said.textContent = "…";
  try {
    const answer = await fetch("/playground/menu", { method: "POST", headers, body: JSON.stringify(
      { menu: button.textContent, message_id: message, viewer_id: window.simcordPreview.viewerId }) });
    said.textContent = answer.ok ? "" : (await answer.json()).refused;
    if (answer.ok) {
      following = true;
      show(false);
    }
  } catch { said.textContent = "The playground does not answer."; }
  button.disabled = false;
}

function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

function addMenu(article) {
  const message = article.dataset.messageId;
  const box = element("div", "", { className: "playground-apps" });
  const toggle = element("button", "Apps ▾", { type: "button", title: "The menu of this message" });
  const list = element("div", "");
  const show = (shown) => {
    list.hidden = !shown;
    toggle.setAttribute("aria-expanded", String(shown));
    if (shown) open.add(message); else open.delete(message);
  };
  toggle.addEventListener("click", () => show(list.hidden));
  for (const menu of live.menus) {
    const button = element("button", menu, { type: "button" });
    button.addEventListener("click", () => useMenu(button, message, show));
    list.append(button);
  }
  show(open.has(message));
  box.append(toggle, list, element("output", ""));
  article.append(box);
}

/** Give each reply of the bot its menu. Only a reply names the message that it answers. */
function decorate() {
  if (live.menus.length) {
    for (const article of document.querySelectorAll("#channel-message-list > article")) {
      const isReply = $(".message-app-badge", article) && $(".message-reply", article);
      if (isReply && !$(".message-ephemeral-note", article) && !$(".playground-apps", article)) addMenu(article);
    }
  }
  for (const option of $("#viewer-picker").options) {
    const role = live.roles[option.value];
    if (role && !option.textContent.endsWith(role)) option.textContent += ` · ${role}`;
  }
}
new MutationObserver(decorate).observe($("#channel-message-list"), { childList: true, subtree: true });
new MutationObserver(decorate).observe($("#viewer-picker"), { childList: true });

// simcord reports every step; only what went wrong is news here.
const status = $("#action-status");
const hush = () => status.toggleAttribute("data-quiet", !/not completed|uncertain|interrupted|closed|ended|unavail/i.test(status.textContent));
new MutationObserver(hush).observe(status, { childList: true, characterData: true, subtree: true });
hush();
$("#close").textContent = "Stop the playground";

const writing = element("div", "", { id: "playground-writing", role: "status" });
$("#channel-composer").before(writing);
const note = element("div", "", { id: "playground-note", role: "alert", hidden: true });
$("#preview-workspace").before(note);
let failures = 0;

async function look() {
  try {
    const answer = await fetch("/playground/live", { headers, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    live = await answer.json();
    failures = 0;
  } catch { failures += 1; }
  note.hidden = failures < 4;
  if (!note.hidden) $(".session-menu").open = false;
  note.textContent = note.hidden ? "" : "The playground has stopped. Start it again and open the new address.";
  writing.toggleAttribute("data-on", live.writing && !failures);
  writing.textContent = live.writing && !failures ? "Simpatico is writing …" : "";
  decorate();
  setTimeout(look, LIVE_MS);
}
look();
