// Parallel coordinates: a line a setting, through its parameters to the metric. Brushing an axis writes a term of the filter.

const AXES = 10; // the most important parameters, where there are more
let axes = []; // of the chart as drawn: [{field, x, place(entry), invert}]
let brushes = null; // group of the drawn brushes

function showParallel() {
  axes = [];
  const settings = view.settings.filter((setting) => isNumber(setting.mean[view.metric]));
  const varied = view.parameters.filter(({ name }) => new Set(settings.map((setting) => typed(setting.values[name]))).size > 1);
  const shown = varied.slice(0, AXES);
  if (!shown.length || settings.length < 2) return fill("parallel", "Parameters to metric");
  const domain = bulk(settings.map((setting) => setting.mean[view.metric]), view.metric);
  const chart = makeChart("parallel", {
    label: `Parallel coordinates of ${count(settings.length, "setting")} over ${spoken(shown.map(shortName))} to ${metricName(view.metric)}. The table of settings holds the same values.`,
    height: 340, least: 110 + 92 * shown.length,
    draw: (chart) => drawParallel(chart, shown, settings, domain.domain),
  });
  const more = varied.length > AXES ? ` The ${AXES} most important of ${varied.length} parameters are drawn.` : "";
  fill("parallel", "From parameters to metric",
    h("p", { className: "quiet", id: "filter-help" }, "Drag along an axis to keep the settings that pass there, click an axis to let go. The same can be typed into the filter: ",
      h("code", {}, `${shortName(shown[0])}=${example(shown[0], settings)}`), ", ", h("code", {}, higherIsBetter(view.metric) ? `${view.metric}>${figure(domain.domain[0], 2)}` : `${view.metric}<${figure(domain.domain[1], 2)}`), `.${more}`),
    h("figure", {}, h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Parallel coordinates" }, chart.box),
      h("figcaption", {}, "Colour: ", metricName(view.metric), " ", shadeKey(domain.domain), " ", beyondNote(domain.beyond) ?? "")));
}

function example(parameter, settings) {
  const values = [...new Set(settings.map((setting) => setting.values[parameter.name]).filter(given))];
  if (values.every(isNumber)) return [0, 0.5].map((share) => Number(values.sort((a, b) => a - b)[Math.floor(share * values.length)].toPrecision(2))).join("..");
  return values.slice(0, 2).map((value) => quote(typed(value))).join("|");
}

function drawParallel(chart, shown, settings, domain) {
  const [top, bottom] = [40, chart.height - 24];
  const [left, right] = [54, chart.width - 60];
  const gap = (right - left) / shown.length;
  axes = shown.map((parameter, i) => {
    const scale = parameterScale(parameter, settings, [bottom, top]);
    return { field: parameter.name, name: shortName(parameter), x: left + i * gap, scale, value: (entry) => entry.values[parameter.name] ?? null };
  });
  const y = linear(domain, [bottom, top]);
  const metric = Object.assign((value) => Math.min(bottom + 6, Math.max(top - 6, y(value))), { numeric: true, ticks: ticksOf(y) });
  axes.push({ field: view.metric, name: shortMetricName(view.metric), x: right, scale: metric, value: (entry) => entry.mean[view.metric] });
  const points = (setting) => axes.map(({ x, scale, value }) => [x, scale(value(setting))]);
  const lines = [...settings].reverse().map((setting) => [setting.id, points(setting), setting]);
  for (const [id, at, setting] of lines) chart.svg.append(mark(chart, id, shade(s("path", { class: "route", d: path(at) }), setting.mean[view.metric], domain)));
  for (const axis of axes) drawAxis(chart, axis, top, bottom, gap);
  brushes = s("g", { class: "brushes" });
  chart.svg.append(brushes);
  showBrushes();
  return (x, at) => nearestLine(lines, x, at);
}

