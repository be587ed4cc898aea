// How numbers, names and settings are written.

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const higherIsBetter = (metric) => METRICS[metric]?.direction === "max";
const NONE = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const figure = (value, digits = 4) => (isNumber(value) ? value.toFixed(digits).replace("-", "−") : NONE);
const signed = (value) => (isNumber(value) ? (value < 0 ? "" : "+") + figure(value) : NONE);
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const metricName = (metric) => capital(METRICS[metric]?.label ?? metric ?? NONE);
const shortMetricName = (metric) => capital(METRICS[metric]?.short ?? metric);
const extreme = (metric) => (higherIsBetter(metric) ? "highest" : "lowest");
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
const plusMinus = (mean, error) => figure(mean) + (isNumber(error) ? ` ± ${figure(error)}` : "");
const interval = ({ mean, low, high }) => signed(mean) + (isNumber(low) && isNumber(high) ? ` [${signed(low)}, ${signed(high)}]` : "");

/** A parameter's value as it was typed. */
function typed(value) {
  if (value === null || value === undefined) return NONE;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60).toLocaleString("en")} h ${two(minutes % 60)} min`;
}

/** "2026-11-23 22:40 UTC" of an ISO time, whatever the reader's zone: reports are compared across machines. */
const moment = (iso) => (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(iso ?? "") ? `${iso.slice(0, 10)} ${iso.slice(11, 16)}${/(Z|\+00:00)$/.test(iso) ? " UTC" : ""}` : NONE);

/** "a, b and c". */
const spoken = (parts) => (parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`);

/** A parameter's name as one types it to set it. */
const fullName = ({ name }) => (name === "model_name" ? "model" : name);

/** The last part of a parameter's name, or the whole where that part says too little. */
function shortName(parameter) {
  const last = (other) => fullName(other).split(".").at(-1);
  return report.parameters.filter((other) => last(other) === last(parameter)).length > 1 ? fullName(parameter) : last(parameter);
}

/** What sets an entry apart, the parameters that matter most first: "embedding_dim 64, dropout 0.1". */
function summary(entry, most = Infinity) {
  const parts = view.parameters.filter(({ name }) => given(entry.values[name])).slice(0, most);
  return parts.map((parameter) => `${shortName(parameter)} ${typed(entry.values[parameter.name])}`).join(", ");
}

const label = (setting, most = 3) => [`#${setting.rank}`, summary(setting, most)].filter(Boolean).join(" ");
