// Requests to the service: only the latest request of a kind is used; failures are shown with a retry button.

const running = new Map(); // kind -> AbortController of the latest request
const failed = new Map(); // kind -> {message, retry}
const box = document.querySelector("#errors");

export class ServiceError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
    this.passing = status === 0 || status === 429 || status >= 500; // a retry may succeed
  }
}

/**
 * Run `work(ask)`; earlier work of the same kind is aborted.
 * A failure is shown after `cleanUp` has removed outdated content.
 */
export async function newest(kind, work, cleanUp = () => {}) {
  drop(kind);
  const controller = new AbortController();
  running.set(kind, controller);
  try {
    await work((path, body) => fetchJson(path, body, controller.signal));
    settle(kind);
  } catch (error) {
    if (controller.signal.aborted) return;
    cleanUp();
    failed.set(kind, { message: error.message, passing: error.passing, retry: () => newest(kind, work, cleanUp) });
    showFailures();
    if (!(error instanceof ServiceError)) throw error; // a bug in this page: log it, too
  }
}

/** Abort the request of a kind and hide its error. */
export function drop(kind) {
  running.get(kind)?.abort();
  settle(kind);
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
    answer = await fetch(path, body ? { ...post, signal } : { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ServiceError(0, "The service is not responding. It may have stopped, or the network may be down.");
  }
  const data = await answer.json().catch(() => null);
  signal.throwIfAborted();
  if (answer.ok && data) return data;
  throw new ServiceError(answer.status, explain(answer, data));
}

function explain(answer, data) {
  const detail = data?.detail ?? `The service responded with ${answer.status} ${answer.statusText}`.trim() + ".";
  const wait = answer.headers.get("Retry-After");
  return wait ? `${detail} Try again in ${wait} s.` : detail;
}

function showFailures() {
  const messages = new Set([...failed.values()].map(({ message }) => message));
  const again = document.createElement("button");
  again.textContent = "Try again";
  again.onclick = () => [...failed.values()].forEach(({ retry }) => retry());
  const hope = [...failed.values()].some(({ passing }) => passing);
  const lines = [...messages].map((message) => {
    const line = document.createElement("p");
    line.textContent = message;
    return line;
  });
  box.replaceChildren(...lines, ...(hope ? [again] : []));
}
