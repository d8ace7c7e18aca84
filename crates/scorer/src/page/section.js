//! The scorer's section: the model, the scores of the last ten minutes under any threshold, the last alerts.

import { ago, card, clock, count, element, say, table, took } from "./draw.js";

const SVG = "http://www.w3.org/2000/svg";
const STEPS = 100;

function modelCard(where) {
  const own = card(where, "Model", "");
  own.id = "model";
  const words = own.lastChild;
  const digest = element("p");
  const code = element("code");
  digest.append(element("span", "muted", "digest "), code);
  own.append(digest);
  const inputs = table(own, "Inputs of the model", ["Input", "From", "Default", "Stale after"]);
  return (model) => {
    const golden = model.golden === 0 ? "it has no golden vectors" : `its ${model.golden} golden vectors held`;
    say(words, `Scores since ${clock(model.since)}, threshold ${model.threshold}; ${golden}.`);
    say(code, model.sha256);
    inputs(
      model.inputs.map((input) => [
        input.name,
        input.from,
        input.default === null ? "none" : String(input.default),
        input.max_stale_ms === null ? "" : ago(input.max_stale_ms / 1000),
      ]),
      "None.",
    );
  };
}

/** Scores above so many hundredths, and what they come to in an hour. */
function above(scores, hundredths) {
  const alerts = scores.counts.slice(hundredths + 1).reduce((sum, one) => sum + one, 0);
  return { alerts, hourly: scores.seconds < 1 ? 0 : (alerts * 3600) / scores.seconds };
}

function scoresCard(where) {
  const own = card(where, "Scores of the last ten minutes", "");
  own.id = "scores";
  const words = own.lastChild;
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${STEPS} 40`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("class", "histogram");
  drawing.setAttribute("role", "img");
  const bars = document.createElementNS(SVG, "path");
  bars.setAttribute("class", "mass");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("class", "cursor strong");
  drawing.append(bars, line);
  const times = element("div", "times");
  times.append(element("span", "", "0"), element("span", "", "score (heights are logarithmic)"), element("span", "", "1"));
  const label = element("label", "", "Try a threshold");
  label.htmlFor = "threshold";
  const slider = element("input");
  Object.assign(slider, { id: "threshold", type: "range", min: 0, max: STEPS, step: 1 });
  const outcome = element("p");
  outcome.id = "outcome";
  own.append(drawing, times, label, slider, outcome);
  const others = table(own, "Alerts under other thresholds", ["Threshold", "#Alerts", "#An hour"]);
  let touched = false;
  let last = null;
  function tell() {
    if (last === null) return;
    const hundredths = Number(slider.value);
    const { alerts, hourly } = above(last, hundredths);
    say(outcome, `Above ${(hundredths / STEPS).toFixed(2)}: ${count(alerts)} alerts, ${count(hourly)} an hour.`);
    line.setAttribute("d", `M${hundredths} 0V40`);
  }
  slider.addEventListener("input", () => {
    touched = true;
    tell();
  });
  return (scores, threshold) => {
    last = scores;
    const all = scores.counts.reduce((sum, one) => sum + one, 0);
    say(words, all === 0 ? "None yet." : `${count(all)} scores in ${ago(scores.seconds)}.`);
    if (!touched) slider.value = Math.round(threshold * STEPS);
    // What lies below 0 or above 1 stands at the edge.
    const shown = scores.counts.slice(1, STEPS + 1);
    shown[0] += scores.counts[0];
    shown[STEPS - 1] += scores.counts[STEPS + 1];
    const top = Math.log1p(Math.max(...shown, 1));
    const bar = (value, index) => (value === 0 ? "" : `M${index} 40V${(40 - (40 * Math.log1p(value)) / top).toFixed(2)}h.9V40`);
    bars.setAttribute("d", shown.map(bar).join(""));
    drawing.setAttribute("aria-label", `Distribution of ${count(all)} scores from 0 to 1`);
    others(
      [50, 60, 70, 80, 85, 90, 95, 99].map((hundredths) => {
        const { alerts, hourly } = above(scores, hundredths);
        return [(hundredths / STEPS).toFixed(2), count(alerts), count(hourly)];
      }),
      "",
    );
    tell();
  };
}

/** One alert, which opens to what led to it; built once, since an alert does not change. */
function entry(alert) {
  const own = element("details", "alert");
  own.dataset.place = `${alert.partition}/${alert.offset}`;
  const summary = element("summary");
  summary.append(
    element("time", "muted", clock(alert.committed)),
    element("b", "", alert.score.toFixed(4)),
    element("span", "id", alert.id),
  );
  own.append(summary);
  own.addEventListener("toggle", () => {
    if (own.open && own.children.length === 1) fill(own, alert);
  });
  return own;
}

function fill(own, alert) {
  const place = `partition ${alert.partition}, offset ${alert.offset}`;
  const late = alert.produced === null ? "" : `, committed ${took(alert.committed - alert.produced)} after its Kafka timestamp`;
  own.append(element("p", "muted", `At ${place}${late}; score ${alert.score} is above ${alert.threshold}.`));
  const inputs = table(own, "Inputs of this alert", ["Input", "#Value", "Status"]);
  inputs(
    alert.names.map((name, index) => {
      const value = alert.inputs[index];
      return [name, value === null ? "missing" : String(value), alert.statuses[index]];
    }),
    "None.",
  );
  const stages = table(own, "Times of this alert", ["Stage", "#Took"]);
  const begun = alert.produced ?? alert.fetched;
  stages(
    [
      ["waited in the topic", alert.fetched - begun],
      ["features read", alert.features - alert.fetched],
      ["scored", alert.scored - alert.features],
      ["published and committed", alert.committed - alert.scored],
    ].map(([stage, ms]) => [stage, took(ms)]),
    "",
  );
}

function alertsCard(where) {
  const own = card(where, "Last alerts", "");
  own.id = "alerts";
  const words = own.lastChild;
  const list = element("div", "alerts");
  own.append(list);
  return (alerts) => {
    say(
      words,
      alerts.length === 0
        ? "None since the start."
        : `The last ${alerts.length}, the newest first, each as soon as it is committed; open one to see why.`,
    );
    const known = new Map([...list.children].map((node) => [node.dataset.place, node]));
    const wanted = alerts.map((alert) => known.get(`${alert.partition}/${alert.offset}`) ?? entry(alert));
    const kept = new Set(wanted);
    for (const node of [...list.children]) if (!kept.has(node)) node.remove();
    // Nodes that are in place already are not moved: the keyboard's place stays.
    wanted.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
  };
}

/** Builds the section; the function it returns shows the figures of a second. */
export function begin(where) {
  const grid = element("div", "grid");
  where.append(grid);
  const showModel = modelCard(grid);
  const showScores = scoresCard(grid);
  const showAlerts = alertsCard(grid);
  return (own) => {
    if (own === null) return;
    showModel(own.model);
    showScores(own.scores, own.model.threshold);
    showAlerts(own.alerts);
  };
}
