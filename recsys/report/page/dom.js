// Nodes made by script alone, so that whatever the data holds is text and never markup.

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const given = (child) => child !== null && child !== undefined && child !== false;

/** An element with properties (or attributes, where there is no such property) and children; null ones are left out. */
function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter(given));
  return node;
}

/** An SVG element with attributes and children. */
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat().filter(given));
  return node;
}

/** Fill a section with a heading and its parts, or hide it when there is nothing to show. */
function fill(id, title, ...parts) {
  const rest = parts.flat().filter(given);
  const section = $(id);
  section.hidden = !rest.length;
  section.replaceChildren(...(rest.length ? [h("h2", { id: `${id}-name`, tabIndex: -1 }, title), ...rest] : []));
}

const say = (text) => ($("said").textContent = text);

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard for a page that is opened from a file, in some browsers: the old way does it there.
    const area = h("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function copyButton(text, what, label = "Copy") {
  const button = h("button", { type: "button", className: "small", "aria-label": `${label} ${what}` }, label);
  button.onclick = async (event) => {
    event.stopPropagation();
    await copy(text);
    button.textContent = "Copied";
    say(`Copied ${what}.`);
    setTimeout(() => (button.textContent = label), 1500);
  };
  return button;
}

/** A command to read and to copy. */
const commandLine = (command, what) =>
  command ? h("div", { className: "command" }, h("pre", { tabIndex: 0, "aria-label": what }, h("code", {}, command)), copyButton(command, what)) : null;

/** A table that scrolls by itself when it is wider than the page. */
function table(caption, heads, rows, className = "") {
  const head = heads.map((text) => h("th", { scope: "col" }, text));
  const body = rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell ?? "–"))));
  const node = h("table", { className }, h("caption", { className: "unseen" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
  return h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, node);
}

const details = (summary, ...children) => h("details", {}, h("summary", {}, summary), ...children);
const swatch = (className) => h("i", { className: `swatch ${className}`, "aria-hidden": "true" });
