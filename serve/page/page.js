// The page: the URL holds the state, and `show()` renders it. Requests to the service are in api.js.

import { drop, newest, showErrorsIn } from "./api.js";
import { keepKey, onKey, useAnotherKey } from "./key.js";
import { setUpSearch } from "./search.js";
import { count, facts, h, histogram, itemLink, name, neighbour, plain, plainId, ratedRow, recommendation, segment, starPicker, spread, starScale, stars } from "./view.js";

const $ = (id) => document.getElementById(id);
const RATED = 5; // ratings of a user shown before "Show more"
const SUGGESTED = 8; // titles suggested to a new user
const ENOUGH = 5; // ratings after which no titles are suggested
const FILTERS = ["genre", "from", "to", "min", "k"];

let model; // result of GET /model
let scale; // its rating scale
let state = {}; // state in the URL
let usual = { min: "0", k: "10" }; // default filters, omitted in the URL
let lastUser = null; // restored when switching back from the other tab
let popular = []; // items, the most rated first
let mine = []; // [{item_id, title, year, rating}] of the new user, latest first; rating null: not rated yet

// ---- The URL: #user=405&genre=Comedy, #new, each with &item=50 for the panel

function parse(hash) {
  const found = new URLSearchParams(hash.slice(1));
  const isNew = found.has("new") && model.fold_in !== "none";
  const read = { isNew, user: isNew ? null : found.get("user"), item: found.get("item") };
  for (const key of FILTERS) read[key] = found.get(key);
  return read;
}

function address(change) {
  const { isNew, user, ...rest } = { ...state, ...change };
  const who = isNew ? ["new"] : user ? [`user=${encodeURIComponent(user)}`] : [];
  const more = Object.entries(rest).filter(([, value]) => value).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  return `#${[...who, ...more].join("&")}`;
}

/** Change the state; `replace` adds no history entry, for example while typing into a filter. */
function go(change, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", address(change));
  show();
}

function show() {
  const before = state;
  state = parse(location.hash);
  lastUser = state.user ?? lastUser;
  const differs = (...keys) => keys.some((key) => before[key] !== state[key]);
  showTabs();
  for (const key of FILTERS) {
    const field = $("filters").elements[key];
    const value = state[key] ?? usual[key] ?? "";
    if (field.value !== value) field.value = value; // otherwise the caret would jump while typing
  }
  $("results-name").textContent = state.isNew ? "Recommended for you" : state.user ? `Recommended for user ${plainId(state.user)}` : "Recommended";
  if (differs("isNew", "user")) showPerson();
  if (differs("isNew", "user", ...FILTERS)) recommend();
  if (differs("item", "isNew", "user")) showItem();
}

// ---- User

function showTabs() {
  for (const [tab, selected] of [[$("tab-user"), !state.isNew], [$("tab-new"), state.isNew]]) {
    tab.ariaSelected = String(selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  $("panel").setAttribute("aria-labelledby", state.isNew ? "tab-new" : "tab-user");
  $("who-user").hidden = state.isNew;
  $("who-new").hidden = !state.isNew;
}

function showPerson() {
  $("user-id").value = state.user ?? "";
  for (const link of $("examples").querySelectorAll("a")) {
    if (link.dataset.user === state.user) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  drop("user");
  if (state.isNew) {
    showMine();
    if (!popular.length) newest("popular", loadPopular);
  } else if (!state.user) $("profile").replaceChildren();
  else if (!model.service.expose_user_ratings) showHidden();
  else newest("user", showUser, () => $("profile").replaceChildren());
}

async function showUser(ask) {
  let user;
  $("profile").ariaBusy = "true";
  try {
    user = await ask(`users/${segment(state.user)}?limit=1000`);
  } catch (error) {
    if (error.status !== 404 && error.status !== 403) throw error;
    return note($("profile"), error.message);
  } finally {
    $("profile").ariaBusy = "false";
  }
  const list = h("ol", { className: "rated" }, user.ratings.map((item) => ratedRow(scale, item)));
  const hidden = [...list.children].slice(RATED);
  hidden.forEach((row) => (row.hidden = true));
  const more = h("button", { className: "plain", onclick: showMore }, `Show ${hidden.length} more`);
  function showMore() {
    hidden.forEach((row) => (row.hidden = false));
    hidden[0].querySelector("a").focus();
    more.remove();
  }
  const mean = user.mean_rating === null ? "" : `, ${user.mean_rating.toFixed(scale.digits)} on average`;
  $("profile").replaceChildren(
    h("h2", {}, scale.implicit ? "Chosen titles" : "Highest rated"),
    h("p", { className: "quiet" }, scale.implicit ? count(user.n_ratings, "title") : count(user.n_ratings, "rating") + mean),
    list, ...(hidden.length ? [more] : []));
}

/** Say that users' ratings are not shown; another key may show them. */
function showHidden() {
  if ($("key-kept").hidden) return note($("profile"), "This service does not expose users' ratings.");
  const other = h("button", { className: "plain", onclick: useAnotherKey }, "Use another key");
  note($("profile"), "Users' ratings are not exposed by this service, or not to this key: it needs the scope “histories”.", other);
}

const note = (parent, ...text) => parent.replaceChildren(h("p", { className: "note" }, ...text));

// ---- New user

const storageKey = () => `recsys ratings of ${model.data}`;

function loadMine() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(storageKey()));
    mine = Array.isArray(stored) ? stored.filter((item) => typeof item?.item_id === "string" && typeof item.title === "string") : [];
    fitMine();
  } catch {
    mine = []; // storage is disabled or has other content: start over
  }
}

