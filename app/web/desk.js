// The operator desk: approvals to answer, hand-offs to take, decisions to look at.

import { byId, clock, el, repeat, request } from "./web.js";

const STATES = { ok: "good", on: "good", degraded: "warn", off: "", down: "bad" };
const ENDINGS = {
  executed: "good", approved: "good", started: "warn", failed: "bad", rejected: "bad", expired: "warn",
};

const AFTERMATHS = { resolved: "good", failed: "bad", escalated: "warn", corrected: "bad", edited: "warn", rejected: "bad" };

let key = sessionStorage.getItem("operator-key") ?? "";
let roles = new Set();

const ask = (method, path, body) => request(method, path, { body, headers: { "X-API-Key": key } });

// --- the door -------------------------------------------------------------------------------

function showDoor(notice = "") {
  byId("app").hidden = true;
  byId("door").hidden = false;
  byId("door-notice").textContent = notice;
  byId("door-notice").hidden = !notice;
  byId("key").focus();
}

async function enter() {
  try {
    await refresh();
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      sessionStorage.removeItem("operator-key");
      showDoor(error.message);
    } else {
      showDoor(error.message);
    }
    return;
  }
  sessionStorage.setItem("operator-key", key);
  byId("door").hidden = true;
  byId("app").hidden = false;
}

byId("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  byId("key").value = "";
  enter();
});
byId("leave").addEventListener("click", () => {
  key = "";
  sessionStorage.removeItem("operator-key");
  showDoor();
});

// --- what is shown --------------------------------------------------------------------------

async function refresh() {
  const [pending, every, handoffs, decisions, ready, doubts, drift, reviews] = await Promise.all([
    ask("GET", "/v1/approvals?status=pending"),
    ask("GET", "/v1/approvals?status=all&limit=30"),
    ask("GET", "/v1/handoffs"),
    ask("GET", `/v1/decisions?${wanted()}`),
    lamps(),
    ask("GET", "/v1/unsettled"),
    ask("GET", "/v1/drift"),
    ask("GET", "/v1/reviews?limit=100"),
  ]);
  keyed(byId("approvals"), pending.approvals, (each) => `${each.id} ${each.votes.length}`, approvalSheet);
  count("approvals", pending.approvals.length);
  const decided = every.approvals.filter((each) => each.status !== "pending").slice(0, 6);
  byId("decided").replaceChildren(...decided.map(decidedSheet));
  byId("no-decided").hidden = decided.length > 0;
  keyed(byId("handoffs"), handoffs.items, (each) => `${threadOf(each)} ${each.messages?.at(-1)?.id ?? ""}`, handoffSheet);
  count("handoffs", handoffs.items.length);
  keyed(byId("doubts"), doubts.unsettled, (each) => `${each.action.id} ${each.found}`, doubtSheet);
  count("doubts", doubts.unsettled.length);
  byId("doubts-part").hidden = doubts.unsettled.length === 0;
  showDecisions(decisions);
  showDrift(drift);
  showReviews(reviews);
  byId("lamps").replaceChildren(...ready);
}

/** Adds what is new and removes what is gone; what is there keeps the note being written in it. */
function keyed(list, items, name, draw) {
  const wanted = new Map(items.map((item) => [String(name(item)), item]));
  const gone = [];
  for (const node of list.children) {
    if (!wanted.has(node.dataset.key)) gone.push(node);
    else wanted.delete(node.dataset.key);
  }
  // Drawn before the old ones go, so that what is drawn anew can see where the cursor was.
  const fresh = [...wanted].map(([id, item]) => {
    const node = draw(item);
    node.dataset.key = id;
    return node;
  });
  for (const node of gone) node.remove();
  list.append(...fresh);
}

function count(name, number) {
  byId(`${name}-count`).textContent = number || "";
  byId(`no-${name}`).hidden = number > 0;
}

async function lamps() {
  // 503 is an answer here: it says which part is down.
  const response = await fetch("/ready");
  const { checks = {} } = await response.json();
  return Object.entries(checks).map(([name, check]) => {
    const state = typeof check === "string" ? check : check.status;
    const why = check.reason || check.detail || "";
    return el(
      "span",
      { class: `chip ${STATES[state] ?? ""}`, title: why ? `${state}: ${why}` : state },
      el("i", { class: "lamp", "aria-hidden": "true" }),
      name.replaceAll("_", " "),
      el("span", { class: state === "ok" ? "sr-only" : "" }, state),
    );
  });
}

