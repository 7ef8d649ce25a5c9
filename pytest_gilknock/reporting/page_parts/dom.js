// Elements and texts. Whatever comes from outside becomes a text node or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawing(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const NOT_MEASURED = "n/a";

// Three digits and the unit that suits them, as the terminal writes times.
function seconds(value) {
  if (value == null) return NOT_MEASURED;
  if (value === 0) return "0 s";
  if (value < 1e-6) return "<1 us";
  const rounded = value < 1000 ? Number(value.toPrecision(3)) : value; // first: 999.6 us are 1.00 ms
  const [scaled, unit] =
    rounded < 1e-3 ? [rounded * 1e6, "us"] : rounded < 1 ? [rounded * 1e3, "ms"] : [rounded, "s"];
  return `${scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0)} ${unit}`;
}

// As little as a label needs: 512 us, 4.1 ms.
function briefly(value) {
  const [scaled, unit] =
    value < 1e-6 ? [value * 1e9, "ns"] : value < 1e-3 ? [value * 1e6, "us"] : value < 1 ? [value * 1e3, "ms"] : [value, "s"];
  return `${Number(scaled.toPrecision(scaled < 10 ? 2 : 3))} ${unit}`;
}

function share(value) {
  return value == null ? NOT_MEASURED : value.toFixed(3);
}

function percent(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(part < whole / 10 ? 1 : 0)} %` : NOT_MEASURED;
}

function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const PRINTED = {
  s: seconds,
  share,
  count: (value) => (value == null ? NOT_MEASURED : value.toLocaleString("en")),
  text: (value) => value ?? "",
  place: (value) => value ?? "",
  printed: ([, text]) => text,
};
