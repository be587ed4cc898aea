// Rendering: nodes are created by script only, so that titles are always text.

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

export const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

/** A rating without trailing zeros: 4, 3.5. */
export const given = (rating) => String(Math.round(rating * 100) / 100);

/** A title without the year, which is shown separately. */
export function name({ title, year }) {
  const end = ` (${year})`;
  return year && title.endsWith(end) ? title.slice(0, -end.length) : title;
}

/** A link that opens an item; on a click page.js keeps the rest of the URL. */
export const itemLink = (item) => h("a", { href: `#item=${encodeURIComponent(item.item_id)}`, "data-item": item.item_id }, name(item));

export const facts = ({ year, genres }) => [year, genres.join(", ")].filter(Boolean).join(" · ");

/** How a rating scale is drawn (`stars`, of which `share(value)` are filled) and chosen from (`steps`). */
export function starScale([low, high], given = null) {
  const countable = low >= 0 && high >= 2 && high <= 10;
  const stars = countable ? Math.ceil(high) : 5;
  const share = (value) => (countable ? value / stars : (value - low) / (high - low));
  const rough = Math.max((high - low) / 10, high - low >= 3 ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999);
  // Use a finer step if the data has one, such as half stars, and the choices are not too many.
  const step = given && given < round && (high - low) / given <= 10 ? given : round;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const steps = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(6)));
  return { stars, share, steps, asStars: countable && steps[0] === 1 };
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
  const legend = h("legend", { className: "unseen" }, `Your rating of ${item.title}`);
  return h("fieldset", { className: `picker ${scale.asStars ? "as-stars" : "as-numbers"}`, onkeydown }, legend, options);
}

/** "Because you gave 5 to Alien (+0.21) and 4 to Heat (+0.10)." */
function reasons(because, who) {
  const shown = (because ?? []).filter(({ contribution }) => contribution >= 0.005); // omit "+0.00"
  if (!shown.length) return null;
  const parts = shown.flatMap((reason, i) => [
    i === 0 ? "" : i === shown.length - 1 ? " and " : ", ",
    `${given(reason.rating)} to `,
    itemLink(reason),
    h("span", { className: "amount" }, ` (+${reason.contribution.toFixed(2)})`),
  ]);
  return h("p", { className: "because" }, `Because ${who} gave `, parts, ".");
}

/** The predictive standard deviation, " ± 0.9"; nothing for models without one. */
export const spread = (std) => (std === null ? null : h("span", { className: "std", title: "standard deviation of a rating" }, ` ± ${std.toFixed(1)}`));

/** A recommended item with its prediction and explanation. */
export function recommendation(scale, item, who) {
  const value = item.rating === null
    ? [h("b", {}, item.score.toFixed(2)), h("span", { className: "quiet" }, "score")]
    : [h("span", {}, h("b", {}, item.rating.toFixed(2)), spread(item.rating_std)), stars(scale, item.rating)];
  const label = item.rating === null ? "Score" : "Predicted rating";
  return h("li", { className: "card" },
    h("h3", {}, itemLink(item)),
    h("p", { className: "quiet" }, facts(item)),
    h("p", { className: "value" }, h("span", { className: "unseen" }, `${label}: `), value),
    reasons(item.because, who));
}

/** A row of a list of rated items. */
export const ratedRow = (scale, item) =>
  h("li", {}, h("span", {}, itemLink(item), " ", h("small", {}, item.year ?? "")),
    h("span", { className: "value" }, stars(scale, item.rating), h("b", {}, given(item.rating))));

/** A similar item with its cosine similarity as a bar. */
export function neighbour(item) {
  const bar = h("span", { className: "cosine", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${100 * Math.max(0, item.similarity)}%`);
  return h("li", {}, h("span", {}, itemLink(item), " ", h("small", {}, facts(item))),
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