function drawAxis(chart, axis, top, bottom, gap) {
  const { x, scale, name } = axis;
  const last = axis === axes.at(-1);
  chart.svg.append(s("line", { class: "axis", x1: x, x2: x, y1: top, y2: bottom }), s("text", { x: last ? x + 50 : x, y: 16, class: last ? "name end" : axis === axes[0] ? "name" : "name middle", dx: axis === axes[0] ? -40 : 0 }, s("title", {}, fullName({ name: axis.field })), clip(name, Math.floor(gap / 6.4))));
  const ticks = spaced(scale.ticks.map(([at, content]) => [at, content]), 15);
  for (const [at, content] of ticks) {
    chart.svg.append(s("text", { x: last ? x + 8 : x - 7, y: at + 4, class: last ? "halo label" : "end halo label" }, clip(content, Math.max(5, Math.floor(gap / 8)))));
  }
  const grip = s("rect", { class: "grip", x: x - 14, y: top - 8, width: 28, height: bottom - top + 16 });
  chart.svg.append(grip);
  grip.addEventListener("pointerdown", (event) => startBrush(chart, axis, grip, event));
}

/** The line that passes nearest below or above the pointer. */
function nearestLine(lines, x, y) {
  const i = axes.findIndex((axis, k) => k + 1 < axes.length && x >= axis.x && x <= axes[k + 1].x);
  if (i < 0) return null;
  const share = (x - axes[i].x) / (axes[i + 1].x - axes[i].x);
  return nearest(lines.map(([id, at]) => [x, at[i][1] + share * (at[i + 1][1] - at[i][1]), id]).reverse(), x, y, 14);
}

// ---- Brushing

function startBrush(chart, axis, grip, down) {
  down.preventDefault();
  grip.setPointerCapture(down.pointerId);
  const place = (event) => {
    const box = chart.svg.getBoundingClientRect();
    return ((event.clientY - box.top) * chart.width) / box.width;
  };
  const start = place(down);
  let end = start;
  let asked = 0;
  const apply = () => {
    asked = 0;
    writeFilter(withTerm(state.filter, axis.field, Math.abs(end - start) < 4 ? null : within(axis, Math.min(start, end), Math.max(start, end))));
  };
  grip.onpointermove = (event) => {
    end = place(event);
    asked ||= requestAnimationFrame(apply);
  };
  grip.onpointerup = grip.onpointercancel = (event) => {
    if (event.type === "pointerup") end = place(event);
    cancelAnimationFrame(asked);
    apply();
    grip.onpointermove = grip.onpointerup = grip.onpointercancel = null;
  };
}

function writeFilter(content) {
  $("filter").value = content;
  setFilter(content);
}

/** The term's operand for what lies between two heights: the values themselves, so that it reads well and is exact. */
function within(axis, top, bottom) {
  const values = [...new Set(view.settings.map(axis.value))];
  const inside = values.filter((value) => (given(value) || axis.field !== view.metric) && axis.scale(value) >= top && axis.scale(value) <= bottom);
  if (!inside.length) return "nothing"; // an empty stretch of the axis: no setting passes there
  const known = inside.filter(given);
  if (!axis.scale.numeric) return inside.map((value) => (given(value) ? quote(typed(value)) : "null")).join("|");
  const low = Math.min(...known);
  const high = Math.max(...known);
  const numbers = known.length ? [low === high ? String(low) : `${low}..${high}`] : [];
  return [...numbers, ...(known.length < inside.length ? ["null"] : [])].join("|");
}

/** Bars on the axes that the filter speaks of. */
function showBrushes() {
  if (!brushes || !axes.length) return;
  const bars = axes.flatMap((axis) => {
    const own = terms.filter(({ field }) => field === axis.field);
    if (!own.length) return [];
    const places = view.settings.filter((setting) => own.every(({ test }) => test(setting))).map((setting) => axis.scale(axis.value(setting))).filter(isNumber);
    if (!places.length) return [];
    const [top, bottom] = [Math.min(...places) - 5, Math.max(...places) + 5];
    return [s("rect", { x: axis.x - 6, y: top, width: 12, height: bottom - top, rx: 4 })];
  });
  brushes.replaceChildren(...bars);
}
