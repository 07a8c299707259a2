// The network in the order of running: layers as beads on a line, what skips some as arcs, and
// below them what each costs. Whoever runs where the winning cut says is drawn in full colour.

const layers = report.layers;
const places = layers.map((_, index) => index + 1);
// Pixels a layer needs to be hit by a pointer; less in a large network, whose picture ends nowhere.
const PITCH = Math.min(11, Math.max(4, 4000 / layers.length));
const isLarge = layers.length > 250; // takes longer to draw than a slider to move on
const canZoom = matchMedia("(pointer: fine)").matches; // a finger scrolls instead
const ARC_POINTS = 14;
const heads = new Map(Object.entries(page.heads).map(([cut, head]) => [cut, new Set(head)]));
const ROWS = [
  { key: "edge_ms", title: "time on the device, ms", side: "device", format: "~g" },
  { key: "cloud_ms", title: "time in the cloud, ms", side: "cloud", format: "~g" },
  { key: "output_bytes", title: "bytes of the output (log), dashed: the input", isLog: true },
  { key: "memory_bytes", title: "memory while it runs, bytes", format: "~s" },
].filter((row) => row.isLog || layers.some((layer) => layer[row.key]));

function connections() {
  return layers.flatMap((layer, to) => layer.inputs.map((from) => [from, to]));
}

const arcHeight = (span) => (span <= 1 ? 0 : Math.log2(span));
const highest = Math.max(1, ...connections().map(([from, to]) => arcHeight(to - from)));

// All connections as one line with gaps.
function arcsOf(pairs) {
  const x = [], y = [];
  for (const [from, to] of pairs) {
    const count = to - from <= 1 ? 1 : ARC_POINTS;
    for (let i = 0; i <= count; i++) {
      const angle = Math.PI * (i / count);
      x.push(1 + (from + to) / 2 - ((to - from) / 2) * Math.cos(angle));
      y.push(arcHeight(to - from) * Math.sin(angle));
    }
    x.push(null);
    y.push(null);
  }
  return { x, y };
}

function layerWords(layer, index) {
  const lines = [
    `<b>${forPlotly(layer.name)}</b>`,
    `${index + 1} of ${layers.length}: ${forPlotly(layer.op)} → ${layer.shape.join("×")}`,
    `device ${msWords(layer.edge_ms)}, cloud ${msWords(layer.cloud_ms)}`,
    `${digits(layer.macs / 1e6)} MMAC, output ${bytesWords(layer.output_bytes)}`,
  ];
  if (layer.memory_bytes !== null) lines.push(`memory ${bytesWords(layer.memory_bytes)}`);
  return lines.join("<br>");
}

const words = layers.map(layerWords);

const keptCuts = report.cuts.filter((cut) => kept.some((candidate) => candidate.cut === cut.id));
const innerCuts = keptCuts.filter((cut) => {
  const size = page.heads[cut.id].length;
  return size > 0 && size < layers.length;
});
const placeOf = (cut) => Math.max(-1, ...page.heads[cut.id]) + 1.5;

// The fewest bytes that a kept candidate of a cut sends.
const leastBytes = (cut) =>
  Math.min(...kept.filter((each) => each.cut === cut.id).map((each) => each.payload_bytes));

const beside = (token, width) => ({ width, color: colour(token) });
const hover = { textposition: "none", hovertemplate: "%{text}<extra></extra>" };

const [leastInput] = eligible.filter(isInput).sort((a, b) => a.payload_bytes - b.payload_bytes);

const networkPlot = {
  cut: null,
  // All of it at once: one redraw whenever another cut wins, none while the winner stays.
  draw() {
    this.cut = cuts.get(winnerAt(view).cut) ?? null;
    if (!layers.length || !this.cut) return;
    byId("network").style.minWidth = `${80 + layers.length * PITCH}px`;
    const head = heads.get(this.cut.id);
    const sides = layers.map((_, index) => (head.has(index) ? "device" : "cloud"));
    const crossing = connections().filter(([from, to]) => head.has(from) && !head.has(to));
    const traces = [
      lineTrace(connections(), beside("faint", 1.5)), lineTrace(crossing, beside("part-wire", 3.5)),
      beadTrace(sides), ...ROWS.map((row, index) => barTrace(row, index, sides)), sentTrace(),
    ];
    Plotly.react("network", traces, networkLayout(this.cut), CONFIG);
    byId("network").dataset.cut = this.cut.id;
    byId("network").dataset.head = head.size;
    if (innerCuts.includes(this.cut)) showPlace(placeOf(this.cut));
  },
  update() {
    if (cuts.get(winnerAt(view).cut) === this.cut) return;
    clearTimeout(this.timer);
    if (isLarge) this.timer = setTimeout(() => this.draw(), 150);
    else this.draw();
  },
};

// Scrolls the box, never the page, to a place that is out of sight.
function showPlace(place) {
  const box = byId("network").parentElement;
  const at = (place / (layers.length + 1)) * byId("network").clientWidth;
  if (at < box.scrollLeft + 60 || at > box.scrollLeft + box.clientWidth - 60)
    box.scrollLeft = at - box.clientWidth / 2;
}

const lineTrace = (pairs, line) => ({
  type: "scatter", mode: "lines", ...arcsOf(pairs), hoverinfo: "skip", line,
});

