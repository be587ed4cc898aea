// Charts in SVG: scales, axes, and marks that light up together wherever the same setting is drawn.

const charts = new Set(); // those on the page
const MARGIN = { top: 10, right: 14, left: 68 };

/**
 * A chart that is drawn to its width, and again when that changes. `draw(chart)` appends to chart.svg, registers with
 * `mark` what belongs to a setting or run, and may return `pick(x, y)`: the id nearest to the pointer.
 */
function makeChart(id, { label, height, bottom = 40, least = 0, draw }) {
  const svg = s("svg", { role: "img", "aria-label": label });
  const chart = { id, svg, height, floor: height - bottom, least, draw, marks: new Map(), pick: null, box: h("div", { className: "chart" }, svg) };
  svg.addEventListener("pointermove", (event) => pointAt(chart, event));
  svg.addEventListener("pointerleave", () => hover(null));
  svg.addEventListener("click", (event) => {
    pointAt(chart, event);
    if (hot?.startsWith("s")) choose(hot);
  });
  charts.add(chart);
  return chart;
}

const figureOf = (chart, title, ...notes) =>
  h("figure", {}, title ? h("h3", {}, title) : null, chart.box, notes.length ? h("figcaption", {}, notes) : null);

/** Draw what is new or has another width; all widths are read first, so that the page is laid out once. */
function drawCharts() {
  for (const chart of charts) if (!chart.svg.isConnected) charts.delete(chart);
  const widths = [...charts].map((chart) => Math.max(chart.least, chart.box.clientWidth || 600));
  [...charts].forEach((chart, i) => {
    if (chart.width === widths[i]) return;
    chart.width = widths[i];
    chart.svg.setAttribute("viewBox", `0 0 ${chart.width} ${chart.height}`);
    chart.svg.style.minWidth = chart.least ? `${chart.least}px` : "";
    chart.svg.replaceChildren();
    chart.marks.clear();
    chart.pick = chart.draw(chart) ?? null;
    chart.top = s("g", { class: "top" });
    chart.svg.append(chart.top, ...chart.svg.querySelectorAll(".label, .grip")); // what is read and dragged stays above
    fade(chart);
    raise(chart);
  });
  showScrollable();
}

/** Tables and charts that go on at the right fade out there. */
function showScrollable() {
  const boxes = [...document.querySelectorAll(".scroll")];
  const more = boxes.map((box) => box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  boxes.forEach((box, i) => box.classList.toggle("more", more[i]));
}

/** Register a node as the picture of a setting or a run. */
function mark(chart, id, node) {
  chart.marks.set(id, [...(chart.marks.get(id) ?? []), node]);
  return node;
}

/** What the filter leaves out grows faint. */
function fade(chart) {
  for (const [id, nodes] of chart.marks) for (const node of nodes) node.classList.toggle("off", !visible.has(id));
}

/** Copies of the compared and of the hovered marks on top of all others; the marks stay where they are. */
function raise(chart) {
  const copies = (id, className) => (chart.marks.get(id) ?? []).map((node) => {
    const copied = node.cloneNode(true);
    copied.classList.remove("off");
    copied.classList.add(...className.split(" "));
    return copied;
  });
  const compared = state.compare.flatMap((id, i) => copies(id, `chosen c${i}`));
  const slot = state.compare.indexOf(hot);
  chart.top.replaceChildren(...compared, ...(hot ? copies(hot, slot < 0 ? "hot" : `hot chosen c${slot}`) : []));
}

function pointAt(chart, event) {
  if (!chart.pick) return;
  const box = chart.svg.getBoundingClientRect();
  const scale = chart.width / box.width;
  hover(chart.pick((event.clientX - box.left) * scale, (event.clientY - box.top) * scale), event);
}

/** The id of the nearest of [x, y, id] within reach, of those that the filter leaves. */
function nearest(points, x, y, reach = 22) {
  let found = null;
  let least = reach ** 2;
  for (const [px, py, id] of points) {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least && visible.has(id)) [found, least] = [id, distance];
  }
  return found;
}

