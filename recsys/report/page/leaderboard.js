// The leaderboard: a row a setting, to sort, filter, open and compare.

const PAGE = 25; // rows at first; more on asking
let limit = PAGE;
let columns = [];
const opened = new Set(); // ids of the rows that show their runs

function showLeaderboard() {
  limit = PAGE;
  opened.clear();
  if (view.settings.length < 2) return fill("leaderboard", "Settings");
  columns = makeColumns();
  if (!columns.some(({ key }) => key === state.sort.replace(/^-/, ""))) state.sort = "rank";
  const heads = columns.map((column) => h("th", { scope: "col", className: column.number ? "number" : "", "data-key": column.key }, heading(column)));
  const head = h("tr", {}, h("th", { scope: "col", className: "pin" }, h("span", { className: "unseen" }, "Compare and open")), heads);
  const body = h("tbody", { id: "rows", onpointerover: pointAtRow, onpointerleave: () => hover(null), onfocusin: pointAtRow });
  const wide = h("table", { id: "settings" }, h("caption", { className: "unseen" }, "The settings, best first. The headings sort."), h("thead", {}, head), body);
  fill("leaderboard", "Settings",
    h("p", { className: "quiet" }, `${metricName(view.metric)} ± standard error of the mean over repeats. Tick up to ${MOST} to compare them in every chart; open a row for its runs and its command.`),
    h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of settings" }, wide),
    h("p", { id: "more", className: "bar" }));
  showRows();
}

const pointAtRow = ({ target }) => hover(target.closest("tr[data-id]")?.dataset.id ?? null);

function makeColumns() {
  const shown = view.parameters.slice(0, 8);
  const others = Object.keys(METRICS).filter((metric) => metric !== view.metric && METRICS[metric].display !== "option" && view.settings.some((setting) => isNumber(setting.mean[metric])));
  const judged = view.settings.some((setting) => setting.difference);
  return [
    { key: "rank", name: "#", number: true, get: (setting) => setting.rank },
    metricColumn(view.metric),
    intervalColumn(),
    judged && { key: "difference", name: "To the best", number: true, get: (setting) => setting.difference?.mean ?? (setting === view.best ? 0 : null), cell: differenceCell },
    ...shown.map(parameterColumn),
    ...others.map(metricColumn),
    { key: "seconds", name: "Fit", number: true, get: (setting) => setting.seconds, cell: (setting) => duration(setting.seconds) },
    { key: "runs", name: "Runs", number: true, get: (setting) => setting.runs.length },
  ].filter(Boolean);
}

const parameterColumn = (parameter) => ({
  key: parameter.name, name: shortName(parameter), title: fullName(parameter), number: parameter.kind === "number",
  get: (setting) => setting.values[parameter.name] ?? null, cell: (setting) => clip(typed(setting.values[parameter.name]), 40),
});

const metricColumn = (metric) => ({
  key: metric, name: shortMetricName(metric), title: metricName(metric), number: true, get: (setting) => setting.mean[metric],
  cell: (setting) => (metric === view.metric ? [h("b", {}, figure(setting.mean[metric])), isNumber(setting.error[metric]) ? h("small", {}, ` ±${figure(setting.error[metric])}`) : null].filter(given) : figure(setting.mean[metric])),
});

function differenceCell(setting) {
  if (setting === view.best) return h("span", { className: "quiet" }, "best");
  if (!setting.difference) return NONE;
  const { mean: middle, low, high, n } = setting.difference;
  const same = isNumber(low) && low <= 0;
  return h("span", { className: same ? "same" : "", title: `${count(n ?? 1, "pair")}${same ? ": not significantly different from the best" : ""}` },
    signed(middle), isNumber(low) ? h("small", {}, ` [${signed(low)}, ${signed(high)}]`) : null);
}

/** A small picture of mean ± standard error, on one scale for all rows: that of the best. */
function intervalColumn() {
  const ends = view.settings.slice(0, PAGE).flatMap((setting) => [-1, 0, 1].map((side) => setting.mean[view.metric] + side * (setting.error[view.metric] ?? 0)));
  const { domain } = bulk(ends, view.metric) ?? { domain: [0, 1] };
  const x = linear(domain, [5, 105]);
  return { key: null, name: "", title: "Mean ± standard error", cell: (setting) => intervalPlot(setting, x) };
}

function intervalPlot(setting, x) {
  const middle = setting.mean[view.metric];
  if (!isNumber(middle)) return NONE;
  const place = (value) => Math.min(107, Math.max(3, x(value))).toFixed(1);
  const error = setting.error[view.metric] ?? 0;
  const dot = middle > x.domain[1] ? s("path", { d: "M103 5l5 4l-5 4z" }) : s("circle", { cx: place(middle), cy: 9, r: 2.6 });
  return s("svg", { class: "interval", viewBox: "0 0 110 18", width: 110, height: 18, "aria-hidden": "true" },
    s("line", { class: "best", x1: place(view.best.mean[view.metric]), x2: place(view.best.mean[view.metric]), y1: 0, y2: 18 }),
    s("line", { x1: place(middle - error), x2: place(middle + error), y1: 9, y2: 9 }), dot);
}

// ---- Sorting

