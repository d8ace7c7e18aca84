//! The collector's section: partitions with their files on a line, misfits and rejects, the schema, the last files.

import { bytes, card, clock, count, element, say, table } from "./draw.js";

const SVG = "http://www.w3.org/2000/svg";
const LENGTH = 1000;

/** A partition's line: its last files one after the other, then what is not in a file yet. */
function line() {
  const own = element("div", "line");
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${LENGTH} 20`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  const paths = ["ground", "even", "odd", "lost"].map((kind) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    return path;
  });
  drawing.append(...paths);
  const words = element("span");
  own.append(element("b"), drawing, words);
  return { own, drawing, paths, words };
}

function showLine({ own, drawing, paths, words }, partition, files, end) {
  const { last, next, rows } = files;
  const from = last[0].first;
  const all = Math.max(1, end - from);
  const box = (first, after) => {
    const x = (LENGTH * (first - from)) / all;
    const width = Math.max(1, (LENGTH * (after - first)) / all - 1);
    return `M${x.toFixed(1)} 2h${width.toFixed(1)}v16h-${width.toFixed(1)}z`;
  };
  // A file keeps its shade while the line moves on.
  const shade = (file, index) => (files.files - last.length + index) % 2;
  const of = (parity) => last.filter((file, index) => !file.gap && shade(file, index) === parity);
  const gaps = last.filter((file) => file.gap);
  const shapes = [[{ first: from, next: end }], of(0), of(1), gaps];
  shapes.forEach((files, index) => paths[index].setAttribute("d", files.map((file) => box(file.first, file.next)).join("")));
  say(own.firstChild, String(partition));
  const waits = end - next;
  const text = `${count(files.files)} ${files.files === 1 ? "file" : "files"}, ${count(rows)} rows, up to ${count(next)}; ${count(waits)} offsets wait`;
  say(words, text);
  drawing.setAttribute("aria-label", `Partition ${partition}: ${text}`);
}

/** Builds the section; the function it returns shows the figures of a second. */
export function begin(where) {
  const grid = element("div", "grid");
  where.append(grid);
  const lines = card(grid, "Files by partition", "", "card wide");
  lines.id = "lines";
  const known = new Map();
  const misfits = table(
    card(grid, "Misfits by column", "Values that fit no column since the start; they are kept in _extra."),
    "Misfits",
    ["Field", "#Values"],
  );
  const rejects = table(
    card(grid, "Rejects by reason", "Records that cannot be a row since the start; they lie under _rejected/."),
    "Rejects",
    ["Reason", "#Records"],
  );
  const schema = card(grid, "Schema", "");
  const columns = table(schema, "Columns", ["Column", "Type"]);
  const files = table(
    card(grid, "Last files", "The newest first.", "card wide"),
    "Last files",
    ["Published", "File", "#Offsets", "#Rows", "#Rejected", "#Size"],
  );
  const kind = (type) => (typeof type === "string" ? type : JSON.stringify(type));
  return (own, status) => {
    const { journal, out } = own;
    const partitions = Object.entries(journal.partitions);
    say(
      lines.children[1],
      partitions.length === 0
        ? `No file yet; they will lie in ${out}.`
        : `The last files of each partition in ${out}, from the oldest to the end of the log; the open end waits for its file.`,
    );
    for (const [partition, notes] of partitions) {
      if (!known.has(partition)) {
        known.set(partition, line());
        lines.append(known.get(partition).own);
      }
      const look = status.partitions.find((one) => String(one.partition) === partition);
      showLine(known.get(partition), partition, notes, Math.max(look?.end ?? 0, notes.next));
    }
    const sorted = (counts) => Object.entries(counts).sort((one, other) => other[1] - one[1]);
    misfits(
      sorted(journal.misfits).map(([field, values]) => [field, count(values)]),
      "None.",
    );
    rejects(
      sorted(journal.reasons).map(([reason, records]) => [reason, count(records)]),
      "None.",
    );
    const [fingerprint, found] = journal.schema ?? ["", []];
    say(schema.children[1], journal.schema === null ? "Known with the first file." : `Fingerprint ${fingerprint}.`);
    columns(
      found.map((column) => [column.name, kind(column.type)]),
      "",
    );
    files(
      journal.last.map((file) => [
        clock(file.published),
        file.path,
        `${count(file.first)} – ${count(file.next)}`,
        file.gap ? "lost" : count(file.rows),
        count(file.rejected),
        bytes(file.bytes),
      ]),
      "None since the start.",
    );
  };
}
