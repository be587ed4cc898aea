// Recommendations for whoever is shown, with the reasons and the distribution of the predictions.

import { drop, newest } from "./api.js";
import { given, mine } from "./new_user.js";
import { $, FILTERS, model, noun, scale, state, usual } from "./state.js";
import { count, h, histogram, name, note, plainId, recommendation, roughly, segment } from "./view.js";

let otherModel = () => {};

/** Call `work()` when an answer is of another model than the page. */
export function onOtherModel(work) {
  otherModel = work;
}

export function recommend() {
  drop("recommendations");
  if (state.isNew && !mine.some(({ rating }) => rating !== null)) return prompt(`${scale.implicit ? "Choose" : "Rate"} ${noun === "item" ? "an item" : "a title"} to get recommendations.`);
  if (!state.isNew && !state.user) return prompt("Enter a user id to get recommendations.");
  $("results").ariaBusy = "true";
  newest("recommendations", showRecommendations, () => prompt("No recommendations: see the message above."));
}

function prompt(text) {
  $("results").ariaBusy = "false";
  $("distribution").hidden = true;
  $("recommendations").replaceChildren();
  note($("notes"), text);
}

async function showRecommendations(ask) {
  const rated = mine.filter(({ rating }) => rating !== null).reverse(); // in the order of rating
  const answer = state.isNew
    ? await ask("recommendations/", { ...query(true), ratings: rated.map(given) })
    : await ask(`users/${segment(state.user)}/recommendations?${new URLSearchParams(query(model.service.expose_user_ratings && model.fold_in !== "none"))}`);
  if (answer.model_version !== model.model_version) otherModel();
  const items = answer.recommendations;
  $("recommendations").replaceChildren(...items.map((item) => recommendation(scale, item, model.service.constant_std, state.isNew || state.rate ? ["you", "your"] : ["they", "their"])));
  $("notes").replaceChildren(...notes(answer, rated).map((text) => h("p", { className: "note" }, text)));
  showDistribution(answer.distribution, items);
  $("results").ariaBusy = "false";
  $("status").textContent = items.length ? `${count(items.length, "recommendation")}, the first: ${name(items[0])}.` : "No recommendations.";
}

/** The filters under the API's names. */
function query(explain) {
  const { order, genre, from, to, min, k } = { ...usual, ...Object.fromEntries(FILTERS.filter((key) => state[key]).map((key) => [key, state[key]])) };
  const year = (text) => (text === undefined ? text : Number(text)); // the body needs numbers, the URL has text
  const all = { k: Number(k), genre, year_from: year(from), year_to: year(to), min_ratings: state.min || !model.ranking ? Number(min) : undefined, rank_by: state.order ? order : undefined, explain, distribution: true };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function notes({ cold_start, recommendations, unknown_items = [] }, rated) {
  const lines = [];
  const who = state.isNew ? "you" : `user ${plainId(state.user)}`;
  if (cold_start) lines.push(`Nothing is known of ${who} yet: this is what most people like${Object.keys(model.service.attributes).length ? ", or people with the same attributes" : ""}.`);
  const others = unknown_items.length < rated.length ? "; the others count" : "";
  if (unknown_items.length) lines.push(`The model does not know ${unknown_items.map((i) => name(rated[i])).join(", ")}${others}.`);
  if (!recommendations.length) lines.push(`No other ${noun} passes the filters. Try more years, another genre or fewer ${scale.implicit ? "choices" : "ratings"}.`);
  return lines;
}

function showDistribution(distribution, items) {
  $("distribution").hidden = !distribution;
  if (!distribution) return;
  const lowest = Math.min(...items.map(({ rating, score }) => rating ?? score));
  const { constant_std: std } = model.service;
  $("usual-error").textContent = std === null ? "" : `Ratings are mostly within ${roughly(scale, std)} of what is predicted.`;
  $("histogram").replaceChildren(...histogram(distribution, lowest, noun).filter(Boolean));
}
