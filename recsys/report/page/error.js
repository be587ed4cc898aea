// Where the error lies: the compared settings by user, item, rating and prediction, averaged over their repeats.

function showError() {
  const chosen = state.compare.map((id) => view.byId.get(id)).filter(given);
  const compared = chosen.map((setting, slot) => ({ setting, slot, ...analysisOf(setting) }));
  const drawn = [
    groupFigure(compared, "users", "By the user's ratings", "Ratings that the model was fitted on"),
    groupFigure(compared, "items", "By the item's ratings", "Ratings that the model was fitted on"),
    ratingFigure(compared),
    calibrationFigure(compared),
  ].filter(given);
  if (!drawn.length && higherIsBetter(view.monitor)) return fill("error", "Where the error lies"); // scores have no error in stars
  if (!drawn.length && view.settings.length < 2 && !chosen.some((setting) => Object.keys(METRICS).some((metric) => METRICS[metric].subset && isNumber(setting.mean[metric])))) return fill("error", "Where the error lies");
  fill("error", "Where the error lies", legend(compared), warmAndCold(compared), h("div", { className: "pairs" }, drawn),
    drawn.length ? h("p", { className: "quiet" }, `Test rows${compared.some(({ repeats }) => repeats > 1) ? ", averaged over repeats" : ""}. Bars: the share of the rows.`) : note("The compared runs hold no analysis of their test rows."));
}

/** A setting's groups, each averaged over its runs in proportion to the rows. */
function analysisOf(setting) {
  const runs = setting.runs.map((run) => run.analysis).filter(given);
  const average = (key, width) => merge(runs.map((analysis) => (Array.isArray(analysis[key]) ? analysis[key] : [])), width);
  return { users: average("by_user_activity", 2), items: average("by_item_popularity", 2), ratings: average("by_rating", 1), calibration: average("calibration", 2), repeats: runs.length };
}

