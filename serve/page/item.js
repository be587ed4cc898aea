// The panel of an item and its neighbours.

import { drop, newest, showErrorsIn } from "./api.js";
import { choose, mine, rate, removeMine, showMine } from "./new_user.js";
import { $, model, scale, state } from "./state.js";
import { list, panelStars, ratingOf, withdraw } from "./user.js";
import { count, facts, h, name, neighbour, plainId, segment, spread, starPicker, stars } from "./view.js";

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
    state.user && model.task === "rating" ? ask("predict/rating/", { user_id: state.user, item_id: state.item }) : null,
  ]);
  const mean = item.mean_rating === null || scale.implicit ? null : [stars(scale, item.mean_rating), `${item.mean_rating.toFixed(scale.digits)} on average`];
  const heading = h("h2", { id: "item-name", tabIndex: -1 }, name(item));
  const current = givenTo(item);
  $("item-body").replaceChildren(
    heading,
    h("p", { className: "quiet" }, facts(item)),
    h("dl", {},
      fact("Ratings", item.n_ratings ? [count(item.n_ratings, "rating"), " "] : ["none yet"], mean),
      predicted && fact(`Predicted for ${predicted.cold_start ? "an average user" : `user ${plainId(state.user)}`}`, [stars(scale, predicted.rating), predicted.rating.toFixed(scale.digits), spread(scale, predicted.rating_std)]),
      scale.implicit && (state.isNew || state.rate) ? fact(state.isNew ? "Your titles" : "Chosen titles", choice(item)) : null,
      state.isNew && !scale.implicit ? fact("Your rating", starPicker(scale, item, current, { pick: (rating) => { rate(item, rating); showMine(); } })) : null,
      state.rate && !scale.implicit ? fact(`Rating of user ${plainId(state.user)}`, panelStars(item, current)) : null),
    h("h3", {}, "Similar titles"),
    similar.items.length
      ? h("ol", { className: "rated" }, similar.items.map(neighbour))
      : h("p", { className: "note" }, "The model was not trained on this title, so it has no similar titles."));
  $("item-body").ariaBusy = "false";
  $("item").scrollTop = 0;
  heading.focus({ preventScroll: true });
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
