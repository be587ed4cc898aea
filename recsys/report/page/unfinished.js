// What did not finish: always listed, of all tasks and whatever the filter, so that nothing is dropped in silence.

function showUnfinished() {
  const runs = report.runs.filter((run) => stateOf(run) !== "finished");
  const pruned = runs.filter((run) => stateOf(run) === "pruned");
  const rest = runs.filter((run) => stateOf(run) !== "pruned");
  const order = Object.keys(STATES);
  rest.sort((a, b) => order.indexOf(stateOf(a)) - order.indexOf(stateOf(b)));
  fill("unfinished", "Not finished",
    runs.length ? h("p", { className: "quiet" }, `${plural(runsByState(runs))}, of ${count(report.runs.length, "run")}. They are not ranked.`) : null,
    rest.length ? unfinishedTable("Runs that did not finish", rest) : null,
    pruned.length ? details(`${pruned.length.toLocaleString("en")} pruned: ${STATES.pruned}`, unfinishedTable("Pruned runs", pruned)) : null);
}

function unfinishedTable(caption, runs) {
  const tasks = report.tasks.length > 1;
  const rows = runs.map((run) => [
    h("span", { title: STATES[stateOf(run)] ?? "" }, stateOf(run)),
    folderOf(run),
    h("span", { className: "message" }, run.message ?? STATES[stateOf(run)] ?? NONE),
    ...(tasks ? [report.tasks[run.task] ? taskLabel(report.tasks[run.task]) : NONE] : []),
    h("span", { className: "values" }, valuesOf(run)),
    figure(bestOf(Array.isArray(run.curve) ? run.curve : [], monitorOf(run.task))),
    duration(run.seconds),
    run.command ? copyButton(run.command, `the command of ${run.path || "this run"}`) : NONE,
  ]);
  return table(caption, ["State", "Folder", "Message", tasks ? "Task" : null, "Setting", "Best validation", "Time", "Command"].filter(given), rows, "plain wrap");
}

/** A folder's name, which is not broken into many short lines. */
function folderOf(run) {
  const node = h("span", { className: "mono" }, run.path || ".");
  node.style.minWidth = `${Math.min(32, Math.max(4, node.textContent.length))}ch`;
  return node;
}

function valuesOf(run) {
  const known = report.parameters.filter(({ name }) => given(run.values?.[name]));
  return known.map((parameter) => `${shortName(parameter)} ${typed(run.values[parameter.name])}`).join(", ") || NONE;
}

/** How the page's figures are made, for who wants to know what ± means. */
function showReading() {
  if (!view.settings.length) return fill("reading", "How to read this");
  const terms = [
    ["Setting", "Runs with the same parameters except seed and fold. Metrics are means; ± is the standard error of the mean."],
    ["Difference to the best", "Paired: the mean difference over common seeds and folds, with Student's 95% confidence interval. If it includes zero, the difference is not significant. Folds share training rows, so over folds the interval is somewhat too narrow."],
    ["Warm, cold", "Cold rows have a user or an item that the model was not fitted on; warm rows have neither."],
    ["Validation, test", "Validation rows select the setting and the epoch. Test rows are used for evaluation only."],
    ["Biases baseline", "Predictions from user and item biases only, without factors."],
  ];
  const told = view.settings.length > 1 ? terms : terms.slice(2);
  fill("reading", "How to read this", h("dl", { className: "terms" }, told.map(([term, meaning]) => pair(term, meaning))));
}
