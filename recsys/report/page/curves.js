// Learning curves, and what quality costs in time.

const LEADING = 5;

function showCurves() {
  const lines = [...view.settings].reverse().flatMap((setting) => setting.runs.map((run) => curveLine(setting.id, run, setting.rank <= LEADING && view.settings.length > LEADING ? "curve lead" : "curve")));
  const other = view.others.map((run) => curveLine(run.id, run, "curve pruned"));
  const all = [...other, ...lines].filter(({ values }) => values.some(isNumber));
  if (!all.length) return fill("curves", "Learning curves");
  const best = bestOf(all.flatMap(({ values }) => values), view.monitor);
  const { low, high, cut } = curveRange(all);
  const epochs = Math.max(...all.map(({ values }) => values.length));
  const chart = makeChart("curves", {
    label: `${metricName(view.monitor)} by epoch of ${count(all.length, "run")}, over at most ${count(epochs, "epoch")}. The ${extreme(view.monitor)} is ${figure(best)}.`,
    height: 360, draw: (chart) => drawCurves(chart, all, epochs, [low - (high - low) * 0.04, high + (best === high ? (high - low) * 0.04 : 0)]),
  });
  fill("curves", "Learning curves", figureOf(chart, null, curveKey(other.length), cut ? `Figures above ${figure(high, 3)} are beyond the scale.` : ""));
}

const curveLine = (id, run, className) => ({ id, values: Array.isArray(run.curve) ? run.curve : [], className });

const curveKey = (pruned) => h("span", { className: "keys" },
  view.settings.length > LEADING ? h("span", {}, swatch("lead"), `the best ${LEADING}`) : null,
  view.settings.length > 1 ? h("span", {}, swatch("c0"), "compared") : null,
  pruned ? h("span", {}, swatch("pruned"), "did not finish") : null);

/** Where the curves end up, and some room above: first epochs and the worst runs would make flat lines of all others. */
function curveRange(lines) {
  const finished = lines.filter(({ className }) => !className.endsWith("pruned"));
  const ends = (finished.length ? finished : lines).map(({ values }) => lowest(values)).sort((a, b) => a - b);
  const low = lowest(lines.map(({ values }) => lowest(values)));
  const highest = Math.max(...lines.map(({ values }) => Math.max(...values.filter(isNumber))));
  if (higherIsBetter(view.monitor)) return { low, high: highest, cut: false }; // from near nothing upwards: all of it fits
  const usual = ends[Math.round(0.8 * (ends.length - 1))];
  const wanted = Math.max(usual + 0.6 * (usual - low), low * 1.06);
  return { low, high: Math.min(wanted, highest), cut: highest > wanted };
}

function drawCurves(chart, lines, epochs, domain) {
  const place = inner(chart);
  const x = linear([1, Math.max(2, epochs)], place.x, Math.min(10, epochs));
  const y = linear(domain, place.y);
  leftAxis(chart, y, metricName(view.monitor));
  lowerAxis(chart, x.ticks.filter(Number.isInteger).map((tick) => [x(tick), String(tick)]), "Epoch");
  const inside = `inside-${chart.id}`;
  chart.svg.append(s("clipPath", { id: inside }, s("rect", { x: MARGIN.left, y: 0, width: chart.width - MARGIN.left, height: chart.floor })));
  for (const line of lines) {
    line.at = line.values.map((value, i) => (isNumber(value) ? [x(i + 1), y(value)] : null));
    const drawn = lineOf(line.at, line.className);
    drawn.setAttribute("clip-path", `url(#${inside})`);
    chart.svg.append(mark(chart, line.id, drawn));
  }
  const step = x(2) - x(1);
  return (px, py) => {
    const epoch = Math.round((px - x(1)) / step);
    return nearest(lines.filter(({ at }) => at[epoch]).map(({ at, id }) => [px, at[epoch][1], id]).reverse(), px, py, 16);
  };
}

// ---- Time against quality

function showCost() {
  const settings = view.settings.filter((setting) => isNumber(setting.mean[view.metric]) && isNumber(setting.seconds) && setting.seconds > 0);
  if (settings.length < 2) return fill("cost", "Time and quality");
  const front = paretoFront(settings);
  const { domain, beyond } = bulk(settings.map((setting) => setting.mean[view.metric]), view.metric);
  const chart = makeChart("cost", {
    label: `${metricName(view.metric)} against seconds to fit of ${count(settings.length, "setting")}; ${front.length} of them are on the Pareto front, from ${duration(front[0].seconds)} to ${duration(front.at(-1).seconds)}.`,
    height: 320, draw: (chart) => drawCost(chart, settings, front, domain),
  });
  const rows = front.map((setting) => [`#${setting.rank}`, summary(setting), duration(setting.seconds), plusMinus(setting.mean[view.metric], setting.error[view.metric])]);
  fill("cost", "Time and quality",
    figureOf(chart, null, h("span", { className: "keys" }, h("span", {}, swatch("front"), "Pareto front: no other setting is both faster and better")), beyondNote(beyond) ?? ""),
    details(`The front's ${count(front.length, "setting")} as a table`, table("Pareto front of time and quality", ["#", "Setting", "Fit", metricName(view.metric)], rows, "plain")));
}

/** Those that nothing beats in both time and quality, the fastest first. */
function paretoFront(settings) {
  const loses = (setting) => loss(setting.mean[view.metric], view.metric);
  const byTime = [...settings].sort((a, b) => a.seconds - b.seconds || loses(a) - loses(b));
  let least = Infinity;
  return byTime.filter((setting) => {
    const better = loses(setting) < least;
    if (better) least = loses(setting);
    return better;
  });
}

function drawCost(chart, settings, front, domain) {
  const place = inner(chart);
  const seconds = settings.map((setting) => setting.seconds);
  const ends = [Math.min(...seconds), Math.max(...seconds)];
  const x = ends[1] / ends[0] > 4 ? logarithmic(ends, place.x) : linear(ends, place.x);
  const y = linear(domain, place.y);
  leftAxis(chart, y, metricName(view.metric));
  lowerAxis(chart, x.ticks.map((tick) => [x(tick), duration(tick).replace(/(\.0| 00 s)(?= |$)/, "")]), "Time to fit", 52);
  const at = (setting) => [x(setting.seconds), atEdge(place, y(setting.mean[view.metric])), setting.id];
  const steps = front.map((setting, i) => `${i ? `H${at(setting)[0].toFixed(1)}V` : `M${at(setting)[0].toFixed(1)} `}${at(setting)[1].toFixed(1)}`);
  chart.svg.append(s("path", { class: "front", d: `${steps.join("")}H${place.x[1]}` }));
  const points = settings.map(at);
  settings.forEach((setting, i) => chart.svg.append(mark(chart, setting.id, costDot(points[i], setting, front, y, domain))));
  return (px, py) => nearest(points, px, py);
}

function costDot(point, setting, front, y, domain) {
  const error = setting.error[view.metric] ?? 0;
  const [middle, x] = [setting.mean[view.metric], point[0]];
  const whisker = error && middle >= domain[0] && middle <= domain[1] ? s("line", { class: "whisker", x1: x, x2: x, y1: y(middle - error), y2: y(middle + error) }) : null;
  const circle = dot(point, setting, domain);
  if (front.includes(setting)) circle.setAttribute("r", 5.5);
  return s("g", { class: "costed" }, whisker, circle);
}
