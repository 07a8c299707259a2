// Wires it together: every change of the view is shown once, in the next picture of the screen.

const plots = [barsPlot, linesPlot, networkPlot];
let isWaiting = false;

function changed() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    show();
  });
}

function draw() {
  for (const plot of plots) plot.draw();
  show();
}

function show() {
  showSliders();
  showVerdict();
  showSpans();
  showCandidates();
  for (const plot of plots) plot.update();
  addressSoon();
}

let addressTimer = 0;
function addressSoon() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(writeAddress, 250); // browsers refuse a hundred changes in a row
}

// The theme: what the system wants until the reader wants something else.
const THEMES = ["auto", "light", "dark"];
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";

function applyTheme() {
  const isDark = theme === "dark" || (theme === "auto" && systemIsDark.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  byId("theme").textContent = `theme: ${theme}`;
  draw();
}

byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  applyTheme();
});
systemIsDark.addEventListener("change", applyTheme);
addEventListener("hashchange", () => {
  readAddress();
  changed();
});
// Labels are shorter on a narrow screen, so the charts are drawn anew when their width changes.
let drawnWidth = 0;
new ResizeObserver(() => {
  if (byId("bars").clientWidth === drawnWidth) return;
  drawnWidth = byId("bars").clientWidth;
  draw();
}).observe(byId("bars"));
// Everything is opened for paper; it shows what the screen showed.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

readAddress();
buildSliders(changed);
showOnce();
drawnWidth = byId("bars").clientWidth;
applyTheme();
document.documentElement.dataset.ready = "yes";
