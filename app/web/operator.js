// What both rooms of the desk share: the key, the door, requests, lists that are kept, short messages.

import { byId, el, repeat, request } from "./web.js";

let key = sessionStorage.getItem("operator-key") ?? "";
// What the company's login sent back stands in the address, and does not stay there.
const came = new URLSearchParams(location.hash.slice(1));
if (came.has("token") || came.has("notice")) history.replaceState(null, "", location.pathname);
if (came.has("token")) key = came.get("token");

/** Who is signed in: name and role. */
export const me = { name: "", role: "" };

export const ask = (method, path, body) => request(method, path, { body, headers: { "X-API-Key": key } });

// --- the door -------------------------------------------------------------------------------

function showDoor(notice = "") {
  byId("app").hidden = true;
  byId("door").hidden = false;
  byId("door-notice").textContent = notice;
  byId("door-notice").hidden = !notice;
  byId("key").focus();
}

/** Opens the room for whoever has a key; `refresh` brings it up to date, now and every few seconds. */
export function open(refresh) {
  async function enter() {
    try {
      Object.assign(me, await ask("GET", "/v1/operator"));
      sessionStorage.setItem("operator-key", key);
      byId("me").textContent = me.role === "admin" ? `${me.name}, admin` : me.name;
      await refresh();
    } catch (error) {
      if (error.status === 401 || error.status === 403) sessionStorage.removeItem("operator-key");
      showDoor(error.message);
      return;
    }
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
  else showDoor(came.get("notice") ?? "");
}

// --- what is shown --------------------------------------------------------------------------

/** Draws what is new, removes what is gone, keeps the rest with the note being written in it, in the order of
 * the items. A key begins with the item's name: what is drawn anew under it keeps the focus. */
export function keyed(list, items, key, draw) {
  const known = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const id = String(key(item));
    const node = known.get(id) ?? draw(item);
    known.delete(id);
    node.dataset.key = id;
    return node;
  });
  const name = (node) => node.dataset.key.split(" ")[0];
  const left = [...known.values()].find((node) => node.contains(document.activeElement));
  for (const node of known.values()) node.remove();
  nodes.forEach((node, place) => {
    // Moving a node takes its focus, so only what is out of place is moved.
    if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
  });
  if (left) nodes.find((node) => name(node) === name(left))?.querySelector("a, button, input")?.focus({ preventScroll: true });
}

/** Words that are read out when they change, and only then. */
export function say(id, words) {
  if (byId(id).textContent !== words) byId(id).textContent = words;
}

/** A number beside a title, and the sentence that stands there when it is none. */
export function count(name, number) {
  byId(`${name}-count`).textContent = number || "";
  byId(`no-${name}`).hidden = number > 0;
}

let toastTimer = 0;
export function toast(words) {
  byId("toast").textContent = words;
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), 5000);
}

export function title(action) {
  return action.operation.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
}

export { byId, el };
