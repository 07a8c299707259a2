// The sliders, the view that they stand for, and its short form behind the address's `#`.

const SLIDERS = {
  bandwidth: {
    label: "Bandwidth",
    low: page.slowestBps,
    high: page.fastestBps,
    start: page.view.bandwidth_bps,
    words: rateWords,
  },
  rtt: {
    label: "Round trip",
    low: 0,
    high: 500,
    start: page.view.rtt_ms,
    words: (ms) => `${digits(ms)} ms`,
    isLinear: true,
  },
  load: {
    label: "Server load",
    low: 1,
    high: 50,
    start: page.view.load,
    words: (factor) => (factor === 1 ? "idle" : `tails ${timesWords(factor)} slower`),
  },
  slowdown: {
    label: "Edge slow-down",
    low: 0.1,
    high: 50,
    start: page.view.slowdown,
    words: (factor) => (factor === 1 ? "1×, as planned" : timesWords(factor)),
  },
};
const STEPS = 500;
const OBJECTIVES = ["latency", "period"];

const view = { objective: "latency" };
const clamped = (slider, value) => Math.min(slider.high, Math.max(slider.low, value));

function positionOf(slider, value) {
  if (slider.isLinear) return (value - slider.low) / (slider.high - slider.low);
  return Math.log(value / slider.low) / Math.log(slider.high / slider.low);
}

function valueAt(slider, position) {
  if (slider.isLinear) return slider.low + position * (slider.high - slider.low);
  // Rounded to what is shown, so that a shared view shows the same.
  const value = slider.low * (slider.high / slider.low) ** position;
  return clamped(slider, Number(value.toPrecision(3)));
}

function buildSliders(changed) {
  for (const [key, slider] of Object.entries(SLIDERS)) {
    slider.input = element("input", {
      type: "range", id: `slider-${key}`, min: 0, max: STEPS, step: 1,
    });
    slider.output = element("output", { for: slider.input.id });
    slider.input.addEventListener("input", () => {
      view[key] = valueAt(slider, slider.input.value / STEPS);
      changed();
    });
    const label = element("label", { for: slider.input.id }, slider.label);
    byId("sliders").append(
      element("div", { class: "slider" }, label, slider.output, slider.input,
        ...(key === "bandwidth" ? [linkButtons(changed)] : [])),
    );
  }
  for (const radio of byId("objective").elements)
    radio.addEventListener("change", () => {
      view.objective = radio.value;
      changed();
    });
  byId("controls").addEventListener("reset", (event) => {
    event.preventDefault();
    resetView();
    changed();
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
}

function linkButtons(changed) {
  const buttons = Object.entries(page.links).map(([link, bps]) => {
    const button = element(
      "button", { type: "button", class: "chip", "data-bps": bps }, `${link} ${digits(bps / 1e6, 4)}`,
    );
    button.addEventListener("click", () => {
      view.bandwidth = bps;
      changed();
    });
    return button;
  });
  return element("div", { class: "chips", role: "group", "aria-label": "Links, Mbit/s" }, ...buttons);
}

function resetView() {
  view.objective = "latency";
  for (const [key, slider] of Object.entries(SLIDERS)) view[key] = slider.start;
}

// `#bandwidth=1.1e6&rtt=40`: whatever is missing or makes no sense stands at the start.
function readAddress() {
  resetView();
  const given = new URLSearchParams(location.hash.slice(1));
  if (OBJECTIVES.includes(given.get("objective"))) view.objective = given.get("objective");
  for (const [key, slider] of Object.entries(SLIDERS)) {
    const value = Number.parseFloat(given.get(key));
    if (Number.isFinite(value)) view[key] = clamped(slider, value);
  }
}

function writeAddress() {
  const address = `#${new URLSearchParams(view)}`;
  if (location.hash === address) return;
  try {
    history.replaceState(null, "", address);
  } catch {
    // Some browsers do not let a file change its own address; the view just cannot be shared.
  }
}

function showSliders() {
  for (const [key, slider] of Object.entries(SLIDERS)) {
    const words = slider.words(view[key]);
    slider.input.value = Math.round(positionOf(slider, view[key]) * STEPS);
    slider.input.setAttribute("aria-valuetext", words);
    slider.input.style.setProperty("--filled", `${positionOf(slider, view[key]) * 100}%`);
    slider.output.value = words;
  }
  for (const button of document.querySelectorAll(".chip"))
    button.setAttribute("aria-pressed", Number(button.dataset.bps) === view.bandwidth);
  for (const radio of byId("objective").elements) radio.checked = radio.value === view.objective;
}