/** Rows [key…, rows, figure…] of several runs, merged by their first `width` cells. */
function merge(lists, width) {
  const groups = new Map();
  for (const row of lists.flat()) {
    if (!Array.isArray(row) || !isNumber(row[width])) continue;
    const key = JSON.stringify(row.slice(0, width));
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const weighted = (rows, i) => {
    const known = rows.filter((row) => isNumber(row[i]));
    const total = known.reduce((sum, row) => sum + row[width], 0);
    return total ? known.reduce((sum, row) => sum + row[width] * row[i], 0) / total : null;
  };
  const merged = [...groups.values()].map((rows) => rows[0].map((cell, i) => (i < width ? cell : i === width ? rows.reduce((sum, row) => sum + row[width], 0) / lists.length : weighted(rows, i))));
  return merged.sort((a, b) => a[0] - b[0]);
}

function legend(compared) {
  if (view.settings.length < 2) return null;
  const items = compared.map(({ setting, slot }) => {
    const remove = h("button", { type: "button", className: "plain-button", "aria-label": `Compare setting ${setting.rank} no longer`, onclick: () => choose(setting.id) }, "×");
    return h("li", {}, swatch(`c${slot}`), h("span", {}, label(setting, 6)), compared.length > 1 ? remove : null);
  });
  return h("ul", { className: "legend" }, items, compared.length < MOST ? h("li", { className: "quiet" }, "Tick settings in the table, or click dots and lines, to compare them.") : null);
}

function warmAndCold(compared) {
  const shown = Object.keys(METRICS).filter((metric) => compared.some(({ setting }) => isNumber(setting.mean[metric])));
  if (!shown.length || view.settings.length < 2) return null;
  const rows = compared.map(({ setting, slot }) => [h("span", {}, swatch(`c${slot}`), `#${setting.rank}`), ...shown.map((metric) => plusMinus(setting.mean[metric], setting.error[metric]))]);
  return table("Metrics of the compared settings", ["Setting", ...shown.map(metricName)], rows, "plain");
}

// ---- Charts

const who = ({ rank }) => (view.settings.length < 2 ? "it" : `setting ${rank}`);
const span = ([from, to]) => (to === null ? `${from}+` : from === to ? String(from) : `${from}–${to}`);

/** The test error by group, with the baseline of the same rows. */
function groupFigure(compared, key, title, name) {
  const shown = compared.filter((one) => one[key].length);
  if (!shown.length) return null;
  const groups = [...new Map(shown.flatMap((one) => one[key]).map((row) => [span(row), row])).values()].sort((a, b) => a[0] - b[0]);
  const names = groups.map(span);
  const series = shown.map((one) => ({ slot: one.slot, rank: one.setting.rank, values: names.map((group) => one[key].find((row) => span(row) === group) ?? null) }));
  const baseline = names.map((_, i) => series.map(({ values }) => values[i]?.[4]).find(isNumber) ?? null);
  return bandFigure({ title, name, names, rows: names.map((_, i) => series.map(({ values }) => values[i]?.[2]).find(isNumber) ?? 0), series: series.map((one) => ({ ...one, values: one.values.map((row) => row?.[3] ?? null) })), baseline });
}

function ratingFigure(compared) {
  const shown = compared.filter((one) => one.ratings.length);
  if (!shown.length) return null;
  const names = [...new Set(shown.flatMap((one) => one.ratings).map(([rating]) => rating))].sort((a, b) => a - b);
  const find = (one, rating, i) => one.ratings.find((row) => row[0] === rating)?.[i] ?? null;
  const series = shown.map((one) => ({ slot: one.slot, rank: one.setting.rank, values: names.map((rating) => find(one, rating, 3)) }));
  return bandFigure({ title: "By the rating given", name: "Rating", names: names.map((rating) => typed(Number(rating.toPrecision(4)))), rows: names.map((rating) => find(shown[0], rating, 1) ?? 0), series, baseline: [] });
}

/** Lines over groups in a row, above bars of how many rows each holds; the same as a table below. */
function bandFigure({ title, name, names, rows, series, baseline }) {
  const values = [...series.flatMap((one) => one.values), ...baseline].filter(isNumber);
  if (!values.length) return null;
  const has = baseline.some(isNumber);
  const chart = makeChart(`by ${title}`, {
    label: `${metricName(view.test)} ${title.toLowerCase()}: ${spoken(series.map((one) => `${who(one)} from ${figure(Math.min(...one.values.filter(isNumber)), 3)} to ${figure(Math.max(...one.values.filter(isNumber)), 3)}`))}${has ? ", with the biases baseline" : ""}. The table below holds the values.`,
    height: 270, draw: (chart) => drawBands(chart, { name, names, rows, series, baseline, values }),
  });
  const lines = names.map((group, i) => [group, Math.round(rows[i]).toLocaleString("en"), ...series.map((one) => figure(one.values[i])), ...(has ? [figure(baseline[i])] : [])]);
  const heads = [name === "Rating" ? "Rating" : "Ratings", "Rows", ...series.map((one) => (view.settings.length < 2 ? METRICS[view.test]?.name ?? view.test : `#${one.rank}`)), ...(has ? ["Baseline"] : [])];
  const key = has ? h("span", { className: "keys" }, h("span", {}, swatch("baseline"), "biases baseline")) : "";
  return h("div", {}, figureOf(chart, title, key), details("As a table", table(title, heads, lines, "plain")));
}

function drawBands(chart, { name, names, rows, series, baseline, values }) {
  const place = inner(chart);
  const room = (Math.max(...values) - Math.min(...values)) * 0.12 || 0.05;
  const y = linear([Math.min(...values) - 2.5 * room, Math.max(...values) + room / 2], place.y);
  const step = (place.x[1] - place.x[0]) / names.length;
  const x = (i) => place.x[0] + step * (i + 0.5);
  const { floor } = chart;
  const tallest = Math.max(...rows, 1);
  leftAxis(chart, y, metricName(view.test));
  rows.forEach((n, i) => chart.svg.append(s("rect", { class: "rows", x: x(i) - step * 0.4, width: step * 0.8, y: floor - (50 * n) / tallest, height: (50 * n) / tallest })));
  lowerAxis(chart, names.map((group, i) => [x(i), group]), name, 8 + 6.4 * Math.max(...names.map((group) => group.length)));
  const points = (list) => list.map((value, i) => (isNumber(value) ? [x(i), y(value)] : null));
  if (baseline.some(isNumber)) chart.svg.append(dotted(points(baseline), "baseline"));
  for (const one of [...series].reverse()) chart.svg.append(dotted(points(one.values), `series c${one.slot}`));
}

const dotted = (points, className) => s("g", { class: className }, s("path", { d: path(points) }), points.filter(given).map(([cx, cy]) => s("circle", { cx, cy, r: 3.5 })));

function calibrationFigure(compared) {
  const shown = compared.filter((one) => one.calibration.length);
  const points = shown.map((one) => ({ slot: one.slot, rank: one.setting.rank, rows: one.calibration.filter((row) => isNumber(row[3]) && isNumber(row[4])) }));
  const all = points.flatMap((one) => one.rows.flatMap((row) => [row[3], row[4]]));
  if (!all.length) return null;
  const domain = [Math.min(...all), Math.max(...all)];
  const off = points.map((one) => `${who(one)} is off by ${figure(meanGap(one.rows), 3)} on average`);
  const chart = makeChart("calibration", {
    label: `Calibration, predicted against given ratings: ${spoken(off)}. The table below holds the values.`,
    height: 270, draw: (chart) => drawCalibration(chart, points, domain),
  });
  const rows = points.flatMap((one) => one.rows.map((row) => [`#${one.rank}`, Math.round(row[2]).toLocaleString("en"), figure(row[3], 3), figure(row[4], 3)]));
  return h("div", {}, figureOf(chart, "Calibration", "On the diagonal, predictions are right on average. Larger dots: more rows."), details("As a table", table("Calibration", ["Setting", "Rows", "Predicted", "Given"], rows, "plain")));
}

const meanGap = (rows) => rows.reduce((sum, row) => sum + row[2] * Math.abs(row[3] - row[4]), 0) / (rows.reduce((sum, row) => sum + row[2], 0) || 1);

function drawCalibration(chart, points, domain) {
  const place = inner(chart);
  const x = linear(domain, place.x);
  const y = linear(domain, place.y);
  leftAxis(chart, y, "Given, mean");
  lowerAxis(chart, ticksOf(x), "Predicted, mean");
  chart.svg.append(s("line", { class: "diagonal", x1: x(domain[0]), y1: y(domain[0]), x2: x(domain[1]), y2: y(domain[1]) }));
  for (const { slot, rows } of [...points].reverse()) {
    const most = Math.max(...rows.map((row) => row[2]), 1);
    const dots = rows.map((row) => s("circle", { cx: x(row[3]), cy: y(row[4]), r: 2 + 5 * Math.sqrt(row[2] / most) }));
    chart.svg.append(s("g", { class: `series c${slot}` }, s("path", { d: path(rows.map((row) => [x(row[3]), y(row[4])])) }), dots));
  }
}
