// A user of the data set, or with a name: what they rated, which may be changed where the service records it.

import { newest } from "./api.js";
import { useAnotherKey } from "./key.js";
import { changeRow, ratedList, ratingControls, showStates } from "./profile.js";
import { recommend } from "./recommendations.js";
import { changesOf, choose, reconcile, record, unlist } from "./recording.js";
import { $, go, model, noun, scale, state } from "./state.js";
import { suggest } from "./suggestions.js";
import { count, h, note, ratedRow, segment } from "./view.js";

let theirs = null; // answer of GET /users/{user_id}; null if it is not known (yet)

export function showRatings() {
  if (!state.user) $("profile").replaceChildren();
  else if (!model.service.expose_user_ratings) showHidden();
  else newest("user", showUser, () => $("profile").replaceChildren());
}

async function showUser(ask) {
  if (theirs?.user_id !== state.user) theirs = null;
  $("profile").ariaBusy = "true";
  try {
    await askForRatings(ask);
  } catch (error) {
    if (error.status !== 404 && error.status !== 403) throw error;
    theirs = null;
    if (error.status === 404) reconcile(state.user, []);
    if (!model.service.records_events) return note($("profile"), error.message);
  } finally {
    $("profile").ariaBusy = "false";
  }
  showProfile();
}

/** Say that users' ratings are not shown; another key may show them. What is rated here can be changed here. */
function showHidden() {
  theirs = null;
  const otherKey = h("button", { className: "plain", onclick: useAnotherKey }, "Use another key");
  const text = $("key-kept").hidden
    ? ["This service does not expose users' ratings."]
    : ["Users' ratings are not exposed by this service, or not to this key: it needs the scope “histories”.", otherKey];
  if (model.service.records_events) showProfile();
  else $("profile").replaceChildren();
  $("profile").append(h("p", { className: "note" }, ...text));
}

/** The user's ratings: the best first, or to be changed, with what was changed here before the others. */
function showProfile(focusOn = null) {
  const ratings = theirs?.ratings ?? [];
  const changes = state.rate ? changesOf(state.user) : [];
  const others = ratings.filter(({ item_id }) => !changes.some((change) => change.item_id === item_id));
  const title = scale.implicit ? `Chosen ${noun}s` : ratings.length && !state.rate ? "Highest rated" : "Ratings";
  const label = state.rate ? "Done" : ratings.length ? "Change" : `${scale.implicit ? "Choose" : "Rate"} ${noun}s`;
  const turn = h("button", { className: "plain", onclick: () => go({ rate: state.rate ? null : "1" }, true) }, label);
  const rows = ratedList(changes, others, state.rate ? changeableRow : (item) => ratedRow(scale, item));
  $("profile").replaceChildren(
    h("div", { className: "bar" }, h("h2", {}, title), model.service.records_events ? turn : ""),
    h("p", { className: "quiet", id: "n-ratings" }, howMany()), ...rows);
  if (state.rate) suggest([...changes, ...ratings]);
  const row = [...$("profile").querySelectorAll("[data-changed]")].find(({ dataset }) => dataset.changed === focusOn)?.closest("li");
  (row?.querySelector(":checked") ?? row?.querySelector("input, button"))?.focus();
}

function howMany() {
  if (!theirs) return model.service.expose_user_ratings ? scale.implicit ? "Nothing chosen yet." : "No ratings yet." : "";
  const mean = theirs.mean_rating === null || scale.implicit ? "" : `, ${theirs.mean_rating.toFixed(scale.digits)} on average`;
  return count(theirs.n_ratings, scale.implicit ? noun : "rating") + mean;
}

function changeableRow(item) {
  const user = state.user;
  return changeRow(scale, item, {
    rate(rating, before) {
      record(user, item, rating, before);
      if (rating === null || before === null) showProfile(item.item_id);
    },
    remove() {
      unlist(item);
      showProfile();
      $("search").focus();
    },
    done: () => $("search").focus(),
  });
}

/** Show what is saved, and what follows from it: the next answer counts it. */
export function showChanges(acknowledged) {
  if (!state.user) return;
  showStates(changesOf(state.user));
  if (!acknowledged.some(({ user_id }) => user_id === state.user)) return;
  $("status").textContent = "Saved.";
  recommend();
  if (model.service.expose_user_ratings) newest("user", countAgain);
}

/** Only count them: rows that are being changed stay where they are. */
async function countAgain(ask) {
  await askForRatings(ask);
  if ($("n-ratings")) $("n-ratings").textContent = howMany();
  else showProfile();
}

async function askForRatings(ask) {
  theirs = await ask(`users/${segment(state.user)}?limit=1000`);
  if (scale.implicit) for (const item of theirs.ratings) item.rating = scale.high; // chosen; others are null
  if (theirs.ratings.length === theirs.n_ratings) reconcile(state.user, theirs.ratings);
}

/** List a title to be rated; one of implicit feedback is recorded at once. */
export function list(item) {
  const current = ratingOf(item);
  if (scale.implicit && current === null) record(state.user, item, scale.high, null);
  else choose(state.user, item, current);
  showProfile(scale.implicit ? null : item.item_id);
  if (scale.implicit) $("search").focus();
}

/** What the user gave to an item; null if nothing, or if it is not known. */
export function ratingOf({ item_id }) {
  const find = (items) => items.find((item) => item.item_id === item_id);
  return (find(changesOf(state.user)) ?? find(theirs?.ratings ?? []))?.rating ?? null;
}

export function withdraw(item) {
  record(state.user, item, null, ratingOf(item));
  showProfile();
}

/** The stars by which the user's rating of an item is changed in the panel. */
export function panelStars(item, rating) {
  const saved = changesOf(state.user).find(({ item_id }) => item_id === item.item_id);
  const { picker, end, state: status } = ratingControls(scale, { ...item, rating, state: saved?.state }, {
    rate(given, before) {
      record(state.user, item, given, before);
      showProfile();
      if (given === null) node.replaceWith(panelStars(item, null));
    },
  });
  const node = h("span", { className: "give" }, picker, status, end);
  return node;
}

