// Draw the charts of the page: as wide as their column, in the reader's theme, and again whenever
// one of them changes. Their data stand in the page as JSON; nothing is computed here but places.
// `element` and `unpacked` are in page.js, which stands before this.
"use strict";

const THEMES = {  // as in page.css
  light: { ink: "#1d2430", line: "#e3e7ed", paper: "#ffffff" },
  dark: { ink: "#e6e9ef", line: "#2c3440", paper: "#14181f" },
};
const PRINTED = 695; // px: A4 less its margins
const GAP = { left: 62, right: 14, title: 30, below: 58, between: 62, shared: 16 };
const TOOLBAR = { wide: 190, tall: 28 }; // px of Plotly's buttons, above the first panel on the right
const TOOLS = {
  displaylogo: false,
  responsive: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};
const darkSetting = matchMedia("(prefers-color-scheme: dark)");
const paper = matchMedia("print");
const touch = matchMedia("(pointer: coarse)");
const darkColours = JSON.parse(document.getElementById("dark-colours").textContent);
let isPrinting = false;

function theme() {
  return darkSetting.matches && !isPrinting ? "dark" : "light";
}

// A colour as it is shown in this theme: those of losses have a lighter one on a dark page.
function themed(value) {
  if (theme() === "light") return value;
  if (typeof value === "string") {
    if (value[0] === "#") return darkColours[value.toLowerCase()] || value;
    const parts = value.match(/^rgba\((\d+),(\d+),(\d+),([\d.]+)\)$/);
    if (!parts) return value;
    const hex = "#" + parts.slice(1, 4).map((part) => Number(part).toString(16).padStart(2, "0")).join("");
    const other = darkColours[hex];
    if (!other) return value;
    const rgb = [1, 3, 5].map((at) => parseInt(other.slice(at, at + 2), 16));
    return `rgba(${rgb},${Math.min(1, 1.6 * parts[4])})`;
  }
  if (Array.isArray(value)) return value.map(themed);
  return value;
}

// A copy of a chart's data with its colours in this theme.
function inTheme(content) {
  if (Array.isArray(content)) return content.map(inTheme);
  if (content === null || typeof content !== "object") return content;
  const copy = {};
  for (const [key, value] of Object.entries(content)) {
    copy[key] = /colou?r$/.test(key) ? themed(value) : inTheme(value);
  }
  return copy;
}

// Text in lines of at most so many pixels, at 6.4 px a letter.
function wrapped(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = (lines.at(-1) + " " + word).trim();
    if (longer.length * 6.4 > width && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.join("<br>");
}

// A title that has no room, with a sign that it goes on.
function cut(title, width) {
  return title.length * 7 > width ? title.slice(0, Math.max(3, width / 7 - 1)) + "…" : title;
}

function axisName(place, letter) {
  return letter + "axis" + (place === 0 ? "" : place + 1);
}

// The width of the labels of a chart's rows, which stand left of the panels.
function leftOf(layout, width) {
  const axes = Object.entries(layout).filter(([name]) => /^yaxis\d*$/.test(name)).map(([, axis]) => axis);
  const texts = axes.flatMap((axis) => axis.categoryarray || axis.ticktext || []);
  const lines = texts.flatMap((text) => text.replace(/<\/?b>/g, "").split("<br>"));
  const longest = Math.max(0, ...lines.map((line) => line.length));
  return longest ? Math.min(0.45 * width, 22 + 7.2 * longest) : GAP.left;
}

// Place panels side by side as far as the width goes, and return the height of the chart.
function arrange(layout, width) {
  const panels = layout.meta;
  const cells = panels.titles.length / panels.stack;
  const left = leftOf(layout, width);
  const between = panels.is_shared ? GAP.shared : GAP.between;
  const room = width - left - GAP.right + between;
  const columns = Math.max(1, Math.min(cells, Math.floor(room / (panels.least + between))));
  const wide = (room - columns * between) / columns;
  const lines = Math.ceil(cells / columns);
  const below = panels.below || (layout.xaxis && layout.xaxis.title ? GAP.below : 34);
  // buttons stand beside a title that is as wide as the chart, or above it where there is no room
  const isBeside = width > 600 && !isPrinting;
  const titles = panels.titles.map((title) => panels.is_titled_across
    ? wrapped(title, width - (isBeside ? TOOLBAR.wide : GAP.right)) : cut(title, wide));
  const buttons = panels.is_titled_across && !isBeside && !isPrinting ? TOOLBAR.tall : 0;
  const above = GAP.title + 16 * (Math.max(...titles.map((title) => title.split("<br>").length)) - 1);
  const last = (panels.stack - 1) * (panels.height + above);
  const tall = last + above + panels.height + below;
  const height = lines * tall;
  const across = width - left - GAP.right;
  layout.margin = { l: left, r: GAP.right, t: buttons, b: 0 };
  layout.annotations = [];
  titles.forEach((title, place) => {
    const cell = Math.floor(place / panels.stack), down = place % panels.stack;
    const column = cell % columns, line = Math.floor(cell / columns);
    const x0 = (column * (wide + between)) / across;
    const top = line * tall + down * (panels.height + above) + above;
    const x = (layout[axisName(place, "x")] ||= {}), y = (layout[axisName(place, "y")] ||= {});
    x.domain = [x0, Math.min(1, x0 + wide / across)];
    y.domain = [1 - (top + panels.height) / height, 1 - top / height];
    const number = place === 0 ? "" : place + 1;
    x.anchor = "y" + number;
    y.anchor = "x" + number;
    x.showticklabels = down === panels.stack - 1;
    y.showticklabels = column === 0 || !panels.is_shared;
    if (column > 0 && panels.is_shared) delete y.title;
    const placed = panels.is_titled_across
      ? { x: 0, xshift: -left, xanchor: "left", align: "left" }
      : { x: (x.domain[0] + x.domain[1]) / 2, xanchor: "center" };
    layout.annotations.push({
      text: title, xref: "paper", yref: "paper", y: y.domain[1], yanchor: "bottom", yshift: 4,
      showarrow: false, font: { size: 12.5 }, ...placed,
    });
  });
  return height + buttons;
}

function layoutOf(chart, width) {
  const colours = THEMES[theme()];
  const layout = inTheme(chart.content.layout);
  const isGrid = Boolean(layout.meta);
  if (isGrid) layout.height = arrange(layout, width);
  else layout.margin = { l: GAP.left, r: GAP.right, t: 8, b: 56 };
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    const text = axis.title && axis.title.text;
    if (text && name[0] === "x" && !isGrid) axis.title.text = wrapped(text, width - 90);
    Object.assign(axis, { gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line });
    axis.automargin = !isGrid;
    if (axis.title) axis.title.standoff = 8;
  }
  return Object.assign(layout, {
    width,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
    hoverlabel: { bgcolor: colours.paper, bordercolor: colours.line, font: { color: colours.ink } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.ink, activecolor: colours.ink },
    dragmode: touch.matches ? false : "zoom", // a finger scrolls the page
    hovermode: "closest",
  });
}

