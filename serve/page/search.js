// A combobox following the ARIA pattern: the focus stays in the field, and arrow keys move through the results.

import { noun, scale } from "./state.js";
import { count, facts, h, name, plainId } from "./view.js";

const PAUSE = 150; // debounce in ms

/** How many people have rated or chosen an item. */
export const howOften = ({ n_ratings: n }) => (scale.implicit ? `chosen ${n === 1 ? "once" : count(n, "time")}` : count(n, "rating"));

/** Search while typing; `find(query, show)` calls `show` with items, and `choose(item)` is called on a selection. */
export function setUpSearch(input, list, hint, { find, choose }) {
  const resting = hint.textContent;
  let items = [];
  let active = -1;
  let timer;

  const close = () => show([]);

  function show(found) {
    items = found;
    list.replaceChildren(...items.map(option));
    list.hidden = items.length === 0;
    input.ariaExpanded = String(!list.hidden);
    move(items.length ? 0 : -1);
  }

  function option(item, i) {
    const id = item.item_id === input.value.trim() && item.title !== item.item_id ? `id ${plainId(item.item_id)}` : "";
    const about = [id, facts(item), howOften(item)].filter(Boolean).join(" · ");
    const node = h("li", { id: `found-${i}`, role: "option" }, h("span", {}, name(item)), h("small", {}, about));
    node.onpointerdown = (event) => event.preventDefault(); // keep the focus in the field
    node.onclick = () => pick(i);
    return node;
  }

  function move(to) {
    active = to;
    [...list.children].forEach((node, i) => (node.ariaSelected = String(i === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (active < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `found-${active}`);
  }

  function pick(i) {
    const item = items[i];
    input.value = "";
    hint.textContent = resting;
    close();
    choose(item);
  }

  function ask() {
    const query = input.value.trim();
    if (!query) {
      hint.textContent = resting;
      return close();
    }
    find(query, (found) => {
      if (document.activeElement !== input) return;
      show(found);
      hint.textContent = found.length ? `${count(found.length, noun)} found.` : `No ${noun} matches “${query}”.`;
    });
  }

  input.oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  };
  input.onblur = close;
  input.onfocus = ask;
  input.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && items.length) move((active + step + items.length) % items.length);
    else if (event.key === "Enter" && active >= 0) pick(active);
    else if (event.key === "Escape" && items.length) close();
    else return;
    event.preventDefault();
  };
}