function beadTrace(sides) {
  const sizes = layers.map((layer) => Math.max(layer.edge_ms, layer.cloud_ms, 0));
  const most = Math.max(...sizes) || 1;
  return {
    type: "scatter", mode: "markers", x: places, y: places.map(() => 0), text: words, ...hover,
    marker: {
      size: sizes.map((ms) => (PITCH / 11) * (6 + 12 * Math.sqrt(ms / most))), color: sides.map(colour), opacity: 1,
      line: beside("card", 1),
    },
  };
}

// Time is spent on one side only: the other's is there to compare with.
function barTrace(row, index, sides) {
  const colours = { device: colour("device"), cloud: colour("cloud"), faint: colour("faint") };
  const shown = sides.map((side) => colours[row.side && row.side !== side ? "faint" : side]);
  return {
    type: "bar", x: places, y: layers.map((layer) => layer[row.key]), yaxis: axisName(index),
    text: words, ...hover, marker: { color: shown, line: { width: 0 } },
  };
}

const axisName = (index) => `y${index + 2}`;
const bytesRow = ROWS.findIndex((row) => row.isLog);

const sentTrace = () => ({
  type: "scatter", mode: "markers", yaxis: axisName(bytesRow),
  x: innerCuts.map(placeOf), y: innerCuts.map(leastBytes),
  text: innerCuts.map((cut) => `<b>${forPlotly(cut.id)}</b><br>sends ${bytesWords(leastBytes(cut))}`),
  hovertemplate: "%{text}<extra></extra>",
  marker: { symbol: "diamond", size: 11, color: colour("part-wire"), line: beside("card", 1.5) },
});

function networkLayout(winning) {
  const graph = 0.27, gap = 0.06, low = (1 - graph) / ROWS.length;
  const axes = Object.fromEntries(ROWS.map((row, index) => {
    const top = 1 - graph - index * low;
    return [`yaxis${index + 2}`, rowAxis(row, [top - low + gap, top])];
  }));
  return layoutOf("network", {
    height: 210 + 130 * ROWS.length, margin: { l: 8, r: 8, t: 46, b: 8 }, bargap: 0.15,
    hovermode: "closest", dragmode: canZoom ? "zoom" : false,
    uirevision: "keep",
    xaxis: axisOf({
      range: [-0.2, layers.length + 1.2], showgrid: false, zeroline: false, fixedrange: false,
      tickformat: "d", dtick: PITCH < 6 ? 20 : 10, title: { text: "layer, in the order of running", standoff: 4 },
      anchor: axisName(ROWS.length - 1),
    }),
    yaxis: axisOf({ domain: [1 - graph + gap, 1], visible: false, range: [-0.5, highest * 1.08] }),
    ...axes,
    shapes: [...innerCuts.map((cut) => cutLine(cut, cut === winning)), ...inputLine().shapes],
    annotations: [
      ...ROWS.map((row, index) => rowTitle(row, 1 - graph - index * low)),
      ...innerCuts.map((cut, index) => cutTitle(cut, index, cut === winning)),
      ...inputLine().annotations,
    ],
  });
}

function rowAxis(row, domain) {
  const axis = axisOf({ domain, nticks: 4, exponentformat: "none" });
  if (!row.isLog) return { ...axis, rangemode: "tozero", tickformat: row.format };
  const sizes = [
    ...layers.map((layer) => layer[row.key]), ...innerCuts.map(leastBytes), leastInput?.payload_bytes,
  ].filter((size) => size > 0);
  const range = [Math.log10(Math.min(...sizes) / 2), Math.log10(Math.max(...sizes) * 1.5)];
  return { ...axis, type: "log", dtick: range[1] - range[0] > 4 ? 2 : 1, range, tickformat: "~s" };
}

const rowTitle = (row, top) => ({
  text: row.title, xref: "paper", yref: "paper", x: 0, y: top, xanchor: "left", yanchor: "bottom",
  showarrow: false, font: { color: colour("soft"), size: 12 }, bgcolor: colour("card"),
});

const cutTitle = (cut, index, isBest) => ({
  x: placeOf(cut), xref: "x", yref: "paper", y: 1, yshift: 4 + 16 * (index % 2), yanchor: "bottom",
  showarrow: false, text: isBest ? `<b>${forPlotly(cut.id, 20)}</b>` : forPlotly(cut.id, 20),
  font: { color: colour(isBest ? "wire-text" : "soft") },
});

const cutLine = (cut, isBest) => ({
  type: "line", xref: "x", yref: "paper", x0: placeOf(cut), x1: placeOf(cut), y0: 0, y1: 1, layer: "below",
  line: { ...beside(isBest ? "part-wire" : "line", isBest ? 2.5 : 1), dash: isBest ? "solid" : "dot" },
});

// What a cut has to beat: the fewest bytes in which the input itself may be sent.
function inputLine() {
  const least = leastInput;
  if (!least || bytesRow < 0) return { shapes: [], annotations: [] };
  const at = least.payload_bytes, yref = axisName(bytesRow);
  const line = { ...beside("part-wire", 1.5), dash: "dash" };
  const text = `${forPlotly(least.id, 24)} ${bytesWords(at)}`;
  return {
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, yref, y0: at, y1: at, line }],
    annotations: [{
      text, xref: "paper", x: 1, xanchor: "right", yref, y: Math.log10(at), yanchor: "bottom",
      showarrow: false, font: { color: colour("wire-text"), size: 11 }, bgcolor: colour("card"),
    }],
  };
}
