// Rendering: nodes are created by script only, so that titles are always text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (or attributes, if there is no such property) and children; null children are skipped. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** Show a note in place of what is there. */
export const note = (parent, ...text) => parent.replaceChildren(h("p", { className: "note" }, ...text));

/** Text as it can be shown in one line: control characters and overrides of the writing direction become visible. */
export const plain = (text) =>
  text.replace(/[\t-\r\u0085\u2028\u2029]+/g, " ").replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** An id as it is shown: blanks at its ends, which belong to it, become visible. */
export const plainId = (id) => plain(id).replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));

/** An id as a segment of a path: browsers resolve dots even if encoded, unless encoded twice. */
export const segment = (id) => (/^\.\.?$/.test(id) ? id.replaceAll(".", "%252E") : encodeURIComponent(id));

/** What items are called: titles where they have years, as films and books do. */
export const nounOf = (service) => (service.years ? "title" : "item");

export const capital = (word) => word[0].toUpperCase() + word.slice(1);

export const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/** A rating without trailing zeros: 4, 3.5. */
export const given = (rating) => String(Math.round(rating * 100) / 100);

/** A title without the year, which is shown separately; the id of an item without a title. */
export function name({ item_id, title, year }) {
  const end = ` (${year})`;
  if (title === item_id) return plainId(title);
  return plain(year && title.endsWith(end) ? title.slice(0, -end.length) : title);
}

/** A link that opens an item; on a click page.js keeps the rest of the URL. */
const itemLink = (item) => h("a", { href: `#item=${encodeURIComponent(item.item_id)}`, "data-item": item.item_id }, name(item));

/** An item in a list: its link, and beside it the year, or what else is said of it. */
export const listed = (item, more = item.year ?? "") => h("span", {}, itemLink(item), " ", h("small", {}, more));

export const facts = ({ year, genres }) => [year, genres.join(", ")].filter(Boolean).join(" · ");

/**
 * How a rating scale is drawn (`stars`, of which `share(value)` are filled), chosen from (`steps`) and written.
 * `levels` are the ratings that people give, null if they are too many. Implicit feedback has nothing to choose: whoever
 * chose an item gave `high`. What changes a rating by less than `least` is not worth a word.
 */
export function starScale([low, high], levels = null, implicit = false) {
  const span = high - low;
  const countable = low >= 0 && high >= 2 && high <= 10;
  const stars = countable ? Math.ceil(high) : 5;
  const share = (value) => (countable ? value / stars : (value - low) / span);
  const steps = levels ?? roundSteps(low, high, countable);
  const digits = span < 2 ? 3 : span < 40 ? 2 : 1; // of a mean or a prediction
  const areMultiples = (of) => countable && steps.length * of === stars && steps.every((value, i) => value === (i + 1) * of);
  const asHalves = areMultiples(0.5);
  return { low, high, stars, share, steps, digits, asStars: asHalves || areMultiples(1), asHalves, implicit, least: span / 40 };
}

/** All `origin + n * step` from low to high. */
function multiples(low, high, step, origin = 0) {
  const first = Math.ceil((low - origin) / step - 1e-6);
  const last = Math.floor((high - origin) / step + 1e-6);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number((origin + (first + i) * step).toFixed(6)));
}

/** Round numbers, and the ends of a scale that has no stars. */
function roundSteps(low, high, countable) {
  const rough = Math.max((high - low) / 10, high - low >= 3 ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999);
  return countable ? multiples(low, high, step) : [low, ...multiples(low + step / 2, high - step / 2, step), high];
}

/** A value as filled stars; hidden from screen readers, since the number is next to it. */
export function stars(scale, value) {
  const node = h("span", { className: "stars", "aria-hidden": "true" });
  node.style.setProperty("--stars", scale.stars);
  node.style.setProperty("--share", `${100 * Math.min(1, Math.max(0, scale.share(value)))}%`);
  return node;
}

let pickers = 0;

/** A star rating input as radio buttons; digit keys select, and Enter finishes. */
export function starPicker(scale, item, current, { pick, done }) {
  const group = `stars-${++pickers}`;
  const options = scale.steps.map((step) => {
    const radio = h("input", { type: "radio", name: group, value: step, checked: step === current, onchange: () => pick(step) });
    return h("label", {}, radio, h("span", { className: "unseen" }, scale.asStars ? count(step, "star") : step), h("i", {}, scale.asStars ? "" : step));
  });
  const onkeydown = (event) => {
    const digit = options.find((option) => option.control.value === event.key);
    if (digit) digit.control.click();
    if (digit) digit.control.focus();
    if (event.key !== "Enter") return;
    event.preventDefault();
    done?.();
  };
  const legend = h("legend", { className: "unseen" }, `Your rating of ${name(item)}`);
  return h("fieldset", { className: `picker ${scale.asHalves ? "as-stars halves" : scale.asStars ? "as-stars" : "as-numbers"}`, onkeydown }, legend, options);
}

/** A number of stars for a sentence, with fewer digits than a prediction. */
export const roughly = (scale, amount) => amount.toFixed(scale.digits > 2 ? 2 : 1);

const signed = (scale, amount) => `${amount < 0 ? "\u2212" : "+"}${roughly(scale, Math.abs(amount))}`;

/** Parts in a row, as in a sentence: "Alien, Heat and Fargo". */
const row = (parts) => parts.flatMap((part, i) => [i === 0 ? "" : i === parts.length - 1 ? " and " : ", ", part].flat());

