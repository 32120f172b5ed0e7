// The models' room: the state of the parts, drift, labels for samples, and what the models decided.

import { ask, byId, count, el, keyed, open, toast } from "./operator.js";
import { clock } from "./web.js";

const STATES = { ok: "good", on: "good", degraded: "warn", off: "", down: "bad" };
const AFTERMATHS = { resolved: "good", failed: "bad", escalated: "warn", corrected: "bad", edited: "warn", rejected: "bad" };

const roles = new Set();

async function refresh() {
  const [decisions, ready, drift, reviews] = await Promise.all([
    ask("GET", `/v1/decisions?${wanted()}`),
    lamps(),
    ask("GET", "/v1/drift"),
    ask("GET", "/v1/reviews?limit=100"),
  ]);
  showDecisions(decisions);
  showDrift(drift);
  showReviews(reviews);
  byId("lamps").replaceChildren(...ready);
}

async function lamps() {
  // 503 is an answer here: it says which part is down.
  const response = await fetch("/ready");
  const { checks = {} } = await response.json();
  return Object.entries(checks).map(([name, check]) => {
    const state = typeof check === "string" ? check : check.status;
    const why = check.reason || check.detail || "";
    return el(
      "li",
      { class: `chip ${STATES[state] ?? ""}` },
      el("i", { class: "lamp", "aria-hidden": "true" }),
      name.replaceAll("_", " "),
      el("span", { class: state === "ok" ? "sr-only" : "" }, why ? `${state}: ${why}` : state),
    );
  });
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

open(refresh);
