// Elements from names, attributes and children. Text always becomes text, never HTML.

/**
 * An element. `attributes`: functions are listeners (`onclick`), `style` is an object of CSS properties (set
 * one by one, as the content policy allows no style attribute), true and false switch an attribute on and off.
 * Children that are null or false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element; attributes and children as of `h`. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "style") setStyle(element, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Puts children in the place of all an element has. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

let count = 0;

/** An id that no element of the page has yet. */
export function newId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

/** Says a sentence to those who listen to the page instead of looking at it. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}