function draw(chart) {
  const width = Math.floor(isPrinting ? PRINTED : chart.box.clientWidth);
  const state = `${width} ${theme()}`;
  if (!width || chart.state === state) return;
  chart.state = state;
  const traces = inTheme(chart.content.data);
  for (const trace of traces) {
    trace.visible = !chart.hidden.has(trace.legendgroup || trace.name);
    if (trace.line && trace.line.color && trace.marker && !trace.marker.color) {
      trace.marker.color = trace.line.color;
    }
  }
  Plotly.react(chart.box, traces, layoutOf(chart, width), TOOLS);
  for (const button of chart.legend) {
    button.style.setProperty("--swatch", themed(button.dataset.colour));
  }
}

// The legend is HTML: it wraps, it is reached by the keyboard, and it is printed.
function addLegend(chart) {
  const entries = new Map();
  for (const trace of chart.content.data) {
    const colour = (trace.line && trace.line.color) || (trace.marker && trace.marker.color);
    if (trace.name && trace.showlegend !== false && typeof colour === "string") {
      entries.set(trace.legendgroup || trace.name, [trace.name, colour]);
    }
  }
  if (!entries.size) return;
  const list = document.createElement("div");
  list.className = "legend";
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", "Legend: a press hides or shows a line");
  for (const [group, [name, colour]] of entries) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.dataset.colour = colour;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const isShown = chart.hidden.delete(group);
      if (!isShown) chart.hidden.add(group);
      button.setAttribute("aria-pressed", String(isShown));
      chart.state = "";
      draw(chart);
    });
    chart.legend.push(button);
    list.append(button);
  }
  chart.box.before(list);
}

const charts = [...document.querySelectorAll(".chart")].map((box) => {
  const content = JSON.parse(box.nextElementSibling.textContent);
  const chart = { box, content, hidden: new Set(), legend: [], state: "" };
  addLegend(chart);
  return chart;
});

function drawAll() {
  charts.forEach(draw);
}

function print(begins) {
  isPrinting = begins;
  drawAll();
}

const resized = new ResizeObserver((entries) => {
  requestAnimationFrame(() => {
    for (const entry of entries) draw(charts.find((chart) => chart.box === entry.target));
  });
});

// The library is packed in the page, which would be twice as big with it as it is.
async function start() {
  if (!("DecompressionStream" in window)) return; // the page says so
  document.getElementById("no-charts").hidden = true;
  document.head.append(element("script", { textContent: await unpacked("plotly") }));
  charts.forEach((chart) => resized.observe(chart.box));
  darkSetting.addEventListener("change", drawAll);
  paper.addEventListener("change", (event) => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  if (paper.matches) isPrinting = true;
  drawAll();
  document.documentElement.dataset.charts = "drawn";
}
start();
