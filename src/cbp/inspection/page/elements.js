// Elements of the page. Text goes in as text: labels come from the user's data.

const HTML = "http://www.w3.org/1999/xhtml";
const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";

function elementIn(namespace, name, attributes, children) {
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const html = (name, attributes = {}, ...children) =>
  elementIn(HTML, name, attributes, children);
const svg = (name, attributes = {}, ...children) =>
  elementIn(SVG, name, attributes, children);
const math = (name, ...children) => elementIn(MATHML, name, {}, children);

const byId = (id) => document.getElementById(id);
const shows = (id, ...children) => byId(id).replaceChildren(...children);

// A sentence of several lines here, which is one there.
const sentence = (...lines) => lines.join(" ");

// A number, with the name of what it is for whoever looks for it.
const number = (value, name) =>
  html(
    "span",
    { class: "number", ...(name && { "data-name": name }) },
    sixDigits(value),
  );

function table(kind, head, rows) {
  const cells = (tag, row) => html("tr", {}, ...row.map((cell) => html(tag, {}, cell)));
  const body = html("tbody", {}, ...rows.map((row) => cells("td", row)));
  const top = head.length ? [html("thead", {}, cells("th", head))] : [];
  return html("table", { class: kind }, ...top, body);
}

// A part that can be folded, open at first unless it is long.
function foldable(title, isOpen, ...content) {
  const attributes = isOpen ? { open: "" } : {};
  return html("details", attributes, html("summary", {}, ...title), ...content);
}

// One of a few, as radio buttons: the browser lets arrow keys choose among them.
function choice(name, value, content, onChoose) {
  const input = html("input", { type: "radio", name, value });
  input.addEventListener("change", () => onChoose(value));
  return html("label", { class: "chip" }, input, html("span", {}, ...content));
}