// --- approvals ------------------------------------------------------------------------------

function title(action) {
  return action.operation.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
}

function shown(value) {
  if (value === null || value === undefined) return "—";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function approvalSheet(approval) {
  const { action, verdict } = approval;
  const note = el("input", { class: "field", placeholder: "Note (optional)", "aria-label": `Note on ${action.label || approval.id}`, maxlength: 2000 });
  const draft = el("textarea", { class: "field", "aria-label": "New arguments as JSON", spellcheck: "false" });
  draft.value = JSON.stringify(action.arguments, null, 2);
  const sheet = el("article", { class: "sheet" });
  const decide = (decision) => answer(sheet, approval, decision, note, draft);
  sheet.append(
    el(
      "div",
      { class: "sheet-head" },
      el("h3", {}, title(action), action.label ? ` · ${action.label}` : ""),
      el("time", { datetime: approval.requested_at }, `asked ${clock(approval.requested_at)}, expires ${clock(approval.expires_at)}`),
    ),
    el("p", { class: "by" }, `For ${action.customer.name} (${action.customer.id}), ${action.customer.segment}`),
    el("div", {}, el("h4", {}, "Exact arguments"), argumentTable(action.arguments)),
    action.effects.length
      ? el("div", {}, el("h4", {}, "What it will do"), el("ul", { class: "effects" }, ...action.effects.map((line) => el("li", {}, line))))
      : "",
    el(
      "p",
      { class: "rule" },
      el("span", { class: "chip warn" }, verdict.consequence.replaceAll("_", " ")),
      el("span", {}, `Asked because: ${verdict.reason}`),
      verdict.judged ? el("span", { class: "chip" }, `a model said ${verdict.judged}`) : null,
    ),
    verdict.rules?.length
      ? el(
          "p",
          { class: "rule" },
          ...verdict.rules.map((name) => el("span", { class: "chip" }, name.replaceAll("_", " "))),
          el("span", {}, `${verdict.rules.length > 1 ? "rules" : "rule"} of version ${verdict.policy}`),
        )
      : "",
    votesLine(approval),
    el(
      "div",
      { class: "acts" },
      note,
      el("button", { class: "button primary", type: "button", onclick: () => decide("approve") }, "Approve"),
      el("button", { class: "button danger", type: "button", onclick: () => decide("reject") }, "Reject"),
    ),
    el(
      "details",
      { class: "edit" },
      el("summary", {}, "Change the arguments"),
      draft,
      el("button", { class: "button", type: "button", onclick: () => decide("edit") }, "Run with these arguments instead"),
    ),
    el("p", { class: "id" }, `action ${approval.id} · thread ${action.thread}`),
  );
  return sheet;
}

/** Who has said yes so far, and who has to: nothing where one person of any role is enough. */
function votesLine({ verdict, votes, votes_needed: needed }) {
  const admin = verdict.reviewer === "admin";
  if (needed < 2 && !admin && !votes.length) return "";
  const people = needed > 1 ? `${needed} different persons approve this` : "One person approves this";
  return el(
    "p",
    { class: "votes" },
    el("span", { class: votes.length ? "chip good" : "chip" }, `${votes.length} of ${needed}`),
    el("span", {}, `${people}${admin ? ", admins only" : ""}.`),
    ...votes.map((vote) =>
      el("span", { class: "chip" }, `${vote.reviewer} (${vote.role})${vote.note ? `: “${vote.note}”` : ""}, ${clock(vote.at)}`),
    ),
  );
}

function argumentTable(values) {
  const rows = Object.entries(values);
  if (!rows.length) return el("p", { class: "by" }, "none");
  return el(
    "table",
    { class: "arguments" },
    el("tbody", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, shown(value))))),
  );
}