/** Drop ratings that the scale does not have: they were given to another model. */
function fitMine() {
  const fits = (rating) => typeof rating === "number" && rating >= scale.low && rating <= scale.high;
  for (const item of mine) item.rating = scale.implicit ? scale.high : fits(item.rating) ? item.rating : null;
}

function saveMine() {
  try {
    sessionStorage.setItem(storageKey(), JSON.stringify(mine));
  } catch {
    // without storage, ratings are lost with the page
  }
}

function showMine(focusOn = null) {
  const rows = mine.map((item) => {
    const picker = scale.implicit ? null : starPicker(scale, item, item.rating, { pick: (rating) => rate(item, rating), done: () => $("search").focus() });
    const remove = h("button", { className: "plain", "aria-label": `Remove ${name(item)}`, onclick: () => removeMine(item) }, "Remove");
    const about = h("span", {}, itemLink(item), " ", h("small", {}, item.year ?? ""));
    const row = h("li", {}, about, picker ? h("span", { className: "give" }, picker, remove) : remove);
    if (picker && item.item_id === focusOn) queueMicrotask(() => (picker.querySelector(":checked") ?? picker.querySelector("input")).focus());
    return row;
  });
  const clear = h("button", { className: "plain", onclick: clearMine }, "Remove all");
  showPopular();
  $("given").replaceChildren(...(rows.length ? [h("div", { className: "bar" }, h("h2", {}, scale.implicit ? "Your titles" : "Your ratings"), clear), h("ul", { className: "rated" }, rows)] : []));
}

async function loadPopular(ask) {
  popular = (await ask(`items?limit=${SUGGESTED + ENOUGH}`)).items;
  showPopular();
}

/** Suggest titles: the most rated ones that are not rated yet. */
function showPopular() {
  const others = popular.filter(({ item_id }) => !mine.some((item) => item.item_id === item_id)).slice(0, SUGGESTED);
  const chips = others.map((item) => h("button", { type: "button", onclick: () => choose(item) }, name(item)));
  $("popular").replaceChildren(...(mine.length < ENOUGH && chips.length ? [h("h2", {}, scale.implicit ? "Most chosen" : "Most rated"), h("div", { className: "chips" }, chips)] : []));
}

function choose(item) {
  const rating = scale.implicit ? scale.high : null;
  if (!mine.some(({ item_id }) => item_id === item.item_id)) mine = [{ item_id: item.item_id, title: item.title, year: item.year, rating }, ...mine];
  saveMine();
  showMine(item.item_id);
  if (!scale.implicit) return;
  $("search").focus();
  recommend();
}

function rate(item, rating) {
  if (!mine.some(({ item_id }) => item_id === item.item_id)) choose(item);
  mine.find(({ item_id }) => item_id === item.item_id).rating = rating;
  saveMine();
  recommend();
}

