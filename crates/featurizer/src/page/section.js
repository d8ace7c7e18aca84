//! The featurizer's section: memory and decay, the definitions, and one user's values with the events behind them.

import { bytes, card, count, element, say, table, tiles } from "./draw.js";

const SVG = "http://www.w3.org/2000/svg";
const LENGTH = 1000;
const ROW = 26;

/** A time of a day that may not be today. */
const moment = (ms) => new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** The length of a window, in the unit that it was most likely written in. */
function span(ms) {
  if (ms === null) return "no window";
  const units = [[3600000, "h"], [60000, "min"]];
  if (ms > 48 * 3600000) units.unshift([86400000, "d"]);
  const [unit, name] = units.find(([unit]) => ms % unit === 0) ?? [1000, "s"];
  return `${ms / unit} ${name}`;
}

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** The events on a time line, with the windows drawn over it; the function takes a user and the features. */
function timeLine(where) {
  const own = element("div", "timeline");
  const drawing = shape("svg", { preserveAspectRatio: "none", role: "img" });
  const labels = element("div", "rows");
  const times = element("div", "times");
  times.append(element("span"), element("span", "", "now"));
  own.append(labels, drawing, times);
  where.append(own);
  return (user, features) => {
    const windows = [...new Set(features.map((one) => one.window_ms))].filter((one) => one !== null).sort((a, b) => a - b);
    const oldest = user.events.reduce((first, event) => Math.min(first, event.time), user.now);
    const from = Math.min(oldest, user.now - (windows.at(-1) ?? 60000));
    const x = (time) => ((LENGTH * (time - from)) / Math.max(1, user.now - from)).toFixed(1);
    const height = ROW * (windows.length + 1);
    drawing.setAttribute("viewBox", `0 0 ${LENGTH} ${height}`);
    drawing.style.height = `${height}px`;
    const parts = windows.map((window, row) =>
      shape("path", { class: "span", d: `M${x(user.now - window)} ${row * ROW + 5}H${LENGTH}v${ROW - 10}H${x(user.now - window)}z` }),
    );
    const ticks = user.events.map((event) => `M${x(event.time)} 0V${height}`).join("");
    const base = height - ROW / 2;
    parts.push(shape("path", { class: "rule", d: `M0 ${base}H${LENGTH}` }), shape("path", { class: "tick", d: ticks }));
    drawing.replaceChildren(...parts);
    drawing.setAttribute("aria-label", `${user.events.length} events since ${moment(from)}`);
    labels.replaceChildren(...windows.map((window) => element("span", "", span(window))), element("span", "", "events"));
    say(times.firstChild, moment(from));
  };
}

function userCard(where) {
  const own = card(where, "Look a user up", "Values as Redis has them now; the events behind them follow within --checkpoint (10 s by default).", "card wide");
  own.id = "user";
  const form = element("form", "ask");
  const label = element("label", "", "User");
  label.htmlFor = "user-id";
  const input = element("input");
  Object.assign(input, { id: "user-id", name: "id", maxLength: 512, required: true, autocomplete: "off", spellcheck: false });
  const button = element("button", "", "Look up");
  form.append(label, input, button);
  const outcome = element("p");
  outcome.id = "user-outcome";
  outcome.setAttribute("role", "status");
  const found = element("div", "grid");
  found.hidden = true;
  own.append(form, outcome, found);
  const left = element("div");
  const right = element("div");
  found.append(left, right);
  left.append(element("h3", "", "Values"));
  const values = table(left, "Values of the user", ["Feature", "#Value", "Window"]);
  right.append(element("h3", "", "Events and windows"));
  const line = timeLine(right);
  const words = element("p", "muted");
  right.append(words);
  const list = element("div", "tall");
  right.append(list);
  const events = table(list, "Events of the user", ["Time", "Fields", "Counts in"]);
  let asked = null;
  let features = [];

  function show(user) {
    found.hidden = !user.found && user.events.length === 0;
    const validity =
      user.as_of === null ? "" : ` Right from ${moment(user.as_of)} until ${moment(user.valid_until)}, unless a newer event is under way.`;
    const exact = user.exact ? "" : " Some windows include up to a minute too much.";
    const lacks = user.complete_from === null ? "" : ` Events before ${moment(user.complete_from)} are missing.`;
    const foreign = user.other_definitions ? " Its events were stored with other definitions, and are not shown." : "";
    say(outcome, user.found ? `${user.user}:${validity}${exact}${lacks}${foreign}` : `${user.user} has no features.`);
    values(
      features.map((one) => [one.name, user.values[one.name] ?? "none", span(one.window_ms)]),
      "None.",
    );
    line(user, features);
    const summed = user.summed_minutes === 0 ? "" : `; ${count(user.summed_minutes)} older minutes are only summed up`;
    say(words, `The last ${count(user.events.length)} of ${count(user.kept)} events, the newest first${summed}.`);
    function counted(event) {
      const matching = event.features.map((index) => features[index]);
      const reached = matching.filter((one) => one.window_ms === null || event.time > user.now - one.window_ms);
      if (reached.length === features.length) return "all features";
      return reached.map((one) => one.name).join(", ") || "none any more";
    }
    events(
      user.events.map((event) => [
        moment(event.time),
        Object.entries(event.numbers)
          .map(([name, value]) => `${name} ${value}`)
          .join(", "),
        counted(event),
      ]),
      "None.",
    );
  }

  async function ask() {
    const id = asked;
    let answer;
    try {
      answer = await fetch(`user.json?id=${encodeURIComponent(id)}`, { cache: "no-store" });
    } catch {
      return;
    }
    if (id !== asked) return;
    // Others look users up too: what is shown stays until the next second.
    if (answer.status === 429) return;
    if (answer.ok) show(await answer.json());
    else {
      found.hidden = true;
      say(outcome, (await answer.text()).trim());
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked = input.value;
    ask();
  });
  return (definitions) => {
    features = definitions;
    if (asked !== null) ask();
  };
}

/** Builds the section; the function it returns shows the figures of a second. */
export function begin(where) {
  const figures = element("div", "tiles");
  figures.id = "memory";
  const grid = element("div", "grid");
  where.append(figures, grid);
  const showTiles = tiles(figures);
  const showUser = userCard(grid);
  const definitions = card(grid, "Features", "What each is, by the definitions in effect.", "card wide");
  const showFeatures = table(definitions, "Features", ["Feature", "Is the", "Of", "Window"]);
  return (own, status) => {
    const sum = (name) => status.figures.filter((one) => one.name === name).reduce((all, one) => all + one.value, 0);
    showTiles([
      [count(sum("tidemill_decay_backlog")), "users due for decay"],
      [count(sum("tidemill_cached_users")), "users in memory"],
      [bytes(sum("tidemill_cached_bytes")), `of ${bytes(own.cache_bytes)} for them`],
      [count(sum("tidemill_user_writes_total")), "hashes written"],
      [count(sum("tidemill_interruptions_total")), "returns to the stored positions"],
    ]);
    showUser(own.features);
    showFeatures(
      own.features.map((one) => [one.name, one.aggregate.replace("_", " "), one.field ?? "events", span(one.window_ms)]),
      "None.",
    );
  };
}
