// Actions that wait for a reviewer, those that were answered, and payments whose outcome nobody knows.

import { ask, el, title, toast } from "./operator.js";
import { clock, visible } from "./web.js";

const ENDINGS = {
  executed: "good", approved: "good", started: "warn", failed: "bad", rejected: "bad", expired: "warn",
};

/** What is done after an answer: the room brings itself up to date. */
let changed = async () => {};
export const afterAnswers = (refresh) => (changed = refresh);

function shown(value) {
  if (value === null || value === undefined) return "—";
  return visible(typeof value === "string" ? value : JSON.stringify(value));
}

export function approvalSheet(approval) {
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
      el("h3", {}, title(action), action.label ? ` · ${visible(action.label)}` : ""),
      el("time", { datetime: approval.requested_at }, `asked ${clock(approval.requested_at)}, expires ${clock(approval.expires_at)}`),
    ),
    el("p", { class: "by" }, `For ${action.customer.name} (${action.customer.id}), ${action.customer.segment}`),
    el("div", {}, el("h4", {}, "Exact arguments"), argumentTable(action.arguments)),
    action.effects.length
      ? el("div", {}, el("h4", {}, "What it will do"), el("ul", { class: "effects" }, ...action.effects.map((line) => el("li", {}, visible(line)))))
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
    twinsLine(approval),
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
    el("p", { class: "by" }, el("a", { href: `#${action.thread}` }, `The conversation with ${action.customer.name}`)),
    el("p", { class: "id" }, `action ${approval.id}`),
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

/** The same request, asked for in other conversations: one of them can be approved. */
function twinsLine({ twins }) {
  if (!twins?.length) return "";
  const approved = twins.some((twin) => twin.status !== "pending");
  return el(
    "p",
    { class: "twins" },
    el("span", { class: "chip warn" }, "asked for twice"),
    el("span", {}, approved ? "The same request was approved already: reject this one." : "The same request waits from another conversation: only one can be approved."),
    ...twins.map((twin) => el("a", { class: "chip", href: `#${twin.thread}` }, `${twin.id} (${twin.status})`)),
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
  await changed().catch((error) => toast(error.message));
}

export function decidedSheet(approval) {
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

// --- effects in other systems whose outcome nobody knows -------------------------------------

export function doubtSheet(item) {
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
          await changed().catch((error) => toast(error.message));
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
