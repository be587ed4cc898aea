// The API key: asked for where the service wants one, sent with each request, kept for this tab, forgotten on demand.

import { errorOf, SILENT } from "./errors.js";
import { h } from "./view.js";

const STORED = "recsys key";
const SENDABLE = /^[!-~]+$/; // in a header
let key = stored();
let asking = null; // the promise of an open dialog
let changed = () => {};

/** Call `work(key)` now and whenever the key of this tab changes; it is null without one. */
export function onKey(work) {
  changed = () => work(key);
  changed();
}

function stored() {
  try {
    const found = sessionStorage.getItem(STORED) ?? "";
    return SENDABLE.test(found) ? found : null;
  } catch {
    return null; // storage is disabled: the key is lost with the page
  }
}

/** Keep a key for this tab; forget it if null. */
export function keepKey(value) {
  if (value === key || (value !== null && !SENDABLE.test(value))) return;
  key = value;
  try {
    if (key === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, key);
  } catch {
    // as above
  }
  changed();
}

/** Like `fetch`, with the key. If the service asks for one, so does this, and repeats the request. */
export async function send(path, options = {}) {
  for (;;) {
    const sent = key;
    const answer = await request(path, options, sent);
    if (answer.status !== 401) return answer;
    if (key === sent) {
      if (sent !== null) keepKey(null);
      if (!(await askForKey(sent && "The service does not accept the key of this tab any more."))) return answer;
    }
    options.signal?.throwIfAborted();
  }
}

/** Ask for a key, `why` being what is wrong with the one before. Resolves to whether there is a new one. */
function askForKey(why = null) {
  asking ??= openDialog(why).finally(() => (asking = null));
  return asking;
}

/** Start over with another key, if there is one. */
export async function useAnotherKey() {
  if (await askForKey()) location.reload();
}

function request(path, options, withKey) {
  const headers = withKey === null ? options.headers : { ...options.headers, Authorization: `Bearer ${withKey}` };
  return fetch(path, { ...options, headers, cache: "no-store" }); // what it shows of people is not left on the disk
}

function openDialog(why) {
  const input = h("input", { id: "key-value", type: "password", autocomplete: "off", spellcheck: false, autocapitalize: "none", "aria-describedby": "key-fault" });
  const reveal = h("button", { type: "button", ariaPressed: "false", "aria-label": "Show the key" }, "Show");
  const fault = h("p", { className: "fault", id: "key-fault", role: "alert" });
  const use = h("button", { className: "primary" }, "Use key");
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", {},
    h("h2", { id: "key-title" }, "Enter an API key"),
    h("p", { id: "key-source" }, "This service answers with a key only. Ask whoever runs it for one: they make it with ", h("code", {}, "recsys keys add NAME"), ". It is kept for this tab only."),
    h("label", { htmlFor: "key-value" }, "Key"),
    h("div", { className: "joined" }, input, reveal),
    fault,
    h("div", { className: "actions" }, cancel, use));
  const dialog = h("dialog", { className: "ask-key", "aria-labelledby": "key-title", "aria-describedby": "key-source" }, form);
  let found = false;

  function say(text) {
    fault.textContent = text;
    input.ariaInvalid = String(text !== "");
  }
  reveal.onclick = () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    reveal.ariaPressed = String(shown);
    reveal.textContent = shown ? "Hide" : "Show";
  };
  cancel.onclick = () => dialog.close();
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (use.disabled) return; // Enter, twice
    use.disabled = true;
    const given = input.value.trim();
    const wrong = await faultOf(given);
    use.disabled = false;
    if (!dialog.open) return; // cancelled meanwhile
    if (wrong === null) {
      found = true;
      keepKey(given);
      return dialog.close();
    }
    say(wrong);
    input.focus();
    input.select();
  };
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
  if (why) say(why);
  return new Promise((resolve) => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(found);
    };
  });
}

/** What is wrong with a key, in a sentence; null if the service takes it. */
async function faultOf(given) {
  if (!given) return "Enter the key.";
  if (!SENDABLE.test(given)) return "This is not a key: it has blanks or special characters. Paste it as you got it.";
  try {
    const answer = await request("model", {}, given);
    if (answer.status === 401) return "The service does not accept this key: it may be incomplete, or revoked.";
    const data = await answer.json().catch(() => null);
    const error = answer.ok ? null : errorOf(answer, data);
    if (!error?.passing || error.code === "no_model") return null; // what else it may do is said where it is asked for
    return `${error.message} Try again in ${error.seconds ?? 1} s.`;
  } catch {
    return SILENT;
  }
}
