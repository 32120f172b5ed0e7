// What both pages use: elements, requests, times.

/** An element with a class and children; strings become text nodes, never markup. */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The text as a reviewer has to see it: direction marks, zero width and blank letters are named where they stand. */
export function visible(words) {
  return words.replace(
    /[\p{Cf}\u115f\u1160\u2800\u3164\uffa0]/gu,
    (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

/** Light Markdown of the agent's as nodes: bold words and list marks; everything else stays text. */
export function rich(words) {
  return words
    .replace(/^- /gm, "•  ")
    .split(/(\*\*[^*\n]+\*\*)/)
    .filter(Boolean)
    .map((piece) => {
      const bold = /^\*\*(.+)\*\*$/.exec(piece)?.[1];
      return bold ? el("strong", {}, bold) : piece;
    });
}

export const byId = (id) => document.getElementById(id);

/** A request that failed, in words that can be shown. */
export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function failure(response) {
  let detail = "";
  try {
    detail = (await response.json()).detail;
  } catch {
    // Not every proxy on the way answers in JSON.
  }
  return new Failed(response.status, detail || `The server answered ${response.status}.`);
}

export async function request(method, path, { body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new Failed(0, "We cannot be reached right now. Check your connection and try again.");
  }
  if (!response.ok) throw await failure(response);
  return response.status === 204 ? null : response.json();
}

/** A random name; `crypto.randomUUID` exists only on https and localhost. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function clock(value) {
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** Calls `work` after `seconds()`, again and again, while the page is visible. */
export function repeat(work, seconds) {
  let timer = 0;
  async function beat() {
    clearTimeout(timer);
    if (!document.hidden) await work();
    timer = setTimeout(beat, seconds() * 1000);
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) beat();
  });
  timer = setTimeout(beat, seconds() * 1000);
}