async function answer(sheet, approval, decision, note, draft) {
  const body = { decision };
  if (note.value.trim()) body.note = note.value.trim();
  if (decision === "edit") {
    try {
      body.arguments = JSON.parse(draft.value);
    } catch {
      toast("The new arguments are not valid JSON.");
      return;
    }
  }
  const buttons = [...sheet.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  try {
    const decided = await ask("POST", `/v1/approvals/${encodeURIComponent(approval.id)}`, body);
    const waits = decided.status === "pending" && decision === "approve";
    toast(`${title(approval.action)}: ${waits ? "your approval counts, another person's is still needed" : decided.status}.`);
  } catch (error) {
    toast(error.message);
    for (const button of buttons) button.disabled = false;
  }
  await refresh().catch((error) => toast(error.message));
}

function decidedSheet(approval) {
  return el(
    "article",
    { class: "sheet done" },
    el(
      "div",
      { class: "sheet-head" },
      el("h3", {}, title(approval.action), approval.action.label ? ` · ${approval.action.label}` : ""),
      el("span", { class: `chip ${ENDINGS[approval.status] ?? ""}` }, approval.status),
    ),
    el("p", { class: "by" }, [approval.votes.length > 1 ? `by ${approval.votes.map((vote) => vote.reviewer).join(" and ")}` : approval.reviewer ? `by ${approval.reviewer}` : "", approval.decided_at ? clock(approval.decided_at) : "", approval.note ? `“${approval.note}”` : ""].filter(Boolean).join(" · ")),
  );
}

// --- effects in other systems that nobody can vouch for -------------------------------------

function doubtSheet(item) {
  const { action, order } = item;
  const note = el("input", { class: "field", placeholder: "How you know (optional)", "aria-label": "How you know", maxlength: 2000 });
  const sheet = el("article", { class: "sheet" });
  const say = (happened, words) =>
    el(
      "button",
      {
        class: "button",
        type: "button",
        onclick: async () => {
          try {
            await ask("POST", `/v1/unsettled/${encodeURIComponent(action.id)}`, { happened, note: note.value.trim() || null });
            toast(happened ? "Booked as done; the customer is told." : "Closed as not done; the customer is told.");
          } catch (error) {
            toast(error.message);
          }
          await refresh().catch((error) => toast(error.message));
        },
      },
      words,
    );
  sheet.append(
    el("div", { class: "sheet-head" }, el("h3", {}, order.amount ? `${order.kind === "refund" ? "Refund" : "Charge"} of ${order.amount} ${order.currency}` : action.operation.replaceAll("_", " ")), el("time", { datetime: item.since }, clock(item.since))),
    el("p", {}, `${action.label || action.operation}, ${action.customer.name}. Reference ${order.reference}.`),
    el("p", { class: "quote" }, item.found || "The other system was asked, and no answer was kept."),
    el("div", { class: "acts" }, note, say(true, "It happened"), say(false, "It did not")),
  );
  return sheet;
}

// --- hand-offs ------------------------------------------------------------------------------

function threadOf(item) {
  return item.thread ?? item.id;
}

/** What operators are typing, by thread: a refresh draws the sheet anew and must not take it away. */
const drafts = new Map();

function draftField(thread) {
  const words = el("input", { class: "field", placeholder: "Answer to the customer", "aria-label": "Answer to the customer", maxlength: 4000 });
  words.value = drafts.get(thread) ?? "";
  words.dataset.thread = thread;
  words.addEventListener("input", () => drafts.set(thread, words.value));
  const before = document.activeElement;
  if (before?.dataset?.thread === thread) {
    const [start, end] = [before.selectionStart, before.selectionEnd];
    setTimeout(() => {
      words.focus();
      words.setSelectionRange(start, end);
    });
  }
  return words;
}

function handoffSheet(item) {
  const thread = threadOf(item);
  const words = draftField(thread);
  const path = `/v1/threads/${encodeURIComponent(thread)}`;
  const tell = async (action, body, told) => {
    try {
      await ask("POST", `${path}/${action}`, body);
      drafts.delete(thread);
      words.value = "";
      toast(told);
    } catch (error) {
      toast(error.message);
    }
    await refresh().catch((error) => toast(error.message));
  };
  const sheet = el("article", { class: "sheet" });
  const at = item.handed_off_at ?? item.at ?? item.created_at;
  const customer = item.name ? item.name : typeof item.customer === "object" && item.customer !== null ? item.customer.name : (item.customer ?? item.customer_id);
  sheet.append(
    el(
      "div",
      { class: "sheet-head" },
      el("h3", {}, item.title || (customer ? `Conversation with ${customer}` : "Conversation")),
      at ? el("time", { datetime: at }, clock(at)) : null,
    ),
    item.reason ? el("p", { class: "by" }, `Because ${item.reason}`) : "",
    item.summary ? el("p", { class: "quote" }, item.summary) : "",
    item.messages?.length
      ? el("ul", { class: "quote lines" }, ...item.messages.map((each) => el("li", {}, el("b", {}, `${each.role}: `), each.text.replaceAll("**", ""))))
      : "",
    el(
      "div",
      { class: "acts" },
      words,
      el(
        "button",
        {
          class: "button",
          type: "button",
          onclick: async () => {
            if (words.value.trim()) await tell("reply", { text: words.value.trim() }, "The customer has your answer; the conversation stays here.");
            else words.focus();
          },
        },
        "Answer",
      ),
      el(
        "button",
        {
          class: "button",
          type: "button",
          onclick: () => tell("release", words.value.trim() ? { message: words.value.trim() } : {}, "The agent answers this conversation again."),
        },
        "Give back to the agent",
      ),
    ),
    el("p", { class: "id" }, [`thread ${thread}`, item.ticket ? `ticket ${item.ticket}` : ""].filter(Boolean).join(" · ")),
  );
  return sheet;
}

// --- decisions ------------------------------------------------------------------------------

let before = null;
let next = null;

/** The filters and the page as a query. */
function wanted() {
  const query = new URLSearchParams({ limit: "40" });
  for (const [name, value] of new FormData(byId("filters"))) {
    const given = value.trim();
    if (given) query.set(name, name === "since" ? new Date(given).toISOString() : given);
  }
  if (before !== null) query.set("before", before);
  return query;
}

function turnTo(page) {
  before = page;
  refresh().catch((error) => toast(error.message));
}

byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("change", () => turnTo(null));
byId("filters").addEventListener("reset", () => setTimeout(() => turnTo(null)));
byId("older").addEventListener("click", () => turnTo(next));
byId("newest").addEventListener("click", () => turnTo(null));

function showDecisions(page) {
  const rows = page.items;
  next = page.next;
  byId("older").hidden = next === null;
  byId("newest").hidden = before === null;
  byId("no-decisions").hidden = rows.length > 0;
  byId("roll").hidden = rows.length === 0;
  byId("decisions").replaceChildren(...rows.map(decisionRow));
  for (const { role } of rows) {
    if (roles.has(role)) continue;
    roles.add(role);
    byId("role").append(el("option", { value: role }, role));
  }
}

function decisionRow(row) {
  const probability = Number(row.probability ?? 0);
  return el(
    "tr",
    {},
    el("td", {}, clock(row.at)),
    el("td", {}, row.role),
    el("td", { class: "chosen", title: row.chosen }, row.chosen, " ", row.abstained ? el("span", { class: "chip warn" }, "abstained") : null),
    el("td", {}, row.lane ?? ""),
    el("td", { title: row.outcome_detail || undefined }, row.outcome ? el("span", { class: `chip ${AFTERMATHS[row.outcome] ?? ""}` }, row.outcome) : ""),
    el("td", { class: "number" }, probability.toFixed(2), el("meter", { min: 0, max: 1, value: probability, "aria-hidden": "true" })),
    el("td", {}, el("span", { class: row.tier === "large" ? "chip warn" : "chip" }, row.tier)),
    el("td", { title: [row.adapter && `adapter ${row.adapter}`, row.prompt && `prompt ${row.prompt}`].filter(Boolean).join(", ") || undefined }, row.model),
    el("td", { class: "number" }, Number(row.ms ?? 0).toFixed(1)),
    el("td", { class: "words", title: row.input || undefined }, row.input ?? ""),
    el("td", { class: "words", title: row.reason || undefined }, row.reason ?? ""),
  );
}

// --- drift ----------------------------------------------------------------------------------

const WINDOWS = { count: "The newest messages", time: "The last days" };

function showDrift(drift) {
  byId("drift-when").textContent = drift.at ? `looked at ${clock(drift.at)}` : "";
  byId("no-drift").hidden = drift.windows.length > 0;
  byId("drift").replaceChildren(...drift.windows.map(driftSheet));
  if (drift.problem) byId("drift").append(el("p", { class: "notice" }, drift.problem));
}

function driftSheet({ window, against, comparison: found }) {
  const tested = Object.entries(found.p);
  const state = !tested.length ? ["", "too few messages"] : found.alarm ? ["bad", "not like before"] : ["good", "like before"];
  return el(
    "article",
    { class: "sheet" },
    el("div", { class: "sheet-head" }, el("h3", {}, WINDOWS[window] ?? window), el("span", { class: `chip ${state[0]}` }, state[1])),
    el("p", { class: "by" }, `${found.messages} messages against ${found.reference} of ${against}`),
    tested.length
      ? el("p", { class: "votes" }, ...tested.map(([test, p]) => el("span", { class: "chip" }, `${test} p = ${p.toPrecision(2)}`)), el("span", {}, `unsure ${share(found.abstained_then)}, now ${share(found.abstained_now)}`))
      : "",
    found.shifts.length
      ? el("table", { class: "arguments" }, el("tbody", {}, ...found.shifts.slice(0, 6).map((one) => el("tr", {}, el("th", { scope: "row" }, one.intent), el("td", {}, `${share(one.then)}, now ${share(one.now)}`)))))
      : "",
  );
}

function share(value) {
  return `${(100 * value).toFixed(1)} %`;
}

// --- reviews --------------------------------------------------------------------------------

function showReviews({ items, intents }) {
  count("review", items.length);
  keyed(byId("review"), items.slice(0, 1), (item) => `${item.sample} ${item.decision}`, (item) => reviewSheet(item, intents));
}

function reviewSheet(item, intents) {
  const say = (label) => async () => {
    try {
      await ask("POST", `/v1/reviews/${encodeURIComponent(item.sample)}/${item.decision}`, { label });
    } catch (error) {
      toast(error.message);
    }
    await refresh().catch((error) => toast(error.message));
  };
  const others = el("select", { class: "field", "aria-label": "Another intent" }, el("option", { value: "" }, "another intent"), ...intents.map((name) => el("option", {}, name)));
  others.addEventListener("change", () => others.value && say(others.value)());
  const likely = item.alternatives.filter((one) => intents.includes(one.option));
  return el(
    "article",
    { class: "sheet" },
    el("div", { class: "sheet-head" }, el("h3", {}, item.input || "(empty)"), el("time", { datetime: item.at }, clock(item.at))),
    el("p", { class: "by" }, `The ${item.tier} tier took this for ${item.chosen} (${share(item.probability)}). What did the customer want?`),
    el(
      "div",
      { class: "acts" },
      ...likely.map((one) => el("button", { class: one.option === item.chosen ? "button primary" : "button", type: "button", onclick: say(one.option) }, one.option.replaceAll("_", " "))),
      others,
      el("button", { class: "button quiet", type: "button", onclick: say(null) }, "Cannot tell"),
    ),
    el("p", { class: "id" }, `sample ${item.sample} · turn ${item.turn}`),
  );
}

byId("draw").addEventListener("click", async () => {
  byId("draw").disabled = true;
  try {
    const drawn = await ask("POST", "/v1/reviews", { n: 100, days: 7 });
    toast(drawn.items.length ? `${drawn.items.length} messages drawn.` : "Nothing was routed in the last 7 days.");
  } catch (error) {
    toast(error.message);
  }
  byId("draw").disabled = false;
  await refresh().catch((error) => toast(error.message));
});

let toastTimer = 0;
function toast(words) {
  byId("toast").textContent = words;
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), 5000);
}

repeat(
  async () => {
    if (byId("app").hidden) return;
    try {
      await refresh();
    } catch (error) {
      if (error.status === 401) showDoor(error.message);
      else toast(error.message);
    }
  },
  () => 4,
);

if (key) enter();
else showDoor();
