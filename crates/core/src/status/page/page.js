//! Asks for /status.json each second and shows it; says so when nobody answers.

import { ago, bar, clock, compact, count, decimal, element, place, say, table, tiles, took } from "./draw.js";
import { plot } from "./plot.js";
import { begin } from "./section.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 3000;

const showTiles = tiles(place("tiles"));
const showRate = plot(place("plots"), "Records a second", ["records/s"], compact);
const showLatency = plot(place("plots"), "Latency", ["p50", "p99"], took);
const showLag = plot(place("plots"), "Lag", ["records"], compact);
const latency = place("plots").children[1];
const showPartitions = table(place("partitions"), "Partitions", [
  "Partition",
  "#Position",
  "#End",
  "#Lag",
  "#Behind",
]);
const showStages = bar(place("stages"));
const showLetters = table(place("letters"), "Dead letters", ["Topic", "Reason", "#Records"]);
const showFigures = table(place("figures"), "Counters and gauges", ["Metric", "#Value", "Meaning"]);
const showSettings = table(place("settings"), "Configuration", ["Setting", "Value", "From"]);
const showSection = begin(place("section"));

let heard = null;
let started = null;
let program = "the program";

const last = (column) => (column.length === 0 ? null : column[column.length - 1]);
const lastKnown = (column) => last(column.filter((value) => value !== null));

function showUnready(unready) {
  const box = place("unready");
  box.hidden = unready.length === 0;
  while (box.children.length > unready.length) box.lastChild.remove();
  unready.forEach(({ part, reason, remedy }, index) => {
    let entry = box.children[index];
    if (!entry) {
      entry = element("div");
      entry.append(element("p"), element("p", "plain"));
      box.append(entry);
    }
    say(entry.firstChild, `${part}: ${reason}`);
    say(entry.lastChild, `What to do: ${remedy}.`);
  });
}

function name(figure) {
  const labels = Object.entries(figure.labels).map(([label, value]) => `${label}="${value}"`);
  return labels.length === 0 ? figure.name : `${figure.name}{${labels.join(", ")}}`;
}

function show(status) {
  program = status.program;
  say(place("program"), program);
  document.title = `${program}: ${status.ready ? "ready" : "not ready"}`;
  const state = place("state");
  say(state, status.ready ? "ready" : "not ready");
  state.className = `pill ${status.ready ? "good" : "waiting"}`;
  const up = `up ${ago(status.uptime_s)} since ${clock(status.started)}`;
  say(place("identity"), `group ${status.group}, topic ${status.topic}, ${up}, version ${status.version}`);
  showUnready(status.unready);

  const { history, partitions, figures } = status;
  const total = (metric) =>
    figures.filter((figure) => figure.name === metric).reduce((sum, figure) => sum + figure.value, 0);
  const behind = partitions.reduce((most, one) => Math.max(most, one.lag_s), 0);
  const waiting = partitions.reduce((sum, one) => sum + one.lag_records, 0);
  const hasLatency = history.p99_ms.some((value) => value !== null);
  const pairs = [
    [count(total("tidemill_records_total")), "records since the start"],
    [decimal(last(history.records_per_s) ?? 0), "records a second"],
  ];
  if (hasLatency) {
    pairs.push([took(lastKnown(history.p50_ms)), "latency, p50"], [took(lastKnown(history.p99_ms)), "latency, p99"]);
  }
  pairs.push([count(waiting), "records of lag"], [ago(behind), "behind, the oldest"]);
  showTiles(pairs);

  latency.hidden = !hasLatency;
  showRate(history.age_s, [history.records_per_s], status.now);
  showLatency(history.age_s, [history.p50_ms, history.p99_ms], status.now);
  showLag(history.age_s, [history.lag_records], status.now);

  const position = (one) => (one.position === null ? "none yet" : count(one.position));
  showPartitions(
    partitions.map((one) => [
      String(one.partition),
      position(one),
      count(one.end),
      count(one.lag_records),
      ago(one.lag_s),
    ]),
    "It reads no partition now.",
  );
  const stages = status.stages.filter((one) => one.batches > 0);
  showStages(
    stages.map((one) => [
      one.stage,
      one.seconds,
      `${took((1000 * one.seconds) / one.batches)} a batch, ${ago(one.seconds)} in all`,
    ]),
    "No batch in the last minute.",
  );
  const letters = figures.filter((one) => one.name === "tidemill_dead_letters_total");
  place("letters-card").hidden = program === "collector";
  showLetters(
    letters.map((one) => [one.labels.topic, one.labels.reason, count(one.value)]),
    "None since the start.",
  );
  showFigures(
    figures.map((one) => [name(one), String(one.value), one.help]),
    "None yet.",
  );
  showSettings(
    status.settings.map((one) => [one.name, one.value, one.source]),
    "None.",
  );
  showSection(status.own, status);
}

function showGone(why) {
  const since = heard === null ? "" : ` since ${clock(heard)}`;
  say(place("gone-text"), `No answer from ${program}${since}: ${why}.`);
  say(place("gone-since"), heard === null ? "" : "The figures below are the last ones it gave; the page goes on asking.");
  place("gone").hidden = false;
  document.body.classList.add("stale");
  say(place("state"), "no answer");
  place("state").className = "pill bad";
  document.title = `${program}: no answer`;
}

function showBack(status) {
  place("gone").hidden = true;
  document.body.classList.remove("stale");
  heard = Date.now();
  started = status.started;
}

async function ask() {
  let answer;
  try {
    answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const hangs = error.name === "TimeoutError";
    showGone(hangs ? "it hangs, is paused, or is very busy" : "the process has ended, or cannot be reached from here");
    return;
  }
  if (!answer.ok) {
    showGone(answer.status === 403 ? "it asks for the token again; reload the page" : `it answers ${answer.status}`);
    return;
  }
  const status = await answer.json();
  if (started !== null && started !== status.started) {
    // Another process: what the section remembers of the old one must go.
    location.reload();
    return;
  }
  showBack(status);
  show(status);
}

async function keepAsking() {
  const begun = performance.now();
  if (!document.hidden) await ask();
  setTimeout(keepAsking, Math.max(100, EVERY_MS - (performance.now() - begun)));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) ask();
});
keepAsking();
