// The report's data, and what follows from the chosen task and metric.

const report = readReport($("data").textContent);
const { metrics: METRICS, baselines: BASELINES, states: STATES } = report.registry; // what Python knows of each, by key
let view = null; // of the chosen task and metric: see makeView

function readReport(text) {
  const data = JSON.parse(text) ?? {};
  const list = (value) => (Array.isArray(value) ? value.filter(given) : []);
  const tasks = list(data.tasks);
  return {
    root: data.root ?? "",
    made: data.made ?? null,
    metric: data.metric ?? "",
    registry: { metrics: {}, baselines: {}, states: {}, ...data.registry },
    tasks: tasks.length ? tasks : [{}],
    parameters: list(data.parameters).filter(({ name }) => name),
    settings: list(data.settings),
    runs: list(data.runs),
    importance: Array.isArray(data.importance) ? data.importance : [],
    rankings: list(data.rankings),
  };
}

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const lowest = (values) => values.reduce((a, b) => (isNumber(b) && (a === null || b < a) ? b : a), null);
const loss = (value, metric) => (isNumber(value) && higherIsBetter(metric) ? -value : value);
const bestOf = (values, metric) => loss(lowest(values.map((value) => loss(value, metric))), metric);
const monitorOf = (task) => report.tasks[task ?? 0]?.monitor ?? report.metric; // the validation metric that selected the epochs of a task's runs
const nullsLast = (a, b) => (isNumber(a) ? (isNumber(b) ? a - b : -1) : isNumber(b) ? 1 : 0);

/** The settings of a task ranked by a metric, the parameters that vary among them, and runs that have a curve only. */
function makeView(task, metric) {
  const settings = report.settings.map(readSetting).filter((setting) => setting.task === task);
  settings.sort((a, b) => nullsLast(loss(a.mean[metric], metric), loss(b.mean[metric], metric)));
  settings.forEach((setting, i) => (setting.rank = i + 1));
  const best = isNumber(settings[0]?.mean[metric]) ? settings[0] : null;
  for (const setting of settings) setting.difference = best && setting !== best ? difference(setting, best, metric) : null;
  const others = report.runs.map(readOther).filter((run) => run.task === task && run.state !== "finished" && run.curve.some(isNumber));
  const entries = [...settings, ...others];
  const parameters = parametersOf(entries, report.importance[task] ?? {});
  return { task, metric, monitor: monitorOf(task), test: report.tasks[task]?.test ?? metric, settings, best, others, entries, parameters, about: report.tasks[task], byId: new Map(entries.map((entry) => [entry.id, entry])) };
}

function readSetting(raw, index) {
  const numbers = Array.isArray(raw.runs) ? raw.runs : [];
  const runs = numbers.map((number) => report.runs[number]).filter(given);
  const average = raw.mean ?? {};
  return {
    id: `s${index}`, task: raw.task ?? 0, values: raw.values ?? {}, runs, mean: average, error: raw.standard_error ?? {},
    seconds: average.fit_seconds ?? null, command: raw.command ?? null, told: raw.difference ?? null,
  };
}

function readOther(run, index) {
  const curve = Array.isArray(run.curve) ? run.curve : [];
  const monitor = monitorOf(run.task);
  const best = bestOf(curve, monitor); // all that there is of a run that did not finish
  return { ...run, id: `r${index}`, values: run.values ?? {}, curve, mean: { [monitor]: best }, seconds: run.seconds ?? null, runs: [run] };
}

/** Those that vary within the task, the most important first. */
function parametersOf(entries, importance) {
  const kinds = ({ name }) => new Set(entries.map((entry) => JSON.stringify(entry.values[name] ?? null))).size;
  const weight = ({ name }) => importance[name] ?? -1;
  return report.parameters.filter((parameter) => kinds(parameter) > 1).sort((a, b) => weight(b) - weight(a));
}

// ---- Paired differences

/** 97.5% quantiles of Student's t by degrees of freedom, from 1. */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
const student = (freedom) => STUDENT[freedom - 1] ?? 1.96 + 2.4 / freedom;

function byRepeat(runs, metric) {
  const groups = new Map();
  for (const run of runs) {
    const value = loss(run.metrics?.[metric], metric);
    const key = `${run.seed ?? ""} ${run.fold ?? ""}`;
    if (isNumber(value)) groups.set(key, [...(groups.get(key) ?? []), value]);
  }
  return groups;
}

/** How much worse than the best setting, over the repeats (seed, fold) that both have; the report's own figure where it made one. */
function difference(setting, best, metric) {
  if (metric === (report.tasks[setting.task]?.metric ?? report.metric) && setting.told) return setting.told;
  const ours = byRepeat(setting.runs, metric);
  const theirs = byRepeat(best.runs, metric);
  const gaps = [...ours].filter(([key]) => theirs.has(key)).map(([key, values]) => mean(values) - mean(theirs.get(key)));
  if (!gaps.length) return null;
  const middle = mean(gaps);
  if (gaps.length < 2) return { mean: middle, low: null, high: null, n: 1 };
  const spread = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - middle) ** 2, 0) / (gaps.length - 1) / gaps.length);
  const half = student(gaps.length - 1) * spread;
  return { mean: middle, low: middle - half, high: middle + half, n: gaps.length };
}
