// Someone new: what they rate is in this tab, until they save it under a name.

import { newest } from "./api.js";
import { recommend } from "./recommendations.js";
import { listSaved, newEvent } from "./recording.js";
import { $, go, model, noun, scale, state } from "./state.js";
import { suggest } from "./suggestions.js";
import { count, h, listed, name, plainId, segment, starPicker } from "./view.js";

const LARGEST_NAME = 10 ** 9; // suggested where users are numbers

export let mine = []; // [{item_id, title, year, rating}] latest first; rating null: not rated yet

const storageKey = () => `recsys ratings of ${model.data}`;

export function loadMine() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(storageKey()));
    mine = Array.isArray(stored) ? stored.filter((item) => typeof item?.item_id === "string" && typeof item.title === "string") : [];
    fitMine();
  } catch {
    mine = []; // storage is disabled or has other content: start over
  }
}

/** Drop ratings that the scale does not have: they were given to another model. */
export function fitMine() {
  const fits = (rating) => typeof rating === "number" && rating >= scale.low && rating <= scale.high;
  for (const item of mine) item.rating = scale.implicit ? scale.high : fits(item.rating) ? item.rating : null;
}

/** A rating as the service takes it; implicit feedback has no stars. */
export const given = ({ item_id, rating }) => (scale.implicit ? { item_id } : { item_id, rating });

function saveMine() {
  try {
    sessionStorage.setItem(storageKey(), JSON.stringify(mine));
  } catch {
    // without storage, ratings are lost with the page
  }
}

export function showMine(focusOn = null) {
  const rows = mine.map((item) => {
    const picker = scale.implicit ? null : starPicker(scale, item, item.rating, { pick: (rating) => rate(item, rating), done: () => $("search").focus() });
    const remove = h("button", { className: "plain", "aria-label": `Remove ${name(item)}`, onclick: () => removeMine(item) }, "Remove");
    const row = h("li", {}, listed(item), picker ? h("span", { className: "give" }, picker, remove) : remove);
    if (picker && item.item_id === focusOn) queueMicrotask(() => (picker.querySelector(":checked") ?? picker.querySelector("input")).focus());
    return row;
  });
  const clear = h("button", { className: "plain", onclick: clearMine }, "Remove all");
  suggest(mine);
  showNameForm();
  $("given").replaceChildren(...(rows.length ? [h("div", { className: "bar" }, h("h2", {}, scale.implicit ? `Your ${noun}s` : "Your ratings"), clear), h("ul", { className: "rated" }, rows)] : []));
}

export function choose(item) {
  const rating = scale.implicit ? scale.high : null;
  if (!mine.some(({ item_id }) => item_id === item.item_id)) mine = [{ item_id: item.item_id, title: item.title, year: item.year, rating }, ...mine];
  saveMine();
  showMine(item.item_id);
  if (!scale.implicit) return;
  $("search").focus();
  recommend();
}

export function rate(item, rating) {
  if (!mine.some(({ item_id }) => item_id === item.item_id)) choose(item);
  mine.find(({ item_id }) => item_id === item.item_id).rating = rating;
  saveMine();
  showNameForm();
  recommend();
}

export function removeMine(item) {
  mine = mine.filter((other) => other !== item);
  saveMine();
  showMine();
  $("search").focus();
  recommend();
}

function clearMine() {
  mine = [];
  saveMine();
  showMine();
  $("search").focus();
  recommend();
}

// ---- A name

function showNameForm() {
  const canSave = model.service.records_events && mine.some(({ rating }) => rating !== null);
  $("name-form").hidden = !state.isNew || !canSave;
  if (model.id_kind === "int") $("name").value ||= String(Math.ceil(Math.random() * LARGEST_NAME));
}

/** Record the new user's ratings under a name; they are a user from then on. */
export function saveUnderName(event) {
  event.preventDefault();
  const user = $("name").value.trim();
  const fault = faultOfName(user);
  sayOfName(fault);
  if (fault) return;
  const rated = mine.filter(({ rating }) => rating !== null);
  const events = rated.map((item) => newEvent(user, item, item.rating)).reverse(); // in the order of rating
  let isFree = false;
  newest("name", async (ask) => {
    $("name-form").ariaBusy = "true";
    isFree ||= await isUnknown(ask, user); // not when trying again: the events may have arrived
    $("name-form").ariaBusy = "false";
    if (!isFree) return sayOfName("This name is taken. Choose another one.");
    await ask("events/", { events });
    listSaved(user, rated);
    mine = [];
    saveMine();
    go({ isNew: false, user, rate: "1" });
    $("status").textContent = `Saved: ${count(rated.length, scale.implicit ? noun : "rating")} of ${plainId(user)}.`;
    $("search").focus();
  }, () => ($("name-form").ariaBusy = "false"));
}

function faultOfName(text) {
  if (!text) return "Enter a name.";
  return model.id_kind === "int" && !/^(0|[1-9][0-9]{0,17})$/.test(text) ? "Enter a whole number." : null;
}

export function sayOfName(fault) {
  $("name-fault").textContent = fault ?? "";
  $("name").ariaInvalid = String(fault !== null);
  if (fault) $("name").focus();
}

/** Whether nobody has this name, as far as the service tells. */
async function isUnknown(ask, user) {
  const path = `users/${segment(user)}`;
  if (!model.service.expose_user_ratings) return (await ask(`${path}/recommendations?k=1`)).cold_start;
  try {
    await ask(`${path}?limit=1`);
    return false;
  } catch (error) {
    if (error.status === 404) return true;
    throw error;
  }
}

