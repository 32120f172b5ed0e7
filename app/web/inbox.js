// The inbox: who waits for a person, the whole case, and the answer; approvals and doubts beside it.

import { afterAnswers, approvalSheet, decidedSheet, doubtSheet } from "./approvals.js";
import { ask, byId, count, el, keyed, me, open, say, title, toast } from "./operator.js";
import { clock, rich, visible } from "./web.js";

const TABS = ["conversations", "approvals", "doubts"];
const TIERS = { rule: "rules", encoder: "small encoder", small: "small model", large: "large model" };
const OUTCOMES = { resolved: "good", failed: "bad", escalated: "warn", corrected: "bad", edited: "warn", rejected: "bad" };

let tab = "conversations";
let chosen = null; // the thread whose case is shown
let shownCase = null;

// --- what is being written, by thread: it outlives what the customer writes, and a reload --------

const drafts = new Map(Object.entries(JSON.parse(sessionStorage.getItem("drafts") ?? "{}")));

function keepDraft(thread, words) {
  if (words) drafts.set(thread, words);
  else drafts.delete(thread);
  sessionStorage.setItem("drafts", JSON.stringify(Object.fromEntries(drafts)));
}

byId("words").addEventListener("input", () => keepDraft(chosen, byId("words").value));

// --- up to date -----------------------------------------------------------------------------

async function refresh() {
  const asked = chosen;
  const [handoffs, pending, every, doubts, opened] = await Promise.all([
    ask("GET", "/v1/handoffs"),
    ask("GET", "/v1/approvals?status=pending"),
    ask("GET", "/v1/approvals?status=all&limit=30"),
    ask("GET", "/v1/unsettled"),
    asked === null ? null : ask("GET", `${at(asked)}/case`).catch(gone),
  ]);
  keyed(byId("handoffs"), handoffs.items, waitingKey, waitingItem);
  count("handoffs", handoffs.items.length);
  keyed(byId("approvals"), pending.approvals, (each) => `${each.id} ${each.votes.length}`, approvalSheet);
  count("approvals", pending.approvals.length);
  const decided = every.approvals.filter((each) => each.status !== "pending").slice(0, 6);
  byId("decided").replaceChildren(...decided.map(decidedSheet));
  byId("no-decided").hidden = decided.length > 0;
  keyed(byId("doubts"), doubts.unsettled, (each) => `${each.action.id} ${each.found}`, doubtSheet);
  count("doubts", doubts.unsettled.length);
  byId("tab-doubts").hidden = doubts.unsettled.length === 0 && tab !== "doubts";
  const waits = handoffs.items.filter((each) => each.waits_since).length + pending.approvals.length;
  document.title = `${waits ? `(${waits}) ` : ""}Inbox · Operator desk`;
  if (opened && asked === chosen) showCase(opened);
}

/** A conversation that is not there, or not ours to see. */
function gone(error) {
  if (error.status !== 404) throw error;
  return null;
}

const again = () => refresh().catch((error) => toast(error.message));
afterAnswers(refresh);

const at = (thread) => `/v1/threads/${encodeURIComponent(thread)}`;

