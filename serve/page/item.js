// The panel of an item and its neighbours.

import { drop, newest, showErrorsIn } from "./api.js";
import { choose, given as ratingOfMine, mine, rate, removeMine, showMine } from "./new_user.js";
import { $, model, noun, scale, state } from "./state.js";
import { howOften } from "./search.js";
import { list, panelStars, ratingOf, withdraw } from "./user.js";
import { facts, given, h, name, neighbour, plainId, segment, spread, starPicker, stars } from "./view.js";

export function showItem() {
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
    prediction(ask),
  ]);
  const mean = item.mean_rating === null ? null : [stars(scale, item.mean_rating), `${item.mean_rating.toFixed(scale.digits)} on average`];
  const heading = h("h2", { id: "item-name", tabIndex: -1 }, name(item));
  const current = givenTo(item);
  const value = predicted && [stars(scale, predicted.rating), predicted.rating.toFixed(scale.digits), spread(scale, predicted.rating_std, model.service.constant_std)];
  const expected = value && current === null ? fact(`${whoWould(predicted)} would give`, value) : null;
  $("item-body").replaceChildren(
    heading,
    h("p", { className: "quiet" }, facts(item)),
    h("dl", {},
      fact(scale.implicit ? "Everyone" : "Ratings", [item.n_ratings || scale.implicit ? howOften(item) : "none yet", " "], mean),
      expected,
      current !== null && !scale.implicit && !state.isNew && !state.rate ? fact(`User ${plainId(state.user)} gave`, [stars(scale, current), given(current)]) : null,
      scale.implicit && (state.isNew || state.rate) ? fact(state.isNew ? `Your ${noun}s` : `Chosen ${noun}s`, choice(item)) : null,
      state.isNew && !scale.implicit ? fact("Your rating", starPicker(scale, item, current, { pick: (rating) => { rate(item, rating); showMine(); expected?.remove(); } })) : null,
      state.rate && !scale.implicit ? fact(`Rating of user ${plainId(state.user)}`, panelStars(item, current)) : null),
    h("h3", {}, `Similar ${noun}s`),
    similar.items.length
      ? h("ol", { className: "rated" }, similar.items.map(neighbour))
      : h("p", { className: "note" }, `The model knows nothing of this ${noun} yet.`));
  $("item-body").ariaBusy = "false";
  $("item").scrollTop = 0;
  heading.focus({ preventScroll: true });
}

/** What whoever is shown would give to the item, if they are known and the model predicts stars. */
function prediction(ask) {
  if (model.task !== "rating") return null;
  if (state.user) return ask("predict/rating/", { user_id: state.user, item_id: state.item });
  const ratings = mine.filter(({ rating }) => rating !== null).reverse().map(ratingOfMine);
  return ratings.length ? ask("predict/rating/", { ratings, item_id: state.item }) : null;
}

function whoWould({ cold_start }) {
  if (state.isNew || state.rate) return "You";
  return cold_start ? "The average person" : `User ${plainId(state.user)}`;
}

/** What whoever is shown gave to an item; null if nothing, or if it is not known. */
const givenTo = (item) => (state.isNew ? mine.find(({ item_id }) => item_id === item.item_id)?.rating ?? null : ratingOf(item));

/** A button that adds a title of implicit feedback, or removes it. */
function choice(item) {
  function turn() {
    if (givenTo(item) === null) state.isNew ? choose(item) : list(item);
    else state.isNew ? removeMine(mine.find(({ item_id }) => item_id === item.item_id)) : withdraw(item);
    label();
  }
  const button = h("button", { onclick: turn });
  const label = () => (button.textContent = givenTo(item) === null ? "Add" : "Remove");
  label();
  return button;
}

const fact = (term, ...value) => h("div", {}, h("dt", {}, term), h("dd", {}, ...value));
