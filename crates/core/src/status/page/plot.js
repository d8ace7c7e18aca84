//! A plot of the last ten minutes, with a cursor for the mouse and for the arrow keys.

import { INKS, clock, element, say } from "./draw.js";

const SVG = "http://www.w3.org/2000/svg";
const SPAN = 600;
const HEIGHT = 100;

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** The least of 1, 2, 5, 10, 20, ... that is not below `value`. */
export function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/**
 * A plot in `where` of one series or more, which `format` turns into text. The function it returns takes the ages of
 * the points in seconds, a list of values for each series (null where there is none), and the time now.
 */
export function plot(where, title, names, format) {
  const figure = element("figure");
  const head = element("header");
  const keys = element("div", "keys");
  const curves = names.map((name, index) => {
    const ink = INKS[index];
    if (names.length > 1) keys.append(element("span", `key ${ink}`, name));
    return shape("path", { class: `curve ${ink}` });
  });
  head.append(element("figcaption", "", title), keys);
  const frame = element("div", "plot");
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  const scale = element("div", "scale");
  scale.setAttribute("aria-hidden", "true");
  scale.append(element("span"), element("span"), element("span", "", "0"));
  const drawing = shape("svg", {
    viewBox: `0 0 ${SPAN} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  for (const height of [0, HEIGHT / 2, HEIGHT]) {
    drawing.append(shape("path", { class: "rule", d: `M0 ${height}H${SPAN}` }));
  }
  const cursor = shape("path", { class: "cursor" });
  drawing.append(...curves, cursor);
  const times = element("div", "times");
  times.append(element("span", "", "10 min ago"), element("span", "", "5 min"), element("span", "", "now"));
  frame.append(scale, drawing, times);
  const readout = element("div", "readout");
  figure.append(head, frame, readout);
  where.append(figure);

  let last = { ages: [], columns: names.map(() => []), now: 0 };
  // The age of the point under the cursor; null for the newest.
  let pointed = null;

  function nearest(age) {
    const distance = (index) => Math.abs(last.ages[index] - age);
    return last.ages.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
  }

  function text(index) {
    const value = (column) => column[index];
    const known = last.columns.map((column, series) => [names[series], value(column)]);
    return known
      .map(([name, found]) => `${name} ${found === null || found === undefined ? "–" : format(found)}`)
      .join(", ");
  }

  function point() {
    if (last.ages.length === 0) return say(readout, "no figures yet");
    const index = pointed === null ? last.ages.length - 1 : nearest(pointed);
    cursor.setAttribute("d", pointed === null ? "" : `M${SPAN - last.ages[index]} 0V${HEIGHT}`);
    const time = pointed === null ? "now" : clock(last.now - last.ages[index] * 1000);
    say(readout, `${time}: ${text(index)}`);
    return undefined;
  }

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    pointed = SPAN * (1 - (event.clientX - box.left) / box.width);
    point();
  });
  const leave = () => {
    pointed = null;
    point();
  };
  drawing.addEventListener("pointerleave", leave);
  frame.addEventListener("blur", leave);
  frame.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: 1, ArrowRight: -1, PageUp: 60, PageDown: -60, Home: SPAN }[event.key];
    if (event.key === "Escape" || event.key === "End") leave();
    else if (move !== undefined) {
      pointed = Math.min(SPAN, Math.max(0, (pointed ?? 0) + move));
      point();
    } else return;
    event.preventDefault();
  });

  return (ages, columns, now) => {
    last = { ages, columns, now };
    const highest = Math.max(0, ...columns.flat().filter((value) => value !== null));
    const top = roundUp(highest);
    say(scale.children[0], format(top));
    say(scale.children[1], format(top / 2));
    columns.forEach((column, series) => {
      let pen = "M";
      let path = "";
      column.forEach((value, index) => {
        // A second without a value, or a process that stood still, leaves a gap.
        if (index > 0 && ages[index - 1] - ages[index] > 5) pen = "M";
        if (value === null) {
          pen = "M";
          return;
        }
        const x = (SPAN - ages[index]).toFixed(1);
        path += `${pen}${x} ${(HEIGHT * (1 - value / top)).toFixed(2)}${pen === "M" ? "h0" : ""}`;
        pen = "L";
      });
      curves[series].setAttribute("d", path);
    });
    point();
    const newest = ages.length === 0 ? "no figures yet" : `now ${text(ages.length - 1)}`;
    drawing.setAttribute("aria-label", `${title} over the last ten minutes: ${newest}`);
    frame.setAttribute("aria-label", `${title}; the arrow keys move a cursor`);
  };
}