/** How long ago, as one says it. */
function ago(value) {
  const minutes = Math.max(0, Math.floor((Date.now() - new Date(value).getTime()) / 60000));
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// --- who waits ------------------------------------------------------------------------------

const whose = (claimedBy) => (claimedBy === null ? "" : claimedBy === me.name ? "you answer" : `${claimedBy} answers`);

function waitingKey(item) {
  const minute = item.waits_since ? ago(item.waits_since) : "answered";
  return [item.thread, item.last?.id, item.claimed_by, minute, item.thread === chosen].join(" ");
}

function waitingItem(item) {
  const current = item.thread === chosen;
  return el(
    "li",
    {},
    el(
      "a",
      { class: "wait", href: `#${item.thread}`, "aria-current": current ? "true" : undefined },
      el("span", { class: "wait-head" }, el("strong", {}, item.name), item.waits_since ? el("span", { class: "chip warn" }, `waits ${ago(item.waits_since)}`) : el("span", { class: "chip good" }, "answered")),
      el("span", { class: "wait-last" }, item.last?.text || item.title),
      item.claimed_by ? el("span", { class: "wait-whose" }, whose(item.claimed_by)) : null,
    ),
  );
}

// --- one case -------------------------------------------------------------------------------

function showCase(opened) {
  shownCase = opened;
  const name = opened.customer?.name ?? "A customer who is not known any more";
  const other = opened.claimed_by !== null && opened.claimed_by !== me.name;
  say("case-title", name);
  say("case-state", [
    !opened.handed_off ? "The agent answers this conversation." : other ? `${opened.claimed_by} has taken this conversation. You can read along, or take it over.` : opened.claimed_by ? "You answer this conversation." : "Nobody has taken this conversation yet.",
    opened.handed_off && opened.opens_at ? `Out of hours: the customer was told that somebody is there from ${clock(opened.opens_at)} on.` : "",
  ].filter(Boolean).join(" "));
  say("case-wait", opened.waits_since ? `Waits ${ago(opened.waits_since)}.` : opened.handed_off ? "It is the customer's turn." : "");
  byId("claim").hidden = !opened.handed_off || opened.claimed_by !== null;
  byId("over").hidden = !opened.handed_off || !other;
  byId("unclaim").hidden = !opened.handed_off || opened.claimed_by !== me.name;
  byId("answer").hidden = !opened.handed_off;
  for (const id of ["send", "give-back"]) byId(id).disabled = other;

  const log = byId("transcript");
  const low = log.scrollHeight - log.scrollTop - log.clientHeight < 120;
  keyed(log, opened.messages, (each) => `${opened.thread} ${each.id}`, (each) => messageOf(each, name));
  // In the next frame: while the door is open the page has no height.
  if (low) requestAnimationFrame(() => (log.scrollTop = log.scrollHeight));

  byId("summary").textContent = opened.summary || "The agent has not handed this conversation over.";
  byId("who").replaceChildren(...(opened.customer ? facts(opened.customer) : []));
  byId("asked-part").hidden = opened.approvals.length === 0;
  byId("asked").replaceChildren(...opened.approvals.map((each) => el("li", {}, el("a", { href: "#approvals" }, `${title(each.action)}${each.action.label ? `, ${each.action.label}` : ""}`))));
  byId("notes").replaceChildren(...opened.notes.map((each) => el("li", {}, el("b", {}, each.author), ` ${each.text} `, el("time", { datetime: each.at }, clock(each.at)))));
  byId("records").replaceChildren(...recordRows(opened.records));
  byId("tried").replaceChildren(...opened.tried.map(triedRow), ...opened.actions.map(doneRow));
  if (!opened.tried.length && !opened.actions.length) byId("tried").append(el("li", { class: "by" }, "Nothing yet."));
  byId("usage-part").hidden = opened.usage.length === 0;
  byId("usage").replaceChildren(...opened.usage.map(usageRow));
  byId("tickets-part").hidden = opened.tickets.length === 0;
  byId("tickets").replaceChildren(...opened.tickets.slice(0, 8).map((each) => el("li", {}, el("b", {}, each.number), ` ${each.subject}`)));
}

function messageOf(message, name) {
  const who = message.role === "customer" ? name : message.role === "operator" ? (message.meta.operator ?? "A colleague") : "The agent";
  return el(
    "article",
    { class: `line ${message.role}`, "aria-label": who },
    el("p", { class: "who" }, el("b", {}, who), " ", message.at ? el("time", { datetime: message.at }, clock(message.at)) : null),
    el("p", { class: "text" }, ...(message.role === "agent" ? rich(message.text) : [visible(message.text)])),
  );
}

function facts(customer) {
  const rows = { Mail: customer.email, Phone: customer.phone, Customer: `${customer.id}, ${customer.segment}`, Since: customer.since === "1970-01-01" ? "" : customer.since };
  for (const [name, value] of Object.entries(customer.facts)) rows[name.replaceAll("_", " ")] = typeof value === "object" ? JSON.stringify(value) : value;
  return Object.entries(rows).filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]);
}

function recordRows(records) {
  if (records === null) return [el("li", { class: "by" }, "The books cannot be read right now.")];
  if (!records.length) return [el("li", { class: "by" }, "None.")];
  return [...records].sort((one, two) => two.open - one.open).map((each) => el("li", {}, el("b", {}, each.id), ` ${each.label.startsWith(each.id) ? each.label.slice(each.id.length).replace(/^, /, "") : each.label} `, el("span", { class: each.open ? "chip warn" : "chip" }, each.state.replaceAll("_", " "))));
}

function triedRow(tried) {
  return el(
    "li",
    {},
    `“${tried.said}” `,
    el("span", { class: "by" }, `${tried.sure ? "understood as" : "not sure, perhaps"}: ${tried.understood} (${tried.probability.toFixed(2)}, ${TIERS[tried.tier] ?? tried.tier}) `),
    tried.outcome ? el("span", { class: `chip ${OUTCOMES[tried.outcome] ?? ""}` }, tried.outcome) : null,
  );
}

