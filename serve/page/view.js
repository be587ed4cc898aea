// Rendering: nodes are created by script only, so that titles are always text.

const MOST_STEPS = 11; // buttons for a rating
const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (or attributes, if there is no such property) and children; null children are skipped. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
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
 * Ratings of the data are `step` apart, from `lowest` on. Implicit feedback has nothing to choose: whoever chose an item
 * gave `high`.
 */
export function starScale([low, high], step = null, { lowest = low, implicit = false } = {}) {
  const span = high - low;
  const countable = low >= 0 && high >= 2 && high <= 10;
  const stars = countable ? Math.ceil(high) : 5;
  const share = (value) => (countable ? value / stars : (value - low) / span);
  const usable = step && span / step <= MOST_STEPS - 1 + 1e-6 && !(countable && step > 1); // stars are offered whole, at least
  const steps = usable ? multiples(low, high, step, lowest) : roundSteps(low, high, countable);
  const digits = span < 2 ? 3 : span < 40 ? 2 : 1; // of a mean or a prediction
  const asStars = countable && steps.length === stars && steps.every((value, i) => value === i + 1);
  return { low, high, stars, share, steps, digits, asStars, implicit };
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
  return h("fieldset", { className: `picker ${scale.asStars ? "as-stars" : "as-numbers"}`, onkeydown }, legend, options);
}

/** "Because you gave 5 to Alien (+0.21) and 4 to Heat (+0.10)."; with implicit feedback "Because you chose …". */
function reasons(scale, because, who) {
  const shown = (because ?? []).filter(({ contribution }) => Number(contribution.toFixed(scale.digits)) > 0); // omit "+0.00"
  if (!shown.length) return null;
  const parts = shown.flatMap((reason, i) => [
    i === 0 ? "" : i === shown.length - 1 ? " and " : ", ",
    scale.implicit ? "" : `${given(reason.rating)} to `,
    itemLink(reason),
    h("span", { className: "amount" }, ` (+${reason.contribution.toFixed(scale.digits)})`),
  ]);
  return h("p", { className: "because" }, `Because ${who} ${scale.implicit ? "chose" : "gave"} `, parts, ".");
}

/** The predictive standard deviation, " ± 0.9"; nothing for models without one. */
export const spread = (scale, std) =>
  std === null ? null : h("span", { className: "std", title: "standard deviation of a rating" }, ` ± ${std.toFixed(scale.digits > 2 ? 2 : 1)}`);

/** A recommended item with its prediction and explanation. */
export function recommendation(scale, item, who) {
  const value = item.rating === null
    ? [h("b", {}, item.score.toFixed(scale.digits)), h("span", { className: "quiet" }, "score")]
    : [h("span", {}, h("b", {}, item.rating.toFixed(scale.digits)), spread(scale, item.rating_std)), stars(scale, item.rating)];
  const label = item.rating === null ? "Score" : "Predicted rating";
  return h("li", { className: "card" },
    h("h3", {}, itemLink(item)),
    h("p", { className: "quiet" }, facts(item)),
    h("p", { className: "value" }, h("span", { className: "unseen" }, `${label}: `), value),
    reasons(scale, item.because, who));
}

/** A row of a list of rated items. */
export const ratedRow = (scale, item) =>
  h("li", {}, listed(item),
    scale.implicit ? null : h("span", { className: "value" }, stars(scale, item.rating), h("b", {}, given(item.rating))));

/** A similar item with its cosine similarity as a bar. */
export function neighbour(item) {
  const bar = h("span", { className: "cosine", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${100 * Math.max(0, item.similarity)}%`);
  return h("li", {}, listed(item, facts(item)),
    h("span", { className: "value" }, bar, h("b", {}, h("span", { className: "unseen" }, "similarity "), item.similarity.toFixed(2))));
}

/** Histogram of predicted ratings; bars from `best`, the lowest recommended rating, are marked. */
export function histogram({ edges, counts }, best) {
  const total = counts.reduce((a, b) => a + b, 0);
  const highest = Math.max(...counts, 1);
  const svg = document.createElementNS(SVG, "svg");
  const [low, high, middle] = [edges[0], edges.at(-1), median(edges, counts, total)].map((edge) => given(edge));
  const summary = `The median prediction of ${count(total, "title")} is ${middle}.`;
  const attributes = { viewBox: `0 0 ${counts.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `Histogram from ${low} to ${high}. ${summary}` };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  svg.append(...counts.map((n, i) => bar(i, n, (100 * n) / highest, edges, i + 1 === counts.length || edges[i + 1] > best)));
  const marks = [edges[0], (edges[0] + edges.at(-1)) / 2, edges.at(-1)].map((edge) => h("span", {}, given(edge)));
  const key = Number.isFinite(best) ? h("p", { className: "quiet key" }, "At least as high as the recommendations") : null;
  return [svg, h("div", { className: "axis", "aria-hidden": "true" }, marks), h("p", {}, summary), key];
}

function bar(i, n, height, edges, marked) {
  const rect = document.createElementNS(SVG, "rect");
  const shown = n ? Math.max(height, 1.5) : 0; // keep a single title visible
  const attributes = { x: i + 0.06, y: 100 - shown, width: 0.88, height: shown, class: marked ? "marked" : "" };
  for (const [key, value] of Object.entries(attributes)) rect.setAttribute(key, value);
  const tip = document.createElementNS(SVG, "title");
  tip.textContent = `${given(edges[i])} to ${given(edges[i + 1])}: ${count(n, "title")}`;
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