// ---- Scales: functions from a value to a place, with `domain` and `ticks`

function linear([low, high], [from, to], wanted = 5) {
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const digit = [1, 2, 2.5, 5, 10].find((size) => size * power >= rough * 0.999);
  const step = digit * power;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (digit === 2.5 ? 1 : 0));
  const first = Math.ceil(low / step - 1e-9);
  const ticks = Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(digits)));
  return Object.assign(scale, { domain: [low, high], ticks, format: (value) => figure(value, Math.min(digits, 6)) });
}

function logarithmic([low, high], [from, to]) {
  if (low === high) [low, high] = [low / 1.5, high * 1.5];
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const scale = (value) => from + ((Math.log10(value) - a) / (b - a)) * (to - from);
  const digits = b - a > 3.5 ? [1] : b - a > 1.2 ? [1, 3] : [1, 2, 5];
  const powers = Array.from({ length: Math.ceil(b) - Math.floor(a) + 1 }, (_, i) => Math.floor(a) + i);
  const ticks = powers.flatMap((power) => digits.map((digit) => Number((digit * 10 ** power).toPrecision(6)))).filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  const { ticks: even, format } = linear([low, high], [from, to], 4); // for less than a decade, which may hold none of those
  return Object.assign(scale, { domain: [low, high] }, ticks.length > 1 ? { ticks, format: brief } : { ticks: even, format });
}

/** A number short enough for an axis: 0.0001 as 1e-4. */
const brief = (value) => {
  const text = String(Number.isInteger(value) && Math.abs(value) < 1e5 ? value : Number(value.toPrecision(3)));
  return text.length > 5 ? value.toExponential().replace(/(\.\d\d)\d*/, "$1").replace("e+", "e").replace("-", "−") : text.replace("-", "−");
};

/** The bulk of the values: from the best to where only outliers are, which are drawn at the edge. */
function bulk(values, metric) {
  if (higherIsBetter(metric)) {
    const { domain, beyond } = bulk(values.filter(isNumber).map((value) => -value), "") ?? {};
    return domain ? { domain: [-domain[1], -domain[0]], beyond } : null;
  }
  const sorted = values.filter(isNumber).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const fence = at(0.75) + 3 * (at(0.75) - at(0.25)) + 1e-9;
  const inside = sorted.filter((value) => value <= fence);
  const high = sorted.length - inside.length && sorted.length > 5 ? inside.at(-1) : sorted.at(-1);
  const room = (high - sorted[0]) * 0.06;
  return { domain: [sorted[0] - room, high + room], beyond: sorted.filter((value) => value > high).length };
}

const beyondNote = (beyond) => (beyond ? `${count(beyond, "value")} beyond the scale ${beyond === 1 ? "is" : "are"} drawn at its ${higherIsBetter(view.metric) ? "lower" : "upper"} edge.` : null);

/** A place on the upward axis, or a little beyond its end. */
const atEdge = (place, at) => Math.min(place.y[0] + 5, Math.max(place.y[1] - 5, at));

/** Where a parameter's values lie between two places: by number, by logarithm, or in a row; null has a place before all. */
function parameterScale(parameter, entries, [from, to]) {
  const values = entries.map((entry) => entry.values[parameter.name] ?? null);
  const known = [...new Set(values.filter(given).map((value) => (isNumber(value) ? value : typed(value))))];
  const numeric = known.length > 0 && known.every(isNumber) && parameter.kind !== "category";
  const start = from + (values.includes(null) ? 0.14 * (to - from) : 0);
  const place = numeric ? byNumber(parameter, known, start, to) : inARow(known, start, to);
  const scale = (value) => (given(value) ? place(isNumber(value) ? value : typed(value)) : from);
  const ticks = place.ticks.map((tick) => [place(tick), place.format(tick)]);
  return Object.assign(scale, { numeric, known, step: place.step, ticks: values.includes(null) ? [[from, NONE], ...ticks] : ticks });
}

