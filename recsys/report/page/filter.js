// The filter: words, and terms such as reg_lambda>0.05, embedding_dim=16..64, model=mf|svdpp. Brushes write into it, too.

const TERM = /^([^<>=!"]+)(<=|>=|!=|=|<|>)(.+)$/;
const quote = (text) => (/[\s|"]|\.\./.test(text) ? `"${text.replaceAll('"', "")}"` : text);
const tokens = (text) => text.match(/(?:"[^"]*"?|[^\s"])+/g) ?? [];

/** What a term may name besides the parameters and metrics. */
const FIELDS = {
  seconds: (entry) => entry.seconds,
  runs: (entry) => entry.runs.length,
  rank: (entry) => entry.rank,
};

/** The terms of a filter, each with a test of an entry; an unknown name throws, and so does what is half a term. */
function parseFilter(text) {
  return tokens(text).map((token) => {
    const [, name, sign, operand] = TERM.exec(token) ?? [];
    if (!name && /^[^"]*[<>=]/.test(token)) throw notUnderstood(token);
    if (!name) return { test: word(token) };
    const field = findField(name);
    if (/[<>]/.test(sign) && !isNumber(Number(operand))) throw notUnderstood(token);
    if (/^[<>=!]/.test(operand)) throw notUnderstood(token);
    return { field: field.name, sign, operand, test: (entry) => compare(field.get(entry), sign, operand) };
  });
}

const notUnderstood = (token) => new Error(`${token} is not understood; write for example ${filterExample()}`);

function word(token) {
  const wanted = token.replaceAll('"', "").toLowerCase();
  return (entry) => haystack(entry).includes(wanted);
}

/** All that is written about an entry, made once. */
function haystack(entry) {
  entry.text ??= [...Object.entries(entry.values).map(([name, value]) => `${name}=${typed(value)}`), entry.command, ...entry.runs.flatMap((run) => [run.path, run.state, run.message])].filter(given).join("\n").toLowerCase();
  return entry.text;
}

function findField(name) {
  const named = report.parameters.filter((parameter) => [parameter.name, fullName(parameter)].includes(name) || parameter.name.endsWith(`.${name}`));
  const exact = named.find((parameter) => parameter.name === name) ?? (named.length === 1 ? named[0] : null);
  if (exact) return { name: exact.name, get: (entry) => entry.values[exact.name] };
  if (named.length) throw new Error(`${name} may be ${named.map(fullName).join(" or ")}.`);
  const metric = Object.hasOwn(METRICS, name) ? name : Object.keys(METRICS).find((key) => METRICS[key].alias === name);
  if (metric) return { name, get: (entry) => entry.mean[metric] };
  if (Object.hasOwn(FIELDS, name)) return { name, get: FIELDS[name] };
  const metrics = metricsOf(view.task);
  const aliases = metrics.slice(2).map((key) => METRICS[key]?.alias).filter(given);
  const known = [...view.parameters.map(shortName), ...metrics.slice(0, 2), ...aliases, ...Object.keys(FIELDS)];
  throw new Error(`Nothing is named ${name}; there are ${known.join(", ")}.`);
}

function compare(value, sign, operand) {
  if (sign === "=") return alternatives(operand).some((one) => equals(value, one));
  if (sign === "!=") return !alternatives(operand).some((one) => equals(value, one));
  const limit = Number(operand);
  if (!isNumber(value) || !isNumber(limit)) return false;
  return { "<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit }[sign];
}

/** "a|b" as its parts; what is quoted is one. */
const alternatives = (operand) => operand.match(/"[^"]*"?|[^|"]+/g) ?? [operand];

/** The ends of "16..64"; null when it is no range. */
function range(operand) {
  const ends = /^([^"]+?)\.\.([^"]+)$/.exec(operand)?.slice(1).map(Number);
  return ends?.every(isNumber) ? ends : null;
}

function equals(value, operand) {
  const ends = range(operand);
  if (ends) return isNumber(value) && value >= ends[0] && value <= ends[1];
  const text = operand.replaceAll('"', "");
  if (!given(value)) return ["null", "none", NONE].includes(text.toLowerCase());
  return (isNumber(value) && value === Number(text)) || typed(value).replaceAll('"', "").toLowerCase() === text.toLowerCase();
}

/** The filter's text with the terms of one field replaced; `operand` null takes them away. */
function withTerm(text, field, operand) {
  const others = tokens(text).filter((token) => {
    const name = TERM.exec(token)?.[1];
    try {
      return !name || findField(name).name !== field;
    } catch {
      return true; // half typed: not ours to remove
    }
  });
  const parameter = report.parameters.find(({ name }) => name === field);
  return [...others, ...(operand === null ? [] : [`${parameter ? shortName(parameter) : field}=${operand}`])].join(" ");
}