function heading(column) {
  if (!column.key) return h("span", { className: "unseen" }, column.title);
  const button = h("button", { type: "button", title: column.title ?? "" }, column.name);
  button.onclick = () => {
    state.sort = state.sort === column.key ? `-${column.key}` : column.key;
    showRows();
    writeAddress();
    say(`Sorted by ${column.title ?? column.name}, ${state.sort.startsWith("-") ? "descending" : "ascending"}.`);
  };
  return button;
}

function sorted() {
  const descending = state.sort.startsWith("-");
  const { get } = columns.find(({ key }) => key === state.sort.replace(/^-/, ""));
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : typed(a).localeCompare(typed(b), "en", { numeric: true }));
  const left = view.settings.filter(({ id }) => visible.has(id));
  return left.sort((one, other) => {
    const [a, b] = [get(one) ?? null, get(other) ?? null];
    if (a === null || b === null) return (a === null) - (b === null) || one.rank - other.rank; // what is missing comes last either way
    return (descending ? -1 : 1) * order(a, b) || one.rank - other.rank;
  });
}

// ---- Rows

function showRows() {
  const body = $("rows");
  if (!body) return;
  for (const head of document.querySelectorAll("#settings th[data-key]")) {
    const by = state.sort.replace(/^-/, "") === head.dataset.key;
    head.ariaSort = by ? (state.sort.startsWith("-") ? "descending" : "ascending") : null;
  }
  const rows = sorted();
  body.replaceChildren(...rows.slice(0, limit).flatMap((setting) => (opened.has(setting.id) ? [rowOf(setting), runsOf(setting)] : [rowOf(setting)])));
  if (!rows.length) body.append(h("tr", {}, h("td", { colSpan: columns.length + 1, className: "quiet" }, "No setting passes the filter.")));
  showMore(rows.length);
}

function showMore(all) {
  const ask = (n, words) => h("button", { type: "button", onclick: () => { limit = n; showRows(); } }, words);
  const left = all - limit;
  $("more").replaceChildren(...(left > 0 ? [ask(limit + 4 * PAGE, `Show ${Math.min(left, 4 * PAGE)} more`), left > 4 * PAGE ? ask(Infinity, `Show all ${all}`) : "", h("span", { className: "quiet" }, `${limit} of ${all} shown`)] : []));
}

function rowOf(setting) {
  const { id } = setting;
  const name = `setting ${setting.rank}`;
  const tick = h("input", { type: "checkbox", checked: state.compare.includes(id), "aria-label": `Compare ${name}`, onchange: () => choose(id) });
  const open = h("button", { type: "button", className: "open", "aria-expanded": String(opened.has(id)), "aria-label": `Runs of ${name}` });
  const cells = columns.map(({ number, get, cell }) => h("td", { className: number ? "number" : "" }, (cell ?? get)(setting)));
  const row = h("tr", { "data-id": id, className: rowClass(id) }, h("td", { className: "pin" }, tick, open), cells);
  open.onclick = () => toggleRuns(setting, row, open);
  row.onclick = ({ target }) => target.closest("button, input, a") || String(getSelection()) || open.click();
  return row;
}

const rowClass = (id) => (state.compare.includes(id) ? `chosen c${state.compare.indexOf(id)}` : "");

function showChosenRows() {
  for (const row of document.querySelectorAll("#rows > tr[data-id]")) {
    row.className = `${rowClass(row.dataset.id)} ${row.dataset.id === hot ? "hot" : ""}`;
    row.querySelector("input").checked = state.compare.includes(row.dataset.id);
  }
}

function toggleRuns(setting, row, button) {
  const close = opened.delete(setting.id);
  if (close) row.nextSibling.remove();
  else row.after(runsOf(setting));
  if (!close) opened.add(setting.id);
  button.ariaExpanded = String(!close);
}

/** What is below an opened row: all values, the command, the runs. */
function runsOf(setting) {
  const hidden = view.parameters.length > 8 ? h("p", {}, summary(setting)) : null;
  return h("tr", { className: "runs" }, h("td", { colSpan: columns.length + 1 },
    h("div", { className: "within" }, hidden, commandLine(setting.command, `the command of setting ${setting.rank}`), runsTable(setting))));
}

function runsTable(setting) {
  const folds = setting.runs.some((run) => given(run.fold));
  const shown = Object.keys(METRICS).filter((metric) => setting.runs.some((run) => isNumber(run.metrics?.[metric])));
  const notes = setting.runs.some((run) => run.message);
  const heads = ["Seed", folds ? "Fold" : null, "State", notes ? "Note" : null, ...shown.map((metric) => shortMetricName(metric)), "Epochs", "Time", "Commit", "Folder", "Command"].filter(given);
  const rows = setting.runs.map((run) => [
    typed(run.seed), ...(folds ? [typed(run.fold)] : []), stateOf(run), ...(notes ? [run.message ?? NONE] : []), ...shown.map((metric) => figure(run.metrics?.[metric])),
    typed(run.metrics?.epochs), duration(run.seconds), typed(run.commit).slice(0, 12), h("span", { className: "mono" }, run.path || "."),
    run.command ? copyButton(run.command, `the command of ${run.path || "this run"}`) : NONE,
  ]);
  return table(`Runs of setting ${setting.rank}`, heads, rows, "plain");
}
