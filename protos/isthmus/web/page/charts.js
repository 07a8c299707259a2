// Small charts: a line over a minute, a bar in parts, a bar beside a figure.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 56;
// The device, the link and the cloud have a colour each, here as in the report.
const STAGE_COLOURS = {
  wait: "part-wait", head: "part-edge", encode: "part-encode", network: "part-wire",
  queue: "part-queue", decode: "part-decode", run: "part-tail", rest: "part-rest", "device rest": "part-edge-rest",
};
const stageColour = (stage) => `var(--${STAGE_COLOURS[stage] ?? "part-rest"})`;

// A candidate keeps the colour that it was given when it was first seen.
const COLOURS = 8;
const candidateColours = new Map();
function candidateColour(name) {
  if (!candidateColours.has(name)) candidateColours.set(name, `var(--line-${candidateColours.size % COLOURS})`);
  return candidateColours.get(name);
}

function drawing(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function sparkline() {
  const chart = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "spark" });
  chart.append(drawing("path", { class: "area" }), drawing("path", { class: "line" }));
  return chart;
}

// Pieces of line between seconds of which nothing is known; a lone second is a short dash.
function fillSparkline(chart, trend) {
  const most = Math.max(...trend.values.filter((value) => value !== null), 0) || 1;
  const step = WIDTH / trend.values.length;
  const at = (index, value) => `${(index * step).toFixed(1)} ${(HEIGHT - 2 - (HEIGHT - 6) * (value / most)).toFixed(1)}`;
  let line = "";
  let area = "";
  let from = -1;
  trend.values.forEach((value, index) => {
    if (value === null) return;
    if (index === 0 || trend.values[index - 1] === null) from = index;
    line += `${from === index ? "M" : "L"}${at(index, value)}L${at(index + 1, value)}`;
    area += `M${at(index, 0)}L${at(index, value)}L${at(index + 1, value)}L${at(index + 1, 0)}Z`;
  });
  chart.querySelector(".line").setAttribute("d", line);
  chart.querySelector(".area").setAttribute("d", area);
}

// A bar of which each part has its share of `most`; `parts` are [colour, value] in order.
function fillParts(bar, parts, most) {
  while (bar.children.length > parts.length) bar.lastElementChild.remove();
  while (bar.children.length < parts.length) bar.append(element("i"));
  parts.forEach(([colour, value], index) => {
    const part = bar.children[index];
    part.style.background = colour;
    part.style.width = `${most > 0 ? (100 * value) / most : 0}%`;
  });
}

const partsBar = (kind = "") => element("span", { class: `parts ${kind}`, role: "img" });

// A row for each item, found again by its key: what did not change is not touched.
function keyed(parent, items, keyOf, make, fill) {
  const rows = (parent.keyedRows ??= new Map());
  const wanted = new Set();
  items.forEach((item, index) => {
    const key = keyOf(item, index);
    wanted.add(key);
    if (!rows.has(key)) rows.set(key, make(item));
    const row = rows.get(key);
    if (parent.children[index] !== row) parent.insertBefore(row, parent.children[index] ?? null);
    fill(row, item);
  });
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  const none = byId(`${parent.closest("[id]").id}-none`);
  if (none) none.hidden = items.length > 0;
}
