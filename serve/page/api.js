// Requests to the service: only the latest request of a kind is used; failures are shown, and most can be tried again.

import { errorOf, ServiceError, SILENT } from "./errors.js";
import { send, useAnotherKey } from "./key.js";

const LONGEST_WAIT = 60; // s that the page waits before it tries again by itself, once
const POLL = 3; // s between looks for the first model, at least

const running = new Map(); // kind -> AbortController of the latest request
const failed = new Map(); // kind -> {error, again: whether the page tries again by itself, timer, retry}
const box = document.querySelector("#errors");
let ahead = null; // ms that the service's clock is ahead of this one
let latest = 0;

/** Unix seconds by the service's clock; never less than before. */
export const now = () => (latest = Math.max(latest, Math.floor((Date.now() + (ahead ?? 0)) / 1000)));

/**
 * Run `work(ask)`; earlier work of the same kind is aborted.
 * A failure is shown after `cleanUp(error)` has removed outdated content. If the service says when to come back, the
 * page does.
 */
export async function newest(kind, work, cleanUp = () => {}, attempt = 1) {
  stop(kind);
  if (attempt === 1) settle(kind); // else the message stays until there is an answer
  const controller = new AbortController();
  running.set(kind, controller);
  try {
    await work((path, body) => fetchJson(path, body, controller.signal));
    settle(kind);
  } catch (error) {
    if (controller.signal.aborted) return;
    cleanUp(error);
    const waiting = error.code === "no_model";
    const again = waiting || (attempt === 1 && error.passing && error.seconds !== null && error.seconds <= LONGEST_WAIT);
    const seconds = waiting ? Math.max(POLL, error.seconds) : error.seconds;
    const timer = again ? setTimeout(() => newest(kind, work, cleanUp, attempt + 1), 1000 * seconds) : null;
    failed.set(kind, { error, again, timer, retry: () => newest(kind, work, cleanUp) });
    showFailures();
    if (!(error instanceof ServiceError)) throw error; // a bug in this page: log it, too
  }
}

/** Abort the request of a kind and hide its error. */
export function drop(kind) {
  stop(kind);
  settle(kind);
}

function stop(kind) {
  running.get(kind)?.abort();
  clearTimeout(failed.get(kind)?.timer);
}

function settle(kind) {
  if (failed.delete(kind)) showFailures();
}

/** Move the errors into the open dialog, if any: content behind it is neither visible nor read out. */
export function showErrorsIn(parent) {
  if (box.parentNode !== parent) parent.prepend(box);
}

async function fetchJson(path, body, signal) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await send(path, body ? { ...post, signal } : { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ServiceError(0, SILENT);
  }
  if (ahead === null) ahead = Date.parse(answer.headers.get("Date")) - Date.now() || 0;
  const data = await answer.json().catch(() => null);
  signal.throwIfAborted();
  if (answer.ok && data) return data;
  throw errorOf(answer, data);
}

function sentence({ error, again }) {
  if (error.code === "no_model" || !error.seconds) return error.message;
  return again ? `${error.message} Trying again in ${error.seconds} s.` : `${error.message} Try again in ${error.seconds} s.`;
}

function showFailures() {
  const failures = [...failed.values()];
  const is = (test) => failures.some(({ error }) => test(error));
  const retry = () => [...failed.values()].forEach(({ retry }) => retry());
  const actions = [];
  if (is(({ status }) => status === 401)) actions.push(["Enter a key", retry]);
  else if (is(({ code }) => code === "scope_missing")) actions.push(["Use another key", useAnotherKey]);
  if (is(({ passing, code }) => passing && code !== "no_model")) actions.push(["Try again", retry]);
  box.classList.toggle("calm", failures.every(({ error }) => error.code === "no_model"));
  replaceIfOther(box, [
    ...[...new Set(failures.map(sentence))].map((text) => ["p", text]),
    ...actions.map(([text, onclick]) => ["button", text, onclick]),
  ]);
}

/** Elements with texts, unless they are there already: a message is read out once, and a button keeps the focus. */
function replaceIfOther(parent, wanted) {
  const same = parent.children.length === wanted.length && wanted.every(([, text], i) => parent.children[i].textContent === text);
  if (same) return;
  parent.replaceChildren(...wanted.map(([tag, text, onclick = null]) => Object.assign(document.createElement(tag), { textContent: text, onclick })));
}
