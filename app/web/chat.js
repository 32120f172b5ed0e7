// The chat page: one customer, their threads, one running turn at a time.

import { byId, clock, el, failure, Failed, freshKey, repeat, request } from "./web.js";

const TRIES = JSON.parse(byId("tries").dataset.tries);
const DEMO = "demo" in byId("log").dataset;
/** What became of an operation, in words for customers. */
const STATUSES = { executed: "done", pending: "a colleague looks at it first", blocked: "not done", failed: "did not work", rejected: "not approved", expired: "not decided in time", unknown: "being checked" };
const LANES = {
  direct: "answered directly",
  operation: "account operation",
  answer: "knowledge answer",
  agent: "several steps",
  escalate: "escalation",
};
const TIERS = { rule: "rules", encoder: "small encoder", small: "small model", large: "large model", human: "a person" };

/** Who says what, also for those who do not see the colour and the side. */
const SENDERS = { customer: "You", agent: "The assistant", operator: "A colleague" };

/** What went wrong, in words for customers; the API's are for programmers. */
function inWords(error) {
  if (error instanceof Failed && error.status === 401) return "Your session has ended. Please log in again.";
  if (error instanceof Failed && error.status === 409) return "Your message is still being worked on. Its answer will appear here; please try again in a moment.";
  if (error instanceof Failed && error.status === 413) return "That message is too long. Please shorten it.";
  if (error instanceof Failed && error.status === 422) return "That message could not be sent. Please write it anew.";
  if (error instanceof Failed && [403, 404].includes(error.status)) return "This conversation is not there any more. Please begin a new one.";
  if (error instanceof Failed && error.status === 429) return "That was a little fast. Please wait a moment and try again.";
  if (error instanceof Failed && error.status >= 400) return "Something on our side is not working right now. Your message is not lost: please try again in a moment.";
  return error.message;
}

const log = byId("log");
const scroller = byId("scroller");
const text = byId("text");
const send = byId("send");

let thread = null; // null: the next message opens one
let busy = false;
let handedOff = false;
let seen = new Map(); // message id -> element
let cards = new Map(); // approval id -> element
let unsettled = []; // bubbles of a finished turn whose message ids are not known yet

// --- logging in -----------------------------------------------------------------------------

async function showDoor(notice = "", { moved = true } = {}) {
  byId("app").hidden = true;
  byId("door").hidden = false;
  byId("door-notice").textContent = notice;
  byId("door-notice").hidden = !notice;
  try {
    const people = await request("GET", "/v1/login/customers");
    byId("people").replaceChildren(...people.map(personButton));
  } catch (error) {
    byId("door-notice").textContent = inWords(error);
    byId("door-notice").hidden = false;
  }
  // Whoever was in the conversation a moment ago is told where they are now.
  if (moved) byId("door-title").focus();
}

function personButton(person) {
  const initials = person.name.split(/\s+/).map((part) => part[0]).slice(0, 2).join("");
  return el(
    "button",
    { class: "person", type: "button", onclick: () => logIn(person.id) },
    el("span", { class: "face", "aria-hidden": "true" }, initials),
    el("span", { class: "name" }, person.name),
    person.segment === "business" ? el("span", { class: "chip" }, "business") : null,
  );
}

async function logIn(customer) {
  try {
    const session = await request("POST", "/v1/login", { body: { customer } });
    await showApp(session.customer);
  } catch (error) {
    await showDoor(inWords(error));
  }
}

async function logOut() {
  await request("POST", "/v1/logout");
  for (const kept of ["thread", "draft"]) sessionStorage.removeItem(kept);
  text.value = "";
  thread = null;
  await showDoor();
}

async function showApp(customer) {
  byId("door").hidden = true;
  byId("app").hidden = false;
  byId("me").textContent = customer.name;
  byId("hello").textContent = `Hello ${customer.name.split(" ")[0]}, how can we help?`;
  const threads = await listThreads();
  const kept = sessionStorage.getItem("thread");
  const last = threads.find((each) => each.id === kept);
  await openThread(last ? last.id : null);
}