/** Which models one turn was put to, and what that cost. */
function usageRow(turn) {
  const asked = turn.models.map((use) => {
    const tokens = use.read + use.written;
    return [`${TIERS[use.tier] ?? use.tier}${use.role ? ` ${use.role}` : ""} (${use.model})`, `${use.calls} ×`, tokens ? `${tokens} tokens` : "", use.failed ? `${use.failed} failed` : "", use.local ? "in the house" : use.masked ? "masked" : "not masked"].filter(Boolean).join(", ");
  });
  return el(
    "li",
    {},
    el("time", { datetime: turn.at }, clock(turn.at)),
    ` ${turn.cost.toFixed(4)}${turn.unpriced ? ` and ${turn.unpriced} calls without a price` : ""} `,
    el("span", { class: "by" }, asked.join("; ") || "No model was asked."),
  );
}

function doneRow(action) {
  const words = { succeeded: "done", failed: "failed", started: "begun", unknown: "in doubt" };
  return el("li", {}, el("b", {}, title(action)), action.label ? ` ${action.label} ` : " ", el("span", { class: action.state === "succeeded" ? "chip good" : "chip bad" }, words[action.state]));
}

// --- what one does with it ------------------------------------------------------------------

async function act(method, what, body, told) {
  const thread = chosen;
  try {
    await ask(method, `${at(thread)}/${what}`, body);
    if (told) toast(told);
    return true;
  } catch (error) {
    // What was written stays where it is.
    toast(error.message);
    return false;
  } finally {
    await again();
  }
}

byId("claim").addEventListener("click", () => act("POST", "claim", {}, "You answer this conversation."));
byId("over").addEventListener("click", () => act("POST", "claim", { over: true }, "You have taken this conversation over."));
byId("unclaim").addEventListener("click", () => act("DELETE", "claim", undefined, "It waits for the others."));

byId("answer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = byId("words");
  const [thread, text] = [chosen, words.value.trim()];
  if (!text || byId("send").disabled) return words.focus();
  byId("send").disabled = true;
  if (await act("POST", "reply", { text }, "The customer has your answer; the conversation stays with you.")) {
    keepDraft(thread, "");
    if (chosen === thread) words.value = "";
  }
  if (shownCase !== null) showCase(shownCase);
  words.focus();
});
byId("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    byId("answer").requestSubmit();
  }
});
byId("give-back").addEventListener("click", async () => {
  const [thread, text] = [chosen, byId("words").value.trim()];
  if (!(await act("POST", "release", text ? { message: text } : {}, "The agent answers this conversation again."))) return;
  keepDraft(thread, "");
  location.hash = "conversations";
});
byId("note-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const note = byId("note");
  const text = note.value.trim();
  if (!text) return note.focus();
  if (await act("POST", "notes", { text })) note.value = "";
});
byId("back").addEventListener("click", () => (location.hash = "conversations"));

// --- where one is ---------------------------------------------------------------------------

function go() {
  const named = decodeURIComponent(location.hash.slice(1));
  const before = chosen;
  tab = TABS.includes(named) || !named ? named || "conversations" : "conversations";
  chosen = TABS.includes(named) || !named ? null : named;
  byId("inbox").dataset.open = chosen === null ? tab : "case";
  for (const each of TABS) {
    if (each === tab) byId(`tab-${each}`).setAttribute("aria-current", "page");
    else byId(`tab-${each}`).removeAttribute("aria-current");
  }
  byId("approvals-part").hidden = tab !== "approvals";
  byId("doubts-part").hidden = tab !== "doubts";
  byId("choose").hidden = tab !== "conversations" || chosen !== null;
  for (const id of ["case", "file"]) byId(id).hidden = chosen === null;
  if (chosen !== before) {
    shownCase = null;
    byId("transcript").replaceChildren();
    byId("words").value = chosen === null ? "" : (drafts.get(chosen) ?? "");
    byId("note").value = "";
    for (const id of ["case-title", "case-state", "case-wait"]) byId(id).textContent = "";
  }
}

window.addEventListener("hashchange", async () => {
  go();
  if (byId("app").hidden) return;
  await again();
  if (chosen !== null && shownCase === null) location.hash = "conversations"; // There is no such conversation.
  else if (chosen !== null) {
    byId("transcript").scrollTop = byId("transcript").scrollHeight;
    byId("case-title").focus();
  } else if (tab !== "conversations") byId(`${tab}-title`).focus();
});

go();
open(refresh);
