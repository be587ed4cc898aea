// What the page shows. It is in the URL: #user=405&genre=Comedy, #user=405&rate=1 to change ratings, #new, each with
// &item=50 for the panel. `go()` changes it, and page.js renders it.

import { nounOf, starScale } from "./view.js";

export const $ = (id) => document.getElementById(id);
export const FILTERS = ["order", "genre", "from", "to", "min", "k"];
export const usual = { order: "", min: "0", k: "10" }; // default filters, omitted in the URL

export let model; // result of GET /model
export let scale; // its rating scale
export let noun; // what its items are called
export let state = {};
let render = () => {};

export function setModel(found) {
  const { levels, implicit } = found.service;
  [model, scale, noun] = [found, starScale(found.rating_scale, levels, implicit), nounOf(found.service)];
}

/** Call `work(before)` whenever the state changes, and now. */
export function onState(work) {
  render = () => {
    const before = state;
    state = parse(location.hash);
    work(before);
  };
  addEventListener("hashchange", render);
  render();
}

function parse(hash) {
  const found = new URLSearchParams(hash.slice(1));
  const isNew = found.has("new") && model.fold_in !== "none";
  const user = isNew ? null : found.get("user");
  const read = { isNew, user, rate: user && model.service.records_events ? found.get("rate") : null, item: found.get("item") };
  for (const key of FILTERS) read[key] = found.get(key);
  if (!model.service.orders.includes(read.order)) read.order = null; // of a model before this one
  return read;
}

function address(change) {
  const { isNew, user, ...rest } = { ...state, ...change };
  const who = isNew ? ["new"] : user ? [`user=${encodeURIComponent(user)}`] : [];
  const more = Object.entries(rest).filter(([, value]) => value).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  return `#${[...who, ...more].join("&")}`;
}

/** Change the state; `replace` adds no history entry, for example while typing into a filter. */
export function go(change, replace = false) {
  const another = "user" in change ? { rate: null } : {}; // ratings are changed on purpose
  history[replace ? "replaceState" : "pushState"](null, "", address({ ...another, ...change }));
  render();
}

