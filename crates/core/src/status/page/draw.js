//! Pieces that pages are drawn with: text, tables, bars, tiles. Whatever comes from records goes in as text; nodes that
//! are there already are kept, so that nothing flickers and the keyboard's place stays.

export const place = (id) => document.getElementById(id);

/** A new element with a class and a text. */
export function element(tag, kind = "", text = "") {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text) node.textContent = text;
  return node;
}

/** Sets a text where it differs. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });

export const count = (value) => whole.format(value);
export const compact = (value) => short.format(value);
export const decimal = (value) => (Math.abs(value) < 10 ? tenth : whole).format(value);
export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

/** Milliseconds as people say them. */
export function took(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 0.1 && ms > 0) return `${whole.format(ms * 1000)} µs`;
  if (ms < 1000) return `${decimal(ms)} ms`;
  return ago(ms / 1000);
}

/** Seconds as people say them. */
export function ago(seconds) {
  if (seconds < 120) return `${decimal(seconds)} s`;
  if (seconds < 7200) return `${whole.format(seconds / 60)} min`;
  if (seconds < 172800) return `${tenth.format(seconds / 3600)} h`;
  return `${tenth.format(seconds / 86400)} days`;
}

/** Bytes as people say them. */
export function bytes(value) {
  if (value < 1e3) return `${whole.format(value)} B`;
  if (value < 1e6) return `${decimal(value / 1e3)} kB`;
  if (value < 1e9) return `${decimal(value / 1e6)} MB`;
  return `${decimal(value / 1e9)} GB`;
}

/**
 * A table in `where`. `columns` are headings; one that begins with # has numbers. The function it returns takes rows of
 * texts, or the reason why there are none.
 */
export function table(where, label, columns) {
  const scroll = element("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", label);
  const own = element("table");
  const head = own.createTHead().insertRow();
  const kinds = columns.map((column) => (column.startsWith("#") ? "number" : ""));
  columns.forEach((column, index) => {
    const cell = element("th", kinds[index], column.replace("#", ""));
    cell.scope = "col";
    head.append(cell);
  });
  const body = own.createTBody();
  const empty = element("p", "empty");
  scroll.append(own);
  where.append(scroll, empty);
  return (rows, none) => {
    scroll.hidden = rows.length === 0;
    empty.hidden = rows.length > 0;
    say(empty, none);
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((texts, index) => {
      const row = body.rows[index] ?? body.insertRow();
      texts.forEach((text, column) => {
        const cell = row.cells[column] ?? row.insertCell();
        if (cell.className !== kinds[column]) cell.className = kinds[column];
        say(cell, text);
      });
    });
  };
}

/** Tiles with a figure and its meaning; the function takes [figure, meaning] pairs. */
export function tiles(where) {
  return (pairs) => {
    while (where.children.length > pairs.length) where.lastChild.remove();
    pairs.forEach(([figure, meaning], index) => {
      let tile = where.children[index];
      if (!tile) {
        tile = element("div", "tile");
        tile.append(element("b"), element("span"));
        where.append(tile);
      }
      say(tile.firstChild, figure);
      say(tile.lastChild, meaning);
    });
  };
}

export const INKS = ["first", "second", "third", "fourth"];

/** A bar of parts with a key; the function takes [name, share, text] triples and the reason why there are none. */
export function bar(where) {
  const strip = element("div", "bar");
  strip.setAttribute("aria-hidden", "true");
  const keys = element("div", "keys");
  const empty = element("p", "empty");
  where.append(strip, keys, empty);
  return (parts, none) => {
    strip.hidden = keys.hidden = parts.length === 0;
    empty.hidden = parts.length > 0;
    say(empty, none);
    while (strip.children.length > parts.length) {
      strip.lastChild.remove();
      keys.lastChild.remove();
    }
    const all = parts.reduce((sum, part) => sum + part[1], 0) || 1;
    parts.forEach(([name, share, text], index) => {
      const ink = INKS[index % INKS.length];
      const piece = strip.children[index] ?? strip.appendChild(element("i", ink));
      const key = keys.children[index] ?? keys.appendChild(element("span", `key ${ink}`));
      piece.style.width = `${(100 * share) / all}%`;
      say(key, `${name}: ${text}`);
    });
  };
}

/** A card with a heading and a remark, which is its second child. */
export function card(where, title, remark, kind = "card") {
  const own = element("section", kind);
  own.append(element("h2", "", title), element("p", "muted", remark));
  where.append(own);
  return own;
}