function removeMine(item) {
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

// ---- Recommendations

function recommend() {
  drop("recommendations");
  if (state.isNew && !mine.some(({ rating }) => rating !== null)) return prompt(`${scale.implicit ? "Choose" : "Rate"} a title to get recommendations.`);
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
  const rated = mine.filter(({ rating }) => rating !== null);
  const answer = state.isNew
    ? await ask("recommendations/", { ...query(true), ratings: rated.map(({ item_id, rating }) => ({ item_id, rating })) })
    : await ask(`users/${segment(state.user)}/recommendations?${new URLSearchParams(query(model.service.expose_user_ratings && model.fold_in !== "none"))}`);
  if (answer.model_version !== model.model_version) newest("model", loadModel); // another model was swapped in
  const items = answer.recommendations;
  $("recommendations").replaceChildren(...items.map((item) => recommendation(scale, item, state.isNew ? "you" : "they")));
  $("notes").replaceChildren(...notes(answer, rated).map((text) => h("p", { className: "note" }, text)));
  showDistribution(answer.distribution, items);
  $("results").ariaBusy = "false";
  $("status").textContent = items.length ? `${count(items.length, "recommendation")}, the first: ${name(items[0])}.` : "No recommendations.";
}

/** The filters under the API's names. */
function query(explain) {
  const { genre, from, to, min, k } = { ...usual, ...Object.fromEntries(FILTERS.filter((key) => state[key]).map((key) => [key, state[key]])) };
  const year = (text) => (text === undefined ? text : Number(text)); // the body needs numbers, the URL has text
  const all = { k: Number(k), genre, year_from: year(from), year_to: year(to), min_ratings: Number(min), explain, distribution: true };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function notes({ cold_start, recommendations, unknown_items = [] }, rated) {
  const lines = [];
  if (cold_start) lines.push(`The model was not trained on user ${plainId(state.user)}: these are the predictions for an average user${Object.keys(model.service.attributes).length ? ", or one with their attributes" : ""}.`);
  if (unknown_items.length) lines.push(`The model was not trained on ${unknown_items.map((i) => name(rated[i])).join(", ")}; the other ratings are used.`);
  if (!recommendations.length) lines.push("No unrated title passes the filters. Try more years, another genre or fewer ratings.");
  return lines;
}

function showDistribution(distribution, items) {
  $("distribution").hidden = !distribution;
  if (!distribution) return;
  const lowest = Math.min(...items.map(({ rating, score }) => rating ?? score));
  $("histogram").replaceChildren(...histogram(distribution, lowest).filter(Boolean));
}

// ---- An item and its neighbours

function showItem() {
  drop("item");
  showErrorsIn(state.item ? $("item") : document.querySelector("main"));
  if (!state.item) return $("item").close();
  $("item-body").ariaBusy = "true";
  if (!$("item").open) {
    $("item-body").replaceChildren(h("h2", { id: "item-name" }, "…"));
    $("item").showModal();
  }
  newest("item", fillItem, () => $("item-body").replaceChildren(h("h2", { id: "item-name" }, `Item ${plainId(state.item)}`)));
}

async function fillItem(ask) {
  const path = `items/${segment(state.item)}`;
  const [item, similar, predicted] = await Promise.all([
    ask(path), ask(`${path}/similar?k=12`),
    state.user && model.task === "rating" ? ask("predict/rating/", { user_id: state.user, item_id: state.item }) : null,
  ]);
  const mean = item.mean_rating === null || scale.implicit ? null : [stars(scale, item.mean_rating), `${item.mean_rating.toFixed(scale.digits)} on average`];
  const heading = h("h2", { id: "item-name", tabIndex: -1 }, name(item));
  const current = mine.find(({ item_id }) => item_id === item.item_id)?.rating;
  $("item-body").replaceChildren(
    heading,
    h("p", { className: "quiet" }, facts(item)),
    h("dl", {},
      fact("Ratings", item.n_ratings ? [count(item.n_ratings, "rating"), " "] : ["none yet"], mean),
      predicted && fact(`Predicted for ${predicted.cold_start ? "an average user" : `user ${plainId(state.user)}`}`, [stars(scale, predicted.rating), predicted.rating.toFixed(scale.digits), spread(scale, predicted.rating_std)]),
      state.isNew && scale.implicit ? fact("Your titles", choice(item)) : null,
      state.isNew && !scale.implicit ? fact("Your rating", starPicker(scale, item, current, { pick: (rating) => { rate(item, rating); showMine(); } })) : null),
    h("h3", {}, "Similar titles"),
    similar.items.length
      ? h("ol", { className: "rated" }, similar.items.map(neighbour))
      : h("p", { className: "note" }, "The model was not trained on this title, so it has no similar titles."));
  $("item-body").ariaBusy = "false";
  $("item").scrollTop = 0;
  heading.focus({ preventScroll: true });
}

/** A button that adds a title of implicit feedback to the new user's, or removes it. */
function choice(item) {
  const chosen = () => mine.find(({ item_id }) => item_id === item.item_id);
  const button = h("button", { onclick: () => (chosen() ? removeMine(chosen()) : choose(item), label()) });
  const label = () => (button.textContent = chosen() ? "Remove" : "Add");
  label();
  return button;
}

const fact = (term, ...value) => h("div", {}, h("dt", {}, term), h("dd", {}, ...value));

// ---- Start

function showModel() {
  const { metrics = {}, counts = {}, service } = model;
  document.title = `recsys · ${plain(model.data)}`;
  $("model-name").textContent = model.model;
  $("model-data").textContent = model.data;
  $("model-version").textContent = model.model_version;
  const [label, figure] = model.task === "ranking" ? ["Test NDCG@10", metrics?.["ranking/ndcg@10"]] : ["Test RMSE", metrics?.["test/rmse"]];
  $("metric-name").textContent = label;
  $("metric").textContent = Number.isFinite(figure) ? figure.toFixed(4) : "not measured";
  $("counts").textContent = ["ratings", "users", "items"].filter((key) => counts[key]).map((key) => count(counts[key], key.slice(0, -1))).join(", ");
  $("search-hint").textContent = scale.implicit ? "Choose titles that you know." : "Choose a title, then rate it.";
  $("no-new").hidden = model.fold_in !== "none";
  $("tab-new").hidden = model.fold_in === "none";
  $("genre-field").hidden = service.genres.length === 0;
  const genre = $("filters").elements.genre;
  genre.replaceChildren(genre.options[0], ...service.genres.map((name) => h("option", { selected: name === state.genre }, name)));
  for (const label of document.querySelectorAll(".year")) label.hidden = !service.years;
  if (service.years) [$("filters").elements.from.placeholder, $("filters").elements.to.placeholder] = service.years;
  const typical = counts.ratings / counts.items || 0; // titles with few ratings are predicted high by chance: exclude them by default
  usual.min = String(Math.min(20, Math.floor(typical / 4)));
  if (model.id_kind === "int") $("user-id").inputMode = "numeric";
  $("examples").replaceChildren(...service.example_users.slice(0, 6).map((user) => h("a", { href: `#user=${encodeURIComponent(user)}`, "data-user": user }, plainId(user))));
}

function setUp() {
  const tabs = [$("tab-user"), $("tab-new")];
  tabs[0].onclick = () => state.isNew && go({ isNew: false, user: lastUser, item: null });
  tabs[1].onclick = () => state.isNew || go({ isNew: true, user: null, item: null });
  document.querySelector("[role=tablist]").onkeydown = ({ key }) => {
    if (!["ArrowLeft", "ArrowRight"].includes(key) || tabs[1].hidden) return;
    const other = tabs[state.isNew ? 0 : 1];
    other.click();
    other.focus();
  };
  $("user-form").onsubmit = (event) => {
    event.preventDefault();
    const id = $("user-id").value;
    go({ isNew: false, user: model.id_kind === "int" ? id.trim() : id });
  };
  let timer;
  $("filters").oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(readFilters, 250);
  };
  $("filters").onchange = () => $("filters").reportValidity();
  $("filters").onsubmit = (event) => event.preventDefault();
  $("item-close").onclick = () => $("item").close();
  $("item").onclose = () => state.item && go({ item: null });
  $("item").onclick = ({ target }) => target === $("item") && $("item").close(); // beside the panel
  document.addEventListener("click", keepState);
  addEventListener("hashchange", show);
  setUpSearch($("search"), $("found"), $("search-hint"), { choose, find });
}

function readFilters() {
  const form = $("filters");
  if (!form.checkValidity()) return; // half typed; reported when leaving the field
  const chosen = FILTERS.map((key) => [key, form.elements[key].value]);
  go(Object.fromEntries(chosen.map(([key, value]) => [key, value === usual[key] ? null : value || null])), true);
}

const find = (query, show) => newest("search", async (ask) => show((await ask(`items?${new URLSearchParams({ query, limit: 12 })}`)).items));

/** Links contain only the item or the user; keep the rest of the URL. */
function keepState(event) {
  const link = event.target.closest("a[data-item], a[data-user], #skip");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.id === "skip") $("panel").focus();
  else if (link.dataset.user) go({ user: link.dataset.user });
  else go({ item: link.dataset.item });
}

async function loadModel(ask) {
  model = await ask("model");
  scale = starScale(model.rating_scale, model.service.rating_step, { lowest: model.service.lowest_rating ?? undefined, implicit: model.service.implicit });
  fitMine(); // given to the model before, if another one was swapped in
  popular = [];
  showModel();
}

onKey((key) => ($("key-kept").hidden = key === null));
$("forget-key").onclick = () => {
  keepKey(null);
  location.reload();
};
newest("model", async (ask) => {
  await loadModel(ask);
  loadMine();
  setUp();
  const [example] = model.service.example_users;
  if (location.hash.length < 2 && example) history.replaceState(null, "", `#user=${encodeURIComponent(example)}`);
  document.body.classList.add("ready");
  show();
});