function byNumber(parameter, known, from, to) {
  const sorted = known.sort((a, b) => a - b);
  const domain = [sorted[0], sorted.at(-1)];
  const scale = parameter.log && sorted[0] > 0 ? logarithmic(domain, [from, to]) : linear(domain, [from, to], 4);
  if (sorted.length <= 7) Object.assign(scale, { ticks: sorted, format: brief });
  return scale;
}

function inARow(known, from, to) {
  const sorted = known.map(String).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const step = (to - from) / sorted.length;
  return Object.assign((value) => from + step * (sorted.indexOf(String(value)) + 0.5), { ticks: sorted, format: (value) => value, step: Math.abs(step) });
}

// ---- Axes

/** Ticks that do not run into each other: later ones give way. */
function spaced(ticks, room) {
  const kept = [];
  for (const tick of ticks) if (kept.every((other) => Math.abs(other[0] - tick[0]) >= room)) kept.push(tick);
  return kept;
}

const text = (x, y, className, content) => s("text", { x, y, class: className }, content);
const clip = (content, most) => (content.length > most ? `${content.slice(0, most - 1)}…` : content);

/** Gridlines with figures at the left. */
function leftAxis(chart, y, name, { left = MARGIN.left, right = MARGIN.right } = {}) {
  for (const tick of y.ticks) {
    const at = y(tick);
    chart.svg.append(s("line", { x1: left, x2: chart.width - right, y1: at, y2: at, class: "grid" }), text(left - 7, at + 4, "end", y.format(tick)));
  }
  if (name) chart.svg.append(s("text", { class: "name middle", transform: `translate(11 ${(chart.floor + MARGIN.top) / 2}) rotate(-90)` }, name));
}

/** Figures below, given as [place, text]. */
function lowerAxis(chart, ticks, name, room = 34) {
  const at = chart.floor;
  chart.svg.append(s("line", { x1: MARGIN.left, x2: chart.width - MARGIN.right, y1: at, y2: at, class: "axis" }));
  for (const [x, content] of spaced(ticks, room)) {
    chart.svg.append(s("line", { x1: x, x2: x, y1: at, y2: at + 4, class: "axis" }), text(x, at + 17, "middle", clip(content, Math.max(4, Math.floor(room / 6)))));
  }
  if (name) chart.svg.append(text((MARGIN.left + chart.width - MARGIN.right) / 2, chart.height - 4, "name middle", name));
}

const ticksOf = (scale) => scale.ticks.map((tick) => [scale(tick), scale.format(tick)]);
const inner = (chart) => ({ x: [MARGIN.left + 8, chart.width - MARGIN.right - 8], y: [chart.floor - 6, MARGIN.top + 6] });

/** "M…L…" through points; a null point is a gap. */
function path(points) {
  let pen = "M";
  return points.map((point) => {
    const command = point ? `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : "";
    pen = point ? "L" : "M";
    return command;
  }).join("");
}

/** A line, and a dot for each point that has no neighbour to be joined to. */
function lineOf(points, className) {
  const alone = points.filter((point, i) => point && !points[i - 1] && !points[i + 1]);
  return s("g", { class: className }, s("path", { d: path(points) }), alone.map(([x, y]) => s("circle", { cx: x, cy: y, r: 2.5 })));
}

/** How good a value is among others, from 0 (the best) to 1, as the colour of a mark. */
function shade(node, value, [low, high]) {
  const share = isNumber(value) ? Math.min(1, Math.max(0, (value - low) / (high - low || 1))) : 1;
  const worse = isNumber(value) && higherIsBetter(view.metric) ? 1 - share : share;
  node.style.setProperty("--worse", `${(100 * worse).toFixed(0)}%`);
  return node;
}

function shadeKey(domain) {
  const [best, worst] = higherIsBetter(view.metric) ? [...domain].reverse() : domain;
  return h("span", { className: "ramp" }, figure(best), h("i", { "aria-hidden": "true" }), figure(worst));
}