/** "Liked by everyone: 4.3 · your ratings: +0.4": what everyone gives, and what is known of this person adds. */
function baseLine(scale, { rating, base }, whose) {
  if (base === null || rating === null) return null;
  const liked = base >= scale.low + 0.75 * (scale.high - scale.low) ? "Liked by everyone" : "The average person";
  const gain = rating - base;
  const own = Math.abs(gain) < scale.least ? "" : ` · ${whose} ratings: ${signed(scale, gain)}`;
  return h("p", { className: "base quiet" }, `${liked}: ${roughly(scale, base)}${own}`);
}

/**
 * "Because you gave 5 to Alien (+0.2) and only 1 to Fargo (+0.1), although you gave 1 to Heat (−0.1)." A ranking model has no stars to tell of:
 * "Because you rated Alien"; with implicit feedback "Because you chose Alien".
 */
function reasons(scale, item, who) {
  const explanation = item.explanation ?? [];
  if (item.rating === null) {
    const verb = scale.implicit ? "chose" : "rated";
    return explanation.length ? h("p", { className: "because" }, `Because ${who} ${verb} `, row(explanation.map((one) => [itemLink(one)])), ".") : null;
  }
  const isLow = ({ rating, contribution }) => contribution > 0 && rating < (scale.low + scale.high) / 2;
  const amountOf = (one) => [`${isLow(one) ? "only " : ""}${given(one.rating)} to `, itemLink(one), h("span", { className: "amount" }, ` (${signed(scale, one.contribution)})`)];
  const [fors, against] = [1, -1].map((sign) => explanation.filter(({ contribution }) => contribution * sign > 0).map(amountOf));
  if (!explanation.length) return null;
  return h("p", { className: "because" },
    fors.length ? [`Because ${who} gave `, row(fors)] : null,
    against.length ? [fors.length ? `, although ${who} gave ` : `Against it: ${who} gave `, row(against)] : null, ".");
}

/** The predictive standard deviation, " ± 0.9"; nothing where it is not known, or the same for every title. */
export const spread = (scale, std, constant) =>
  std === null || constant !== null ? null : h("span", { className: "std", title: "how far the rating may be off" }, ` ± ${roughly(scale, std)}`);

/** A recommended item with its prediction, which a ranking model does not have, and its explanation. */
export function recommendation(scale, item, constant, [who, whose]) {
  const value = item.rating === null ? null : h("p", { className: "value" },
    h("span", { className: "unseen" }, "Predicted rating: "),
    h("span", {}, h("b", {}, item.rating.toFixed(scale.digits)), spread(scale, item.rating_std, constant)), stars(scale, item.rating));
  return h("li", { className: "card" },
    h("h3", {}, itemLink(item)),
    h("p", { className: "quiet" }, facts(item)),
    value,
    baseLine(scale, item, whose),
    reasons(scale, item, who));
}

/** A row of a list of rated items. */
export const ratedRow = (scale, item) =>
  h("li", {}, listed(item),
    scale.implicit ? null : h("span", { className: "value" }, stars(scale, item.rating), h("b", {}, given(item.rating))));

/** A similar item. */
export const neighbour = (item) => h("li", {}, listed(item, facts(item)));

/** Histogram of predicted ratings; bars from `best`, the lowest recommended rating, are marked. */
export function histogram({ edges, counts }, best, noun) {
  const total = counts.reduce((a, b) => a + b, 0);
  const highest = Math.max(...counts, 1);
  const svg = document.createElementNS(SVG, "svg");
  const [low, high, middle] = [edges[0], edges.at(-1), median(edges, counts, total)].map((edge) => given(edge));
  const summary = `Half of the ${count(total, noun)} are predicted below ${middle}.`;
  const attributes = { viewBox: `0 0 ${counts.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `Histogram from ${low} to ${high}. ${summary}` };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  svg.append(...counts.map((n, i) => bar(i, n, (100 * n) / highest, edges, noun, i + 1 === counts.length || edges[i + 1] > best)));
  const marks = [edges[0], (edges[0] + edges.at(-1)) / 2, edges.at(-1)].map((edge) => h("span", {}, given(edge)));
  const key = Number.isFinite(best) ? h("p", { className: "quiet key" }, "As high as this list, or higher") : null;
  return [svg, h("div", { className: "axis", "aria-hidden": "true" }, marks), h("p", {}, summary), key];
}

function bar(i, n, height, edges, noun, marked) {
  const rect = document.createElementNS(SVG, "rect");
  const shown = n ? Math.max(height, 1.5) : 0; // keep a single title visible
  const attributes = { x: i + 0.06, y: 100 - shown, width: 0.88, height: shown, class: marked ? "marked" : "" };
  for (const [key, value] of Object.entries(attributes)) rect.setAttribute(key, value);
  const tip = document.createElementNS(SVG, "title");
  tip.textContent = `${given(edges[i])} to ${given(edges[i + 1])}: ${count(n, noun)}`;
  rect.append(tip);
  return rect;
}

/** The median, linear within its bar. */
function median(edges, counts, total) {
  let before = 0;
  const i = counts.findIndex((n) => (before += n) >= total / 2 && n > 0);
  if (i < 0) return edges[0];
  const within = (total / 2 - (before - counts[i])) / counts[i];
  return edges[i] + within * (edges[i + 1] - edges[i]);
}