// --- threads --------------------------------------------------------------------------------

async function listThreads() {
  const { threads } = await request("GET", "/v1/threads");
  byId("no-threads").hidden = threads.length > 0;
  byId("threads").replaceChildren(
    ...threads.map((each) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            class: "thread",
            type: "button",
            "aria-current": each.id === thread ? "true" : undefined,
            onclick: () => openThread(each.id).catch((error) => showDoor(inWords(error))),
          },
          el("span", { class: "title" }, each.title || "New conversation"),
          el("span", { class: "when" }, clock(each.created_at) + (each.handed_off ? " · with a colleague" : "")),
        ),
      ),
    ),
  );
  return threads;
}

async function openThread(id) {
  if (busy) return;
  closeSide();
  thread = id;
  seen = new Map();
  cards = new Map();
  unsettled = [];
  for (const node of [...log.children]) if (node.id !== "welcome") node.remove();
  byId("tries").replaceChildren(
    ...TRIES.map((line) => el("button", { class: "try", type: "button", onclick: () => play(line) }, line)),
  );
  byId("welcome").hidden = id !== null;
  setHandedOff(false);
  if (id === null) {
    sessionStorage.removeItem("thread");
  } else {
    sessionStorage.setItem("thread", id);
    await refresh();
    byId("welcome").hidden = seen.size > 0;
  }
  for (const button of byId("threads").querySelectorAll("button")) button.removeAttribute("aria-current");
  await listThreads();
  toEnd(true);
  text.focus({ preventScroll: true });
}

/** Who has the conversation: a colleague, one who is to come, or one who is there again when they open. */
function setHandedOff(now, { claimed = false, opens_at: opens = null } = {}) {
  handedOff = now;
  const words = claimed ? "A colleague answers you here." : opens ? `Nobody is there right now. A colleague answers you here from ${clock(opens)} on.` : "Your messages are with our colleagues. One of them answers you here.";
  if (byId("handed").textContent !== words) byId("handed").textContent = words;
  byId("handed").hidden = !now;
}

