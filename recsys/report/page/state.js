// What the reader chose: kept in the address, so that a view can be linked. Charts and table follow.

const MOST = 4; // settings compared at once
const state = { task: 0, metric: report.metric, sort: "rank", filter: "", compare: [] };
let visible = new Set(); // ids that the filter leaves
let terms = []; // of the filter
let hot = null; // id under the pointer, or focused

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const task = Number(asked.get("task") ?? firstTask());
  state.task = report.tasks[task] ? task : 0;
  state.metric = metricsOf(state.task).find((metric) => metric === asked.get("metric")) ?? metricsOf(state.task)[0];
  state.sort = asked.get("sort") ?? "rank";
  state.filter = asked.get("filter") ?? "";
  view = makeView(state.task, state.metric);
  state.compare = (asked.get("compare") ?? "").split(",").filter((id) => view.byId.has(id) && id.startsWith("s")).slice(0, MOST);
  if (!state.compare.length && view.best) state.compare = [view.best.id];
}

/** The task with the most settings opens: an odd run among them is not what the reader came for. */
function firstTask() {
  const sizes = report.tasks.map((_, task) => report.settings.filter((setting) => (setting.task ?? 0) === task).length);
  return sizes.indexOf(Math.max(...sizes));
}

/** The metrics that a task has figures of, the report's first. */
function metricsOf(task) {
  const has = (metric) => report.settings.some((setting) => (setting.task ?? 0) === task && isNumber(setting.mean?.[metric]));
  const known = [...new Set([report.tasks[task]?.metric ?? report.metric, ...Object.keys(METRICS)])].filter(has);
  return known.length ? known : [report.metric];
}

function writeAddress() {
  const usual = { task: String(firstTask()), metric: metricsOf(state.task)[0], sort: "rank", filter: "", compare: view.best?.id ?? "" };
  const now = { ...state, task: String(state.task), compare: state.compare.join(",") };
  const said = Object.keys(usual).filter((key) => now[key] !== usual[key]);
  const address = said.map((key) => `${key}=${encodeURIComponent(now[key])}`).join("&");
  try {
    history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
  } catch {
    // pages without an address of their own, such as a mail's preview: the view is then not linkable
  }
}

/** Another task or metric: all is drawn anew. */
function go(change) {
  const compare = "task" in change ? [] : state.compare;
  Object.assign(state, change);
  if (!metricsOf(state.task).includes(state.metric)) state.metric = metricsOf(state.task)[0];
  view = makeView(state.task, state.metric);
  state.compare = compare.length ? compare : view.best ? [view.best.id] : [];
  showAll();
}

function setFilter(content) {
  state.filter = content;
  readFilter();
  for (const chart of charts) if (chart.top) fade(chart);
  keepInPlace(showRows);
  showBrushes();
  writeAddress();
}

/** Do what changes the height of the table; what the reader looks at, below it, stays where it is. */
function keepInPlace(change) {
  const seen = document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.closest("section");
  const before = seen?.getBoundingClientRect().top;
  change();
  if (seen) scrollBy(0, seen.getBoundingClientRect().top - before);
}

/** Which entries the filter leaves; a filter that cannot be read leaves all and says why. */
function readFilter() {
  let problem = null;
  try {
    terms = parseFilter(state.filter);
  } catch (error) {
    [terms, problem] = [[], error.message];
  }
  visible = new Set(view.entries.filter((entry) => terms.every(({ test }) => test(entry))).map(({ id }) => id));
  const left = view.settings.filter(({ id }) => visible.has(id)).length;
  const said = terms.length ? `${left} of ${count(view.settings.length, "setting")}` : count(view.settings.length, "setting");
  $("filter-said").textContent = problem ?? said;
  $("filter-said").classList.toggle("wrong", problem !== null);
  $("filter").ariaInvalid = String(problem !== null);
}

/** Compare a setting, or no longer; the earliest one gives way to a fifth. */
function choose(id) {
  const others = state.compare.filter((other) => other !== id);
  state.compare = others.length < state.compare.length ? others : [...others.slice(-(MOST - 1)), id];
  for (const chart of charts) if (chart.top) raise(chart);
  showChosenRows();
  showError();
  drawCharts();
  writeAddress();
}

/** Light up a setting or run wherever it is drawn; `event` places the tip beside the pointer. */
function hover(id, event = null) {
  if (id !== hot) {
    hot = id;
    for (const chart of charts) if (chart.top && chart.marks.size) raise(chart);
    for (const row of document.querySelectorAll("tr.hot")) row.classList.remove("hot");
    if (id) document.querySelector(`tr[data-id="${id}"]`)?.classList.add("hot");
    fillTip(id);
  }
  placeTip(event);
}
