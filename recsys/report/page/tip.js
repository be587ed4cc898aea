// The tip beside the pointer: what is under it. The same is in the tables, for those who read without a pointer.

function fillTip(id) {
  const entry = view.byId.get(id);
  $("tip").replaceChildren(...(entry ? (id.startsWith("s") ? settingTip(entry) : runTip(entry)) : []));
}

const pair = (term, value) => h("div", {}, h("dt", {}, term), h("dd", {}, value));
const valuePairs = (entry) => view.parameters.slice(0, 10).map((parameter) => pair(shortName(parameter), clip(typed(entry.values[parameter.name]), 60)));

function settingTip(setting) {
  const gap = setting.difference ? pair("To the best", interval(setting.difference)) : null;
  return [
    h("p", {}, h("b", {}, `#${setting.rank}`), ` of ${count(view.settings.length, "setting")}`),
    h("dl", {}, [pair(metricName(view.metric), plusMinus(setting.mean[view.metric], setting.error[view.metric])), gap, pair("Fitted in", duration(setting.seconds))].filter(given), valuePairs(setting)),
  ];
}

const runTip = (run) => [
  h("p", {}, h("b", {}, run.state), ` ${run.path ?? ""}`),
  h("dl", {}, pair(`Best ${metricName(view.monitor).replace("V", "v")}`, figure(run.mean[view.monitor])), pair("Epochs", String(run.curve.length)), valuePairs(run)),
];

function placeTip(event) {
  const tip = $("tip");
  tip.hidden = !(hot && event);
  if (tip.hidden) return;
  const { width, height } = tip.getBoundingClientRect();
  const beside = event.clientX + 16 + width > innerWidth - 8 ? event.clientX - width - 16 : event.clientX + 16;
  tip.style.left = `${Math.max(8, beside)}px`;
  tip.style.top = `${Math.max(8, Math.min(event.clientY + 12, innerHeight - height - 8))}px`;
}