/** Brings the page up to what the server knows: new messages, outcomes, settled approvals. */
async function refresh() {
  const asked = thread;
  if (asked === null) return;
  const state = await request("GET", `/v1/threads/${encodeURIComponent(asked)}`);
  if (asked !== thread) return;
  const low = nearEnd();
  for (const message of state.messages) {
    if (seen.has(message.id)) continue;
    const drawn = unsettled.findIndex((each) => each.role === message.role && each.text === message.text);
    if (drawn >= 0) {
      seen.set(message.id, unsettled[drawn].node);
      offerRating(unsettled[drawn].node, message);
      unsettled.splice(drawn, 1);
      continue;
    }
    const node = drawMessage(message);
    offerRating(node, message);
    // The reply came after all, so there is nothing to try again.
    if (message.role === "agent") for (const notice of log.querySelectorAll(".failed")) notice.parentElement.remove();
    seen.set(message.id, node);
    log.append(node);
  }
  const waiting = new Set(state.pending.map((each) => each.id));
  for (const each of state.pending) drawCard(each);
  for (const [id, card] of cards) {
    if (!waiting.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  setHandedOff(state.handed_off, state);
  if (low) toEnd();
}

// --- drawing --------------------------------------------------------------------------------

function drawMessage(message) {
  const node = el("article", { class: `said ${message.role}`, "aria-label": SENDERS[message.role] });
  node.append(who(message.role));
  const bubble = el("div", { class: "bubble" });
  node.append(bubble);
  if (message.role === "customer") bubble.textContent = message.text;
  else fill(bubble, message.text, message.citations, message.id);
  if (message.citations.length) node.append(sources(message.citations, message.id));
  if (message.role === "agent") node.append(under(message.meta, message.at));
  return node;
}

/** Said in words, so that nobody has to tell it from the colour and the side. */
const who = (role) => el("p", { class: "who", "aria-hidden": "true" }, SENDERS[role]);

/** The agent's text: bold words, list marks and citations become elements, everything else stays text. */
function fill(bubble, words, citations = [], name = "") {
  bubble.replaceChildren();
  const known = new Set(citations.map((each) => String(each.n)));
  for (const piece of words.replace(/^- /gm, "•  ").split(/(\*\*[^*\n]+\*\*|\[\d+\])/)) {
    const number = /^\[(\d+)\]$/.exec(piece)?.[1];
    const bold = /^\*\*(.+)\*\*$/.exec(piece)?.[1];
    if (number && known.has(number)) {
      bubble.append(el("a", { class: "mark", href: `#source-${name}-${number}`, onclick: openSources }, number));
    } else if (bold) {
      bubble.append(el("strong", {}, bold));
    } else if (piece) {
      bubble.append(piece);
    }
  }
}

function openSources(event) {
  const list = event.target.closest(".said")?.querySelector(".sources");
  if (list) list.open = true;
}

function sources(citations, name) {
  return el(
    "details",
    { class: "sources" },
    el("summary", {}, citations.length === 1 ? "1 source" : `${citations.length} sources`),
    el(
      "ol",
      {},
      ...citations.map((each) =>
        el(
          "li",
          { id: `source-${name}-${each.n}` },
          el("span", { class: "mark" }, String(each.n)),
          el("span", {}, String(each.title ?? ""), " ", el("span", { class: "file" }, String(each.source ?? ""))),
        ),
      ),
    ),
  );
}

function under(meta = {}, at = undefined) {
  const chips = el("p", { class: "under" });
  // How it was decided is for those who look at the demo, not for customers.
  if (!DEMO) meta = { degraded: meta.degraded };
  if (meta.lane) {
    const lane = el("span", { class: "chip", title: meta.intent ? `intent: ${meta.intent}` : undefined });
    lane.append(LANES[meta.lane] ?? meta.lane);
    chips.append(lane);
  }
  if (meta.tier) chips.append(el("span", { class: "chip" }, `decided by ${TIERS[meta.tier] ?? meta.tier}`));
  if (typeof meta.llm_calls === "number") {
    const calls = meta.llm_calls === 1 ? "1 LLM call" : `${meta.llm_calls} LLM calls`;
    chips.append(el("span", { class: meta.llm_calls ? "chip" : "chip good" }, calls));
  }
  if (meta.degraded?.length) {
    chips.append(el("span", { class: "chip warn", title: meta.degraded.join("; ") }, "limited service"));
  }
  if (at) chips.append(el("time", { datetime: at }, clock(at)));
  return chips;
}

/** Under an answer: whether it helped, and what was missing where it did not. Said anew, the last word counts. */
function offerRating(node, message) {
  if (!message.turn) return;
  const at = thread;
  const told = el("span", { class: "told", role: "status" });
  const choices = [true, false].map((good) => el("button", { class: "button quiet", type: "button", "aria-pressed": String(message.good === good), onclick: () => say(good) }, good ? "Helpful" : "Not helpful"));
  const why = el("input", { class: "field", type: "text", maxlength: 2000, autocomplete: "off", placeholder: "What was missing? (if you like)", "aria-label": "What was missing?" });
  const more = el("form", { class: "why", hidden: true, onsubmit: (event) => { event.preventDefault(); say(false, why.value.trim()); } }, why, el("button", { class: "button", type: "submit" }, "Tell us"));

  async function say(good, comment = "") {
    for (const button of choices) button.disabled = true;
    try {
      await request("POST", `/v1/threads/${encodeURIComponent(at)}/ratings`, { body: { turn: message.turn, good, comment } });
      choices.forEach((button, number) => button.setAttribute("aria-pressed", String(good === (number === 0))));
      more.hidden = good || Boolean(comment);
      told.textContent = "Thank you.";
    } catch (error) {
      if (error instanceof Failed && error.status === 401) return await showDoor(inWords(error));
      told.textContent = [0, 429].includes(error.status) ? inWords(error) : "That could not be kept. Please try again.";
    } finally {
      for (const button of choices) button.disabled = false;
    }
    if (!more.hidden) why.focus();
    else if (comment) choices[1].focus();
  }

  // The log is read out as it grows; three buttons under each answer would be noise.
  node.append(el("div", { class: "rating", role: "group", "aria-label": "Did this answer help?", "aria-live": "off" }, ...choices, told, more));
}

function drawCard(approval) {
  if (cards.has(approval.id)) return;
  const effects = approval.effects ?? [];
  const label = approval.label || approval.record || approval.title || approval.operation || "Your request";
  const card = el(
    "section",
    { class: "card", "aria-label": "Waiting for approval" },
    el("h2", {}, el("span", { class: "lamp", "aria-hidden": "true" }), "Waiting for a colleague's approval"),
    el("p", {}, label),
    effects.length ? el("ul", {}, ...effects.map((line) => el("li", {}, line))) : null,
    el("p", { class: "fine" }, "Nothing happens until then. You can go on writing; the outcome appears here."),
  );
  cards.set(approval.id, card);
  log.append(card);
}

function nearEnd() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 160;
}

function toEnd(now = false) {
  scroller.scrollTo({ top: scroller.scrollHeight, behavior: now ? "instant" : "auto" });
}

// --- one turn -------------------------------------------------------------------------------

/** Plays a turn. The key stays with the message, so that trying again cannot do it twice. */
async function play(words, key = freshKey(), before = null) {
  if (busy || (!words.trim() && before === null)) return;
  busy = true;
  send.disabled = true;
  byId("welcome").hidden = true;
  let own = before;
  if (own === null) {
    own = el("article", { class: "said customer", "aria-label": SENDERS.customer }, who("customer"), el("div", { class: "bubble" }, words));
    log.append(own);
  }
  const turn = drawTurn();
  toEnd();
  try {
    if (thread === null) {
      thread = (await request("POST", "/v1/threads")).id;
      sessionStorage.setItem("thread", thread);
    }
    const final = await follow(words, key, turn);
    if (final.text) unsettled.push({ role: "agent", text: final.text, node: turn.node });
  } catch (error) {
    turn.node.removeAttribute("aria-busy");
    turn.node.replaceChildren();
    if (error instanceof Failed && error.status === 401) {
      await showDoor(inWords(error));
    } else {
      turn.node.append(
        el(
          "div",
          { class: "notice failed", role: "alert" },
          el("span", {}, inWords(error)),
          el(
            "button",
            {
              class: "button",
              type: "button",
              onclick: () => {
                turn.node.remove();
                play(words, key, own);
              },
            },
            "Try again",
          ),
        ),
      );
    }
  } finally {
    // It may be in the history although the turn failed; then it must not be drawn twice.
    const known = [...seen.values(), ...unsettled.map((each) => each.node)];
    if (!known.includes(own)) unsettled.push({ role: "customer", text: words, node: own });
    busy = false;
    send.disabled = false;
    toEnd();
  }
  if (!byId("app").hidden) await Promise.all([refresh(), listThreads()]).catch(() => {});
}

function drawTurn() {
  const bubble = el("div", { class: "bubble" });
  const dots = el("span", { class: "waiting" }, el("i"), el("i"), el("i"));
  dots.append(el("span", { class: "sr-only" }, "The agent is working"));
  bubble.append(dots);
  const node = el("article", { class: "said agent", "aria-label": SENDERS.agent, "aria-busy": "true" }, who("agent"), bubble);
  log.append(node);
  return { node, bubble, words: "", route: {}, steps: null };
}

async function follow(words, key, turn) {
  let response;
  try {
    response = await fetch("/v1/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", "Idempotency-Key": key },
      body: JSON.stringify({ text: words, thread }),
      credentials: "same-origin",
    });
  } catch {
    throw new Failed(0, "The message could not be sent: the server cannot be reached.");
  }
  if (!response.ok) throw await failure(response);
  let final = null;
  for await (const { event, data } of events(response.body)) {
    const low = nearEnd();
    if (event === "error") throw new Failed(0, data.text || data.detail || "Something went wrong on our side.");
    if (event === "final") final = data;
    show[event]?.(turn, data);
    if (low) toEnd();
  }
  if (final === null) throw new Failed(0, "The connection broke. The agent may still be answering.");
  return final;
}

