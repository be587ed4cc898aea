// Why the service did not do what was asked, as a sentence for people.

import { plain } from "./view.js";

const SENTENCES = new Map([
  ["overloaded", "The service is busy."],
  ["database_unavailable", "The service's database does not answer."],
  ["rate_limited", "These were too many requests in a short time."],
  ["no_model", "No model yet\nThe service waits for its first bundle, and this page for the service."],
]);
const LONGEST = 500; // characters of a sentence of the service
export const SILENT = "The service is not responding. It may have stopped, or the network may be down.";

/** An answer that is an error, or none at all: status 0. `seconds`: when to try again, null if nothing is said of it. */
export class ServiceError extends Error {
  constructor(status, detail, { code = null, seconds = null } = {}) {
    super(SENTENCES.get(code) ?? plain(String(detail)).slice(0, LONGEST));
    Object.assign(this, { status, code, seconds });
    this.passing = [0, 408, 429].includes(status) || status >= 500; // a retry may succeed
  }
}

/** The error that an answer is; `data` is its JSON, or null. */
export function errorOf(answer, data) {
  const status = `The service responded with ${answer.status} ${answer.statusText}`.trim() + ".";
  const wait = answer.headers.get("Retry-After") ?? "";
  const seconds = /^\d{1,9}$/.test(wait) ? Number(wait) : null; // not a date
  return new ServiceError(answer.status, data?.detail ?? status, { code: data?.code, seconds });
}
