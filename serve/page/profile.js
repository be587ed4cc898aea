// The ratings of a user: a list to read, or one to change.

import { h, listed, name, starPicker } from "./view.js";

const SHOWN = 5; // ratings before "Show more"
const STATES = { saving: "Saving…", waiting: "Not saved yet", saved: "Saved", refused: "Not saved" };

/** A list of items, each drawn by `row(item)`: `first`, the first few of `others`, and a button for the rest. */
export function ratedList(first, others, row) {
  const list = h("ol", { className: "rated" }, first.map(row), others.slice(0, SHOWN).map(row));
  const rest = others.slice(SHOWN);
  const more = h("button", { className: "plain", onclick: showMore }, `Show ${rest.length} more`);
  function showMore() {
    const rows = rest.map(row);
    list.append(...rows);
    rows[0].querySelector("a, button").focus();
    more.remove();
  }
  return rest.length ? [list, more] : [list];
}

/**
 * What changes a rating: stars, a button that withdraws it, and whether that is saved. `change` is of recording.js, or a
 * rating of the service; `rate(rating, before)` records one, null to withdraw it; `done()` follows Enter in the stars;
 * `remove()` takes a title off that is not rated.
 */
export function ratingControls(scale, change, { rate, done, remove }) {
  let given = change.rating;
  const state = h("small", { "data-changed": change.item_id });
  const end = h("button", { className: "plain", onclick: () => (given === null ? remove() : rate(null, given)) });
  function label() {
    end.textContent = given === null ? "Remove" : "Withdraw";
    end.ariaLabel = `${end.textContent} ${name(change)}`;
    end.hidden = given === null && !remove;
  }
  function pick(rating) {
    rate(rating, given);
    given = rating;
    label();
  }
  label();
  showState(state, change.state);
  const picker = scale.implicit ? null : starPicker(scale, change, given, { pick, done });
  return { picker, end, state };
}

/** A row of the list to change; a withdrawn rating can be given again. */
export function changeRow(scale, change, actions) {
  const about = listed(change);
  const { picker, end, state } = ratingControls(scale, change, actions);
  if (change.rating !== null || change.before === null || change.before === undefined) {
    return h("li", {}, about, state, h("span", { className: "give" }, picker, end));
  }
  const undo = h("button", { className: "plain", "aria-label": `Undo: ${name(change)}`, onclick: () => actions.rate(change.before, null) }, "Undo");
  return h("li", { className: "withdrawn" }, about, state, h("span", { className: "give" }, h("span", { className: "quiet" }, "Withdrawn"), undo));
}

/** Update what is said of whether changes are saved. */
export function showStates(changes) {
  const states = new Map(changes.map(({ item_id, state }) => [item_id, state]));
  for (const node of document.querySelectorAll("[data-changed]")) showState(node, states.get(node.dataset.changed));
}

function showState(node, state) {
  node.textContent = STATES[state] ?? "";
  node.className = `state ${state ?? ""}`;
}
