// The winner in words, its bars, and everybody's line over bandwidth.

const colour = (token) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${token}`).trim();
const isNarrow = () => innerWidth < 640;
const CONFIG = { displayModeBar: false, doubleClick: "reset" };
const order = (candidate) => report.candidates.indexOf(candidate);
const dashOf = (candidate) =>
  isLocal(candidate) ? "dash" : kept.indexOf(candidate) < 8 ? "solid" : "dot";
const lineColour = (candidate) => colour(`line-${kept.indexOf(candidate) % 8}`);

function layoutOf(id, more) {
  return {
    width: byId(id).clientWidth,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("soft") },
    hoverlabel: {
      bgcolor: colour("raised"), bordercolor: colour("line"), align: "left",
      font: { color: colour("text"), family: "system-ui, sans-serif" },
    },
    showlegend: false,
    dragmode: false,
    ...more,
  };
}

const axisOf = (more) => ({
  gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"),
  fixedrange: true, automargin: true, ...more,
});

function showVerdict() {
  const winner = winnerAt(view);
  const cost = costMs(winner, view);
  const box = byId("verdict");
  box.dataset.winner = winner.id;
  box.dataset.costMs = cost;
  box.dataset.side = isLocal(winner) ? "device" : isInput(winner) ? "cloud" : "split";
  const where = [rateWords(view.bandwidth), `${digits(view.rtt)} ms round trip`];
  if (view.load !== 1) where.push(`server ${timesWords(view.load)} slower`);
  if (view.slowdown !== 1) where.push(`device ${timesWords(view.slowdown)} slower`);
  byId("verdict-where").textContent = `Best at ${where.join(", ")}`;
  byId("verdict-winner").textContent = shortened(winner.id, 60);
  byId("verdict-winner").title = plain(winner.id);
  byId("verdict-cost").textContent = costWords(cost, view);
  byId("verdict-how").replaceChildren(...howWords(winner));
  byId("verdict-against").textContent = againstWords(winner);
}

function howWords(winner) {
  const title = cuts.get(winner.cut)?.title ?? "";
  const sends = isLocal(winner) ? "nothing sent" : `${winner.encoding}, ${bytesWords(winner.payload_bytes)}`;
  const faithful = `agreement ${shareWords(winner.agreement)} (${shareWords(winner.agreement_low)}–${shareWords(winner.agreement_high)})`;
  return [name(title), ` · ${plain(sends)} · ${faithful}`];
}

function againstWords(winner) {
  const local = kept.find(isLocal);
  const inputs = kept.filter((candidate) => isInput(candidate) && eligible.includes(candidate));
  const input = inputs.sort((a, b) => costMs(a, view) - costMs(b, view))[0];
  const words = [];
  for (const [other, doing] of [[local, "staying on the device"], [input, "sending the input"]])
    if (other && other !== winner) words.push(`${ratioWords(other, winner)} ${doing}`);
  if (!eligible.every(meetsFloor)) words.push("no candidate meets the agreement floor");
  if (isLocal(winner))
    words.push(`another way has to save ${digits(page.localAdvantage * 100)} % to count as better`);
  return words.join(" · ");
}

function ratioWords(other, winner) {
  const factor = costMs(other, view) / costMs(winner, view);
  if (factor >= 1.005) return `${timesWords(factor)} as fast as`;
  return factor > 0.995 ? "as fast as" : `${timesWords(1 / factor)} the time of`;
}

const roomForLabels = () => (isNarrow() ? 1.6 : 1.22);

const barsPlot = {
  rows: kept,
  draw() {
    const rows = this.rows.map((_, index) => index);
    const traces = PARTS.map((part) => ({
      type: "bar", orientation: "h", name: PART_WORDS[part], y: rows, x: rows.map(() => 0),
      marker: { color: colour(`part-${part}`), line: { width: 1, color: colour("card") } },
      hovertemplate: `${PART_WORDS[part]} %{customdata}<extra></extra>`,
    }));
    const length = isNarrow() ? 11 : 22;
    const layout = layoutOf("bars", {
      barmode: "stack", bargap: 0.38, showlegend: true,
      legend: { orientation: "h", traceorder: "normal", y: 1.02, yanchor: "bottom", x: 0 },
      height: Math.max(90 + 40 * rows.length, isNarrow() ? 0 : 370),
      margin: { l: 8, r: 8, t: 34, b: 28 },
      xaxis: axisOf({ zeroline: false }),
      yaxis: axisOf({
        tickvals: rows, autorange: "reversed", ticks: "", showgrid: false,
        tickfont: { color: colour("text") },
        ticktext: this.rows.map((candidate) => forPlotly(candidate.id, length)),
      }),
    });
    Plotly.react("bars", traces, layout, CONFIG);
  },
  // The longest bars of a thin link would leave nothing of the others: they leave the picture.
  update() {
    const parts = this.rows.map((candidate) => partsOf(candidate, view));
    const totals = parts.map((each) => PARTS.reduce((sum, part) => sum + each[part], 0));
    const winner = winnerAt(view);
    const shown = longestShown(totals, 3 * totals[this.rows.indexOf(winner)]);
    const x = PARTS.map((part) => parts.map((each) => each[part]));
    Plotly.update("bars", { x, customdata: x.map((row) => row.map(msWords)) }, {
      "xaxis.range": [0, shown * roomForLabels()],
      annotations: totals.map((total, index) => barLabel(total, index, shown, winner)),
    });
  },
};

// Bars up to `limit` fit, and those that end where labels stand; longer ones leave the picture.
function longestShown(totals, limit) {
  let shown = 0;
  for (const total of [...totals].sort((a, b) => a - b))
    if (total <= Math.max(limit, shown * roomForLabels())) shown = total;
  return shown;
}

function barLabel(total, index, shown, winner) {
  const isBest = barsPlot.rows[index] === winner;
  const words = costWords(costMs(barsPlot.rows[index], view), view);
  const leaves = total > shown;
  const text = `${leaves ? "→ " : ""}${words}${isBest ? " ★" : ""}`;
  return {
    x: leaves ? shown * roomForLabels() : total, xanchor: leaves ? "right" : "left", y: index,
    showarrow: false,
    text: isBest ? `<b>${text}</b>` : text,
    font: { color: colour(isBest ? "text" : "soft") },
    bgcolor: colour("card"), borderpad: 2,
  };
}

const GRID = 160;
const bandwidths = Array.from({ length: GRID + 1 }, (_, i) =>
  page.slowestBps * (page.fastestBps / page.slowestBps) ** (i / GRID));

const linesPlot = {
  rows: [...report.candidates.filter((candidate) => !candidate.kept), ...kept],
  draw() {
    const traces = this.rows.map((candidate) => ({
      type: "scatter", mode: "lines", x: bandwidths, y: bandwidths,
      name: forPlotly(candidate.id, isNarrow() ? 14 : 30), showlegend: candidate.kept,
      line: candidate.kept
        ? { color: lineColour(candidate), width: 2, dash: dashOf(candidate) }
        : { color: colour("faint"), width: 1 },
      hovertemplate: `<b>${forPlotly(candidate.id)}</b>${candidate.kept ? "" : " (not kept)"}<br>%{y:.4~g} ms at %{x:.3~s}bit/s<extra></extra>`,
    }));
    traces.push({
      type: "scatter", mode: "markers", x: [1], y: [1], showlegend: false, hoverinfo: "skip",
      marker: { size: 12, color: colour("text"), line: { width: 2, color: colour("card") } },
    });
    const layout = layoutOf("lines", {
      height: isNarrow() ? 380 : 440, margin: { l: 8, r: 12, t: 8, b: 8 }, showlegend: true,
      legend: { orientation: "h", y: -0.13, yanchor: "top", x: 0 }, hovermode: "closest",
      xaxis: axisOf({
        type: "log", range: [page.slowestBps, page.fastestBps].map(Math.log10), dtick: 1,
        tickformat: "~s", ticksuffix: "bit/s", tickangle: 0, nticks: 6,
        ...(isNarrow() && { ticksuffix: "" }), title: { text: "bandwidth, bit/s", standoff: 6 },
      }),
      yaxis: axisOf({ type: "log", dtick: 1, tickformat: "~s", ticksuffix: " ms" }),
    });
    Plotly.react("lines", traces, layout, CONFIG);
    if (!this.isListening) byId("lines").on("plotly_click", goThere);
    this.isListening = true;
  },
  update() {
    const at = winnerAt(view);
    const ys = this.rows.map((candidate) =>
      bandwidths.map((bandwidth) => costMs(candidate, { ...view, bandwidth })));
    const xs = this.rows.map(() => bandwidths);
    const data = { x: [...xs, [view.bandwidth]], y: [...ys, [costMs(at, view)]] };
    const least = Math.min(...ys.flat().filter((ms) => ms > 0));
    const dearest = Math.max(...eligible.map((candidate) =>
      costMs(candidate, { ...view, bandwidth: Math.max(view.bandwidth / 20, page.slowestBps) })));
    const bands = spansOf(view).map((span) => ({
      type: "rect", layer: "below", xref: "x", yref: "paper", x0: span.low, x1: span.high,
      y0: 0, y1: 1, fillcolor: lineColour(span.winner), opacity: 0.1, line: { width: 0 },
    }));
    const here = {
      type: "line", xref: "x", yref: "paper", x0: view.bandwidth, x1: view.bandwidth, y0: 0, y1: 1,
      line: { color: colour("text"), width: 1.5, dash: "dot" },
    };
    Plotly.update("lines", data, {
      shapes: [...bands, here],
      "yaxis.range": [Math.log10(least * 0.7), Math.log10(Math.max(dearest, least * 10))],
    });
    byId("lines-title").textContent = view.objective === "period"
      ? "Time between two answers of a pipelined stream" : "Latency over bandwidth";
  },
};

function goThere(event) {
  view.bandwidth = clamped(SLIDERS.bandwidth, Number(event.points[0].x.toPrecision(3)));
  changed();
}

function showSpans() {
  const items = spansOf(view).map((span) => {
    const item = element("li", {
      "data-winner": span.winner.id, "data-low": span.low, "data-high": span.high,
    }, name(span.winner.id), element("span", {}, ` ${spanWords(span)}`));
    item.style.setProperty("--own", lineColour(span.winner));
    if (view.bandwidth >= span.low && view.bandwidth <= span.high) item.classList.add("now");
    return item;
  });
  byId("spans").replaceChildren(...items);
}

function spanWords({ low, high }) {
  if (low <= page.slowestBps && high >= page.fastestBps) return "at any bandwidth";
  if (low <= page.slowestBps) return `below ${rateWords(high)}`;
  if (high >= page.fastestBps) return `above ${rateWords(low)}`;
  return `${rateWords(low)} to ${rateWords(high)}`;
}
