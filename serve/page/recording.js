// What people rate here is sent to the service, in order, until it has acknowledged it. An event that is sent twice has
// the same id and counts once, so that nothing is lost or doubled when an answer fails to come. Kept for this tab.

import { newest, now } from "./api.js";
import { scale } from "./state.js";

const MOST = 1000; // events of a request

let stored = null; // key in the session's storage
let pending = []; // events that are not acknowledged, oldest first
let changes = []; // [{user, item_id, title, year, rating, before, state}] latest first; rating null: none, or withdrawn
let changed = () => {};

/**
 * Go on with what this tab has recorded of this data, and send what is not acknowledged.
 * `onChange(acknowledged)` is called when the state of changes differs, with events that the service has now.
 */
export function openRecording(data, onChange) {
  stored = `recsys recorded of ${data}`;
  changed = onChange;
  try {
    const found = JSON.parse(sessionStorage.getItem(stored));
    if (Array.isArray(found?.pending) && Array.isArray(found.changes)) ({ pending, changes } = found);
  } catch {
    // storage is disabled or has other content: start over
  }
  if (pending.length) send();
}

/** A user's changes, latest first. `state`: null (chosen, not rated), "saving", "waiting", "saved" or "refused". */
export const changesOf = (user) => changes.filter((change) => change.user === user);

/** The rating of a user and an item that is an event now, a choice where there are no stars; null withdraws it. */
export function newEvent(user, { item_id }, rating) {
  const kind = rating === null ? "withdrawal" : scale.implicit ? "choice" : "rating";
  const event = { event_id: newId(), user_id: user, item_id, kind, timestamp: now() };
  return kind === "rating" ? { ...event, rating } : event;
}

/** List a title, to be rated: `rating` is what the user gave it before, if anything. */
export function choose(user, item, rating) {
  const there = changesOf(user).find(({ item_id }) => item_id === item.item_id);
  const fresh = { rating: there ? null : rating, before: null, state: null };
  put(user, item, there && there.rating !== null ? there : fresh);
}

/** Take a title off the list that is not rated. */
export function unlist(change) {
  changes = changes.filter((other) => other !== change);
  keep();
}

/** Record what a user rates an item; null withdraws the rating `before`. */
export function record(user, item, rating, before) {
  pending.push(newEvent(user, item, rating));
  put(user, item, { rating, before, state: "saving" });
  changed([]);
  send();
}

/** List ratings of a user that the service has acknowledged. */
export function listSaved(user, items) {
  for (const item of [...items].reverse()) put(user, item, { rating: item.rating, before: null, state: "saved" });
}

/** Bring a user's saved changes up to date with `ratings`, all that the service has of them: others may have changed some. */
export function reconcile(user, ratings) {
  const given = new Map(ratings.map(({ item_id, rating }) => [item_id, rating]));
  const isSaved = (change) => change.user === user && change.state === "saved";
  for (const change of changes) if (isSaved(change) && given.has(change.item_id)) Object.assign(change, { rating: given.get(change.item_id), before: null });
  changes = changes.filter((change) => !isSaved(change) || given.has(change.item_id) || change.rating === null);
  if (changes.length) keep();
}

/** Whether something is not acknowledged. */
export const isUnsaved = () => pending.length > 0;

function put(user, { item_id, title, year }, { rating, before, state }) {
  const others = changes.filter((change) => change.user !== user || change.item_id !== item_id);
  changes = [{ user, item_id, title, year, rating, before, state }, ...others];
  keep();
}

function keep() {
  try {
    sessionStorage.setItem(stored, JSON.stringify({ pending, changes }));
  } catch {
    // without storage, what is not sent is lost with the page
  }
}

/** Send all that is pending. An earlier attempt is given up: whether it arrived or not, its events are sent again. */
function send() {
  newest("events", async (ask) => {
    while (pending.length) {
      const sent = pending.slice(0, MOST);
      await ask("events/", { events: sent });
      pending = pending.filter((event) => !sent.includes(event));
      settle(sent, "saved");
    }
  }, ({ status, passing }) => {
    const failed = pending;
    const isLost = status >= 400 && !passing && status !== 401 && status !== 403; // else another try or key may do
    if (isLost) pending = [];
    settle(failed, isLost ? "refused" : "waiting");
  });
}

function settle(events, state) {
  const is = (list, { user, item_id }) => list.some((event) => event.user_id === user && event.item_id === item_id);
  const isOver = (change) => state === "waiting" || !is(pending, change);
  for (const change of changes) if (is(events, change) && isOver(change)) change.state = state;
  keep();
  changed(state === "saved" ? events : []);
}

/** 128 random bits; `crypto.randomUUID` is for pages under https only. */
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
