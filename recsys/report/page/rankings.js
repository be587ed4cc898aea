// Rankings of the same cases: settings of all tasks, compared in pairs case by case.

function showRankings() {
  fill("rankings", "Rankings of the same cases", ...report.rankings.map(rankingTable));
}

function rankingTable({ metric, place, cases, users, settings, sentence }) {
  const rows = (settings ?? []).map(({ label, path, mean, difference }, i) => [
    String(i + 1), label || path, figure(mean), i ? signed(difference?.mean) : h("span", { className: "quiet" }, "best"),
    difference && isNumber(difference.low) ? h("span", { className: difference.low <= 0 ? "same" : "" }, `[${signed(difference.low)}, ${signed(difference.high)}]`) : NONE,
    h("span", { className: "mono" }, path || "."),
  ]);
  const name = `${[place, metricName(metric)].filter(Boolean).join(": ")} of the same ${count(cases ?? 0, "case")} of ${count(users ?? 0, "user")}`;
  return [h("h3", {}, name), table(name, ["#", "Setting", metricName(metric), "To the best", "95% interval", "Run"], rows, "plain"), h("p", {}, sentence)];
}