/** Server-sent events of a fetch body. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        let event = "";
        let data = "";
        for (const line of block.split("\n")) {
          if (line.startsWith("event: ")) event = line.slice(7);
          if (line.startsWith("data: ")) data += line.slice(6);
        }
        if (event) yield { event, data: JSON.parse(data || "{}") };
      }
    }
  } catch (error) {
    if (error instanceof Failed) throw error;
    throw new Failed(0, "The connection broke. The agent may still be answering.");
  }
}

const show = {
  route(turn, data) {
    turn.route = data;
  },
  ack(turn, data) {
    turn.bubble.before(el("p", { class: "understood" }, data.text));
  },
  tool(turn, data) {
    if (turn.steps === null) {
      turn.steps = el("ul", { class: "steps" });
      turn.bubble.before(turn.steps);
    }
    const words = [data.title || data.operation, data.record, STATUSES[data.status]].filter(Boolean).join(" · ");
    turn.steps.append(el("li", {}, words));
  },
  token(turn, data) {
    turn.words += data.text;
    turn.bubble.textContent = turn.words;
  },
  approval_required(turn, data) {
    drawCard(data);
  },
  handoff() {
    setHandedOff(true);
  },
  final(turn, data) {
    turn.node.removeAttribute("aria-busy");
    if (!data.text) {
      turn.node.remove();
      return;
    }
    const citations = data.citations ?? [];
    const name = freshKey();
    // What was checked replaces what was streamed: they differ when the check had a better draft made.
    fill(turn.bubble, data.text, citations, name);
    if (citations.length) turn.node.append(sources(citations, name));
    const tier = turn.route.tier;
    turn.node.append(under({ tier, ...data, lane: data.lane ?? turn.route.lane }, data.at ?? new Date().toISOString()));
  },
};

// --- the page -------------------------------------------------------------------------------

function grow() {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 176)}px`;
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (busy || !text.value.trim()) return;
  const words = text.value;
  text.value = "";
  sessionStorage.removeItem("draft");
  grow();
  play(words);
});
text.addEventListener("input", () => {
  sessionStorage.setItem("draft", text.value);
  grow();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("form").requestSubmit();
  }
});

function closeSide() {
  if (byId("app").classList.contains("open") && byId("side").contains(document.activeElement)) byId("menu").focus();
  byId("app").classList.remove("open");
  byId("menu").setAttribute("aria-expanded", "false");
}
byId("menu").addEventListener("click", () => {
  const open = byId("app").classList.toggle("open");
  byId("menu").setAttribute("aria-expanded", String(open));
});
byId("veil").addEventListener("click", closeSide);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeSide();
});
for (const id of ["new", "new-small"]) byId(id).addEventListener("click", () => openThread(null));
byId("leave").addEventListener("click", logOut);

repeat(
  async () => {
    if (busy || byId("app").hidden) return;
    try {
      await refresh();
    } catch (error) {
      if (error.status === 401) await showDoor(inWords(error));
    }
  },
  () => (cards.size || handedOff ? 2 : 8),
);

try {
  const { customer } = await request("GET", "/v1/login");
  await (customer ? showApp(customer) : showDoor("", { moved: false }));
  text.value = sessionStorage.getItem("draft") ?? "";
  grow();
} catch (error) {
  await showDoor(inWords(error));
}
