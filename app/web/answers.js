// The answers that are given again: what customers are told without anybody writing it anew, and a way to stop it.

import { ask, byId, count, el, keyed, open, toast } from "./operator.js";
import { clock } from "./web.js";

async function refresh() {
  const { items } = await ask("GET", "/v1/answers");
  const given = items.filter((each) => !each.withdrawn_at);
  const withdrawn = items.filter((each) => each.withdrawn_at);
  count("answers", given.length);
  count("withdrawn", withdrawn.length);
  keyed(byId("answers"), given, (each) => `${each.id} ${each.served}`, givenSheet);
  keyed(byId("withdrawn"), withdrawn, (each) => `${each.id} ${each.holds}`, withdrawnSheet);
}

function sheet(answer, ...more) {
  return el(
    "article",
    { class: "sheet" },
    el("div", { class: "sheet-head" }, el("h3", {}, answer.question || "(erased)"), el("time", { datetime: answer.made_at }, clock(answer.made_at))),
    el("p", { class: "quote" }, answer.text || "(erased)"),
    el("p", { class: "by" }, `From ${answer.sources.map((each) => each.title || each.source).join(", ") || "no article"}. ${times(answer)}`),
    ...more,
  );
}

function times({ served, served_at: last }) {
  if (!served) return "Not given again yet.";
  return `Given again ${served === 1 ? "once" : `${served} times`}, last ${clock(last)}.`;
}

function givenSheet(answer) {
  const stop = el("button", { class: "button", type: "button" }, "Withdraw");
  stop.addEventListener("click", async () => {
    stop.disabled = true;
    try {
      await ask("DELETE", `/v1/answers/${encodeURIComponent(answer.id)}`);
      toast("Nobody is given this answer again until one of its articles changes.");
    } catch (error) {
      stop.disabled = false;
      toast(error.message);
    }
    await refresh().catch((error) => toast(error.message));
  });
  return sheet(answer, el("div", { class: "acts" }, stop));
}

function withdrawnSheet(answer) {
  const holds = answer.holds ? ["warn", "until an article changes"] : ["", "an article has changed since"];
  return sheet(
    answer,
    el("p", { class: "votes" }, el("span", { class: `chip ${holds[0]}` }, holds[1]), el("span", {}, `${answer.withdrawn_by}, ${clock(answer.withdrawn_at)}`)),
  );
}

open(refresh);
