// How much each parameter matters, and each against the metric.

const PANELS = 12;

function showParameters() {
  const importance = report.importance[view.task];
  const drawn = view.parameters.slice(0, PANELS);
  const settings = view.settings.filter((setting) => isNumber(setting.mean[view.metric]));
  if (!drawn.length || settings.length < 2) return fill("parameters", "Parameters");
  fill("parameters", "Each parameter", importance ? importanceBars(importance) : null, panels(drawn, settings));
}

function importanceBars(importance) {
  const shares = Object.entries(importance).filter(([, share]) => isNumber(share)).sort(([, a], [, b]) => b - a);
  const most = Math.max(...shares.map(([, share]) => share), 1e-9);
  const rows = shares.map(([name, share]) => {
    const bar = h("span", { className: "bar-of", "aria-hidden": "true" });
    bar.style.setProperty("--share", `${(100 * Math.max(0, share)) / most}%`);
    return h("tr", {}, h("th", { scope: "row", title: fullName({ name }) }, shortName({ name })), h("td", {}, bar), h("td", { className: "number" }, percent(Math.max(0, share))));
  });
  return h("div", { className: "importance" }, h("h3", {}, "Importance"),
    h("table", { className: "plain" }, h("caption", { className: "unseen" }, "Importance of the parameters"), h("tbody", {}, rows)),
    h("p", { className: "quiet" }, `How far a parameter's values among the settings of ${extreme(report.tasks[view.task]?.metric ?? report.metric)} ${metricName(report.tasks[view.task]?.metric ?? report.metric)} are from its values among all, as shares (PED-ANOVA); rough when the settings are few.`));
}

function panels(drawn, settings) {
  const others = view.metric === view.monitor ? view.others.filter((run) => isNumber(run.mean[view.monitor])) : [];
  const entries = [...others, ...settings]; // what counts is drawn on top
  const { domain, beyond } = bulk(entries.map((entry) => entry.mean[view.metric]), view.metric);
  const figures = drawn.map((parameter) => figureOf(makeChart(`of ${parameter.name}`, {
    label: `${metricName(view.metric)} of ${count(settings.length, "setting")} against ${shortName(parameter)}.${trend(parameter, settings)}`,
    height: 190, bottom: 26, draw: (chart) => drawPanel(chart, parameter, entries, domain),
  }), shortName(parameter)));
  const hollow = others.length ? `Filled: a setting's mean. Hollow: the ${extreme(view.metric)} figure of ${count(others.length, "run")} that did not finish.` : "A dot is a setting.";
  return [h("div", { className: "panels" }, figures), h("p", { className: "quiet" }, `${metricName(view.metric)} upwards, ${higherIsBetter(view.metric) ? "higher" : "lower"} is better. ${hollow} `, beyondNote(beyond))];
}

/** Where the best tenth lies, for those who cannot see the dots. */
function trend(parameter, settings) {
  const best = settings.slice(0, Math.max(1, Math.round(settings.length / 10))).map((setting) => typed(setting.values[parameter.name]));
  const kinds = [...new Set(best)];
  return ` The best ${count(best.length, "setting")}: ${kinds.slice(0, 6).join(", ")}.`;
}

function drawPanel(chart, parameter, entries, domain) {
  const place = inner(chart);
  const y = linear(domain, place.y, 4);
  const x = parameterScale(parameter, entries, place.x);
  leftAxis(chart, y, null);
  lowerAxis(chart, x.ticks, null, x.numeric ? 34 : Math.max(30, Math.min(120, x.step)));
  const spread = x.numeric ? (x.known.length <= 7 ? 8 : 0) : Math.min(24, x.step * 0.6);
  const points = entries.map((entry) => [x(entry.values[parameter.name]) + jitter(entry.id) * spread, atEdge(place, y(entry.mean[view.metric])), entry.id]);
  entries.forEach((entry, i) => chart.svg.append(mark(chart, entry.id, dot(points[i], entry, domain))));
  return (px, py) => nearest(points, px, py);
}

function dot([x, y, id], entry, domain) {
  const circle = s("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: id.startsWith("s") ? 4 : 3.5, class: id.startsWith("s") ? "dot" : "dot hollow" });
  return shade(circle, entry.mean[view.metric], domain);
}

/** The same for an id at every drawing: -0.5 to 0.5. */
function jitter(id) {
  const mixed = Math.sin((Number(id.slice(1)) + 1) * 12.9898) * 43758.5453;
  return mixed - Math.floor(mixed) - 0.5;
}
