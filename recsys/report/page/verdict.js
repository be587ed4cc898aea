// The verdict in plain words: which setting to use, how good it is, and how sure that is.

function showVerdict() {
  const { best, settings } = view;
  if (!settings.length) return fill("verdict", "Verdict", note(unready()));
  if (!best) return fill("verdict", "Verdict", note(`None of the finished runs has the metric ${view.metric}.`));
  const alone = settings.length === 1;
  fill("verdict", alone ? "Result" : "Verdict",
    h("p", { className: "lead" }, alone ? resultSentence(best) : verdictSentence(best)),
    figures(best),
    h("ul", { className: "findings" }, [againstBaselines(best), ...(view.about.remarks ?? []).map((remark) => [strong("Warning"), `: ${remark}.`]), ...(alone ? [repeats(best)] : comparison(best)), caution()].filter(given).map((part) => h("li", {}, part))),
    best.command ? h("h3", {}, alone ? "To run it again" : "To train it") : null,
    commandLine(best.command, "the command of the best setting"),
    alone && best.runs.length > 1 ? [h("h3", {}, "Its runs"), runsTable(best)] : null);
}

const note = (...content) => h("p", { className: "note" }, content);

function unready() {
  const runs = report.tasks.length > 1 ? report.runs.filter((run) => run.task === view.task) : report.runs;
  return runs.length ? `No run has finished${report.tasks.length > 1 ? " here" : ""}: ${plural(runsByState(runs))}. See the list below.` : "There are no runs here.";
}

const times = (setting) => (setting.runs.length > 1 ? `, the mean of ${count(setting.runs.length, "run")} ± its standard error` : "");
const strong = (content) => h("strong", {}, content);

function resultSentence(setting) {
  const values = summary(setting);
  return [metricName(view.metric), " ", strong(plusMinus(setting.mean[view.metric], setting.error[view.metric])), times(setting), values ? h("span", { className: "quiet" }, ` (${values})`) : null, "."];
}

function verdictSentence(best) {
  const values = view.parameters.filter(({ name }) => given(best.values[name]));
  const words = values.flatMap((parameter, i) => [
    i === 0 ? "" : i === values.length - 1 ? " and " : ", ",
    h("span", { className: "choice" }, `${shortName(parameter)} `, h("b", {}, typed(best.values[parameter.name]))),
  ]);
  return [words.length ? ["Use ", words, ". "] : null, metricName(view.metric), " ", strong(plusMinus(best.mean[view.metric], best.error[view.metric])),
    times(best), `${best.runs.length > 1 ? "," : ""} is the ${extreme(view.metric)} of `, count(view.settings.length, "setting"), "."].flat();
}

/** The best setting's figures in a row. */
function figures(setting) {
  const shown = Object.keys(METRICS).filter((metric) => isNumber(setting.mean[metric]));
  const cells = shown.map((metric) => pair(metricName(metric), [h("b", {}, figure(setting.mean[metric])), isNumber(setting.error[metric]) ? h("small", {}, ` ± ${figure(setting.error[metric])}`) : null].filter(given)));
  const epochs = mean(setting.runs.map((run) => run.metrics?.epochs).filter(isNumber));
  const fitted = isNumber(setting.seconds) ? pair("Fitted in", h("b", {}, duration(setting.seconds))) : null;
  return h("dl", { className: "figures" }, cells, fitted, epochs === null ? null : pair("Epochs", h("b", {}, String(Math.round(epochs)))));
}

function againstBaselines(setting) {
  const baselines = Object.entries(view.about.baselines ?? {}).filter(([, value]) => isNumber(value)).sort(([, a], [, b]) => loss(a, view.monitor) - loss(b, view.monitor));
  const ours = setting.mean[view.test];
  if (!isNumber(ours) || !baselines.length) return null;
  const [[nearest, value], ...others] = baselines;
  const share = Math.abs(1 - ours / value);
  const name = (key) => BASELINES[key] ?? key;
  const rest = others.length ? ` (${spoken(others.map(([key, other]) => `${name(key)} ${figure(other)}`))})` : "";
  return `On the test rows its ${METRICS[view.test]?.name ?? view.test} is ${figure(ours)}: ${percent(share)} ${ours < value ? "below" : "above"} the best baseline, ${name(nearest)}, at ${figure(value)}${rest}.`;
}

const repeats = (setting) => (setting.runs.length > 1 ? null : ["A single run has no standard error. Repeat it with ", h("code", {}, "'seeds=[0,1,2]'"), "."]);

/** Comparison of the other settings with the best: significant, not significant, or not testable. */
function comparison(best) {
  const others = view.settings.filter((setting) => setting !== best && isNumber(setting.mean[view.metric]));
  const judged = others.filter(({ difference }) => isNumber(difference?.low));
  if (!others.length) return [];
  if (!judged.length) return [unjudged(best, others[0])];
  const same = judged.filter(({ difference }) => difference.low <= 0);
  const left = others.length - judged.length;
  return [
    same.length ? notApart(same, judged) : apart(judged),
    same.length ? faster(best, same) : null,
    left ? `${count(left, "setting")} cannot be tested: fewer than two repeats (seed and fold) in common with the best.` : null,
  ];
}

const unjudged = (best, next) => [
  `The next, ${label(next)}, is ${behind(loss(next.mean[view.metric], view.metric) - loss(best.mean[view.metric], view.metric))}. Significance cannot be tested without repeats: add `,
  h("code", {}, "'seeds=[0,1,2]'"), " to the commands of the best few.",
];

const behind = (gap) => (gap < 0.00005 ? "as good to four digits" : `behind by ${figure(gap)}`);

function apart(judged) {
  const next = judged[0];
  return `It is significantly better than ${judged.length === 1 ? "the other" : `all ${judged.length} others`}: the next, ${label(next)}, is worse by ${interval(next.difference)} (95% interval, ${count(next.difference.n, "pair")}).`;
}

function notApart(same, judged) {
  const [next] = same;
  const head = same.length === 1 ? "One other setting is not significantly worse" : `${same.length} other settings are not significantly worse`;
  const tail = judged.length > same.length ? ` The other ${judged.length - same.length} are significantly worse.` : "";
  return `${head}: the 95% interval of the paired difference includes zero. The nearest is ${label(next)}, ${interval(next.difference)} over ${count(next.difference.n, "pair")}.${tail}`;
}

function faster(best, same) {
  const [quickest] = same.filter(({ seconds }) => isNumber(seconds)).sort((a, b) => a.seconds - b.seconds);
  if (!quickest || !isNumber(best.seconds) || quickest.seconds > 0.7 * best.seconds) return null;
  return `Of these, ${label(quickest)} is fitted fastest: ${duration(quickest.seconds)} rather than ${duration(best.seconds)}.`;
}

function caution() {
  if (view.settings.length < 2) return null;
  if (!METRICS[view.metric]?.validation) return "Settings are ranked by a test metric, so the best one's is biased. Select by the validation metric, and report the test metric.";
  return view.settings.length < 10 ? null : `The best of ${view.settings.length} is also the luckiest: its validation metric is slightly optimistic. The test metric was not used for selection.`;
}
