// Titles that many have rated, for someone who has rated few.

import { newest } from "./api.js";
import { $, scale } from "./state.js";
import { h, name } from "./view.js";

const SUGGESTED = 8; // titles
const ENOUGH = 5; // ratings after which none are suggested

let popular = []; // items, the most rated first
let rated = [];
let choose = () => {};

/** Call `work(item)` for a suggested title that is chosen. */
export function onSuggested(work) {
  choose = work;
}

/** Forget the titles: those of another model may be others. */
export function dropSuggestions() {
  popular = [];
}

/** Suggest the most rated titles that are not among those listed. */
export function suggest(listed) {
  rated = listed;
  if (popular.length) show();
  else newest("popular", load);
}

async function load(ask) {
  popular = (await ask(`items?limit=${SUGGESTED + ENOUGH}`)).items;
  show();
}

function show() {
  const others = popular.filter(({ item_id }) => !rated.some((item) => item.item_id === item_id)).slice(0, SUGGESTED);
  const chips = others.map((item) => h("button", { type: "button", onclick: () => choose(item) }, name(item)));
  const isShown = rated.length < ENOUGH && chips.length;
  $("popular").replaceChildren(...(isShown ? [h("h2", {}, scale.implicit ? "Most chosen" : "Most rated"), h("div", { className: "chips" }, chips)] : []));
}
