// The header and the controls: what was run, where and when, and what of it the page shows.

const stateOf = (run) => run.state ?? "unfinished";
const plural = (states) => states.map(([name, n]) => `${n.toLocaleString("en")} ${name}`).join(", ");

function runsByState(runs) {
  const order = Object.keys(STATES);
  const names = [...new Set([...order, ...runs.map(stateOf)])];
  return names.map((name) => [name, runs.filter((run) => stateOf(run) === name).length]).filter(([, n]) => n);
}

const taskLabel = ({ label, data, split }) => label ?? ([data, split].filter(given).join(" · ") || "one task");

function showHeader() {
  const { runs, tasks } = report;
  $("title").textContent = runs.length === 1 ? oneRun(runs[0]) : runs.length ? `Experiments: ${count(runs.length, "run")}` : "Experiments";
  $("where").textContent = report.root;
  document.title = [report.root.split("/").filter(Boolean).at(-1), "experiments"].filter(Boolean).join(" · ");
  $("facts").replaceChildren(...headerFacts(runs, tasks).filter(given));
}

/** "One run: mf on ml-100k". */
function oneRun(run) {
  const said = [run.model, report.tasks[run.task]?.data && `on ${report.tasks[run.task].data}`].filter(Boolean).join(" ");
  return said ? `One run: ${said}` : "One run";
}

function headerFacts(runs, tasks) {
  const times = runs.map((run) => run.started).filter(given).sort();
  const commits = [...new Set(runs.map((run) => run.commit).filter(given))];
  const seconds = runs.map((run) => run.seconds).filter(isNumber);
  return [
    runs.length ? pair("Runs", plural(runsByState(runs))) : null,
    pair(tasks.length === 1 ? "Task" : "Tasks", tasks.length <= 3 ? tasks.map(taskLabel).join(", ") : `${tasks.length}, choose below`),
    times.length ? pair("Started", moment(times[0]) + (times.length > 1 ? ` to ${moment(times.at(-1))}` : "")) : null,
    seconds.length ? pair("Computing time", duration(seconds.reduce((a, b) => a + b, 0))) : null,
    commits.length ? pair(commits.length === 1 ? "Commit" : "Commits", commits.length <= 3 ? commits.map((commit) => String(commit).slice(0, 12)).join(", ") : `${commits.length} different ones`) : null,
    report.made ? pair("Report made", moment(report.made)) : null,
  ];
}

function showContents() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")];
  $("contents").replaceChildren(...sections.map((section) => h("a", { href: `#${section.id}` }, section.querySelector("h2").dataset.brief ?? section.querySelector("h2").textContent)));
}

function showControls() {
  const alone = view.settings.length < 2;
  $("controls").hidden = alone && report.tasks.length < 2;
  $("task-field").hidden = report.tasks.length < 2;
  $("metric-field").hidden = alone;
  $("filter-field").hidden = alone;
  $("filter-said").hidden = alone;
  options($("task"), report.tasks.map((task, i) => [i, taskLabel(task)]), state.task);
  options($("metric"), metricsOf(state.task).map((metric) => [metric, metricName(metric)]), state.metric);
  $("filter").value = state.filter;
  $("filter").placeholder = filterExample();
}

const options = (select, choices, current) =>
  select.replaceChildren(...choices.map(([value, name]) => h("option", { value, selected: String(value) === String(current) }, name)));

/** A filter that works on this very data. */
function filterExample() {
  const values = view.best?.values ?? {};
  const number = view.parameters.find(({ name }) => isNumber(values[name]));
  const other = view.parameters.find(({ name }) => typeof values[name] === "string");
  const terms = [number && `${shortName(number)}<=${Number(values[number.name].toPrecision(2))}`, other && `${shortName(other)}=${quote(values[other.name])}`, "rank<=10"];
  return terms.filter(Boolean).slice(0, 2).join(" ");
}

// ---- Light and dark

const THEMES = { "light dark": "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function setTheme(theme) {
  document.documentElement.style.colorScheme = theme;
  $("theme").textContent = THEMES[theme];
  $("theme").value = theme;
}

function setUpTheme() {
  let stored = null;
  try {
    stored = localStorage.getItem("recsys-theme");
  } catch {
    // storage is switched off: the theme then lasts as long as the page
  }
  $("theme").hidden = false;
  setTheme(stored in THEMES ? stored : "light dark");
  $("theme").onclick = () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf($("theme").value) + 1) % names.length]);
    try {
      localStorage.setItem("recsys-theme", $("theme").value);
    } catch {
      // as above
    }
  };
}
