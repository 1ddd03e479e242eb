// What a reader can do with the page: sort and filter tables, copy commands, take data along, and
// print everything. Without this file the page can be read as it is; its buttons are made here.
"use strict";

const LONG = 12; // rows from which a table can be filtered

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// The text that an element holds as gzip in base64.
async function unpacked(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// --- sorting ------------------------------------------------------------------------------------

// The number that a cell begins with, whatever follows it: "99.0±0.4≈", "1,234", "+0.3 ?", "2/3".
function numberOf(text) {
  const match = text.trim().replace(/−/g, "-").match(/^[+-]?(inf|[\d,]*\.?\d+(e[+-]?\d+)?)/i);
  if (!match) return null;
  const value = match[0].replace(/,/g, "");
  return /inf/i.test(value) ? (value[0] === "-" ? -Infinity : Infinity) : Number(value);
}

function compareCells(one, other, isText) {
  if (!isText) {
    const [a, b] = [numberOf(one), numberOf(other)];
    if (a !== null && b !== null) return a === b ? 0 : a < b ? -1 : 1;
  }
  return one.localeCompare(other, undefined, { numeric: true });
}

function isBlank(text) {
  return /^[-–]?$/.test(text.trim());
}

function sortBy(table, heading, place) {
  const body = table.tBodies[0];
  const now = heading.getAttribute("aria-sort");
  const next = { ascending: "descending", descending: "none" }[now] || "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
  heading.setAttribute("aria-sort", next);
  const rows = [...body.rows];
  const cell = (row) => textOf(row.cells[place]);
  if (next === "none") rows.sort((a, b) => a.dataset.place - b.dataset.place);
  else {
    const sign = next === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [x, y] = [cell(a), cell(b)];
      if (isBlank(x) || isBlank(y)) return isBlank(x) - isBlank(y); // blank ones last, both ways
      return sign * compareCells(x, y, heading.classList.contains("words"));
    });
  }
  body.append(...rows);
}

function makeSortable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    if (!heading.textContent.trim()) return;
    const button = element("button", { type: "button" });
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, heading, place));
  });
}

// --- filtering ----------------------------------------------------------------------------------

function filterOf(table) {
  const rows = [...table.tBodies[0].rows];
  const count = element("span", {}, `${rows.length} rows`);
  count.setAttribute("role", "status");
  const input = element("input", { type: "search", placeholder: "Filter rows" });
  input.setAttribute("aria-label", `Filter the rows of: ${table.getAttribute("aria-label")}`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  });
  return [input, count];
}

// --- data ---------------------------------------------------------------------------------------

// The text of a cell without that of its buttons.
function textOf(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll(".copy").forEach((button) => button.remove());
  copy.querySelectorAll("br").forEach((line) => line.replaceWith(" "));
  return copy.textContent.trim();
}

function csvCell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

function tableData(table) {
  const names = [...table.tHead.rows[0].cells].map(textOf);
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  return { names, rows: rows.map((row) => [...row.cells].map(textOf)) };
}

function toCsv({ names, rows }) {
  return [names, ...rows].map((row) => row.map(csvCell).join(",") + "\r\n").join("");
}

function toJson({ names, rows }) {
  const records = rows.map((row) => Object.fromEntries(row.map((cell, at) => [names[at] || `column ${at + 1}`, cell])));
  return JSON.stringify(records, null, 1) + "\n";
}

// A page inside another one, as MLflow shows it, may not save files: then the text is shown.
function save(name, text, type) {
  if (window.self !== window.top) {
    const area = element("textarea", { value: text, readOnly: true });
    area.setAttribute("aria-label", name);
    const box = element("dialog", {}, element("p", {}, `${name}: copy it from here, since this page may not save files where it is shown.`), area,
      element("form", { method: "dialog" }, element("button", {}, "Close")));
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
    area.select();
    return;
  }
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function button(text, label, action) {
  const made = element("button", { type: "button" }, text);
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

function saveButtons(name, label, csv, json) {
  return [
    button("CSV", `Save as CSV: ${label}`, async () => save(`${name}.csv`, await csv(), "text/csv")),
    button("JSON", `Save as JSON: ${label}`, async () => save(`${name}.json`, await json(), "application/json")),
  ];
}

function addTools(table) {
  const label = table.getAttribute("aria-label");
  const name = label.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60);
  const tools = element("div", { className: "tools" });
  if (table.tBodies[0].rows.length >= LONG) tools.append(...filterOf(table));
  tools.append(...saveButtons(name || "table", label, () => toCsv(tableData(table)), () => toJson(tableData(table))));
  table.closest(".scroll").before(tools);
}

// The whole report's records are those of --format csv, which the page holds as text.
function addReportTools() {
  if (!("DecompressionStream" in window)) return;
  const records = async () => JSON.parse(await unpacked("records"));
  const csv = async () => (await records()).csv;
  const json = async () => JSON.stringify((await records()).records, null, 1) + "\n";
  const buttons = saveButtons("report", "all numbers of the report", csv, json);
  document.getElementById("take-along").append("All numbers in full precision: ", ...buttons);
}

// --- copying ------------------------------------------------------------------------------------

function addCopy(code) {
  const made = button("Copy", `Copy: ${code.textContent.slice(0, 200)}`, async () => {
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // not allowed: where the page is shown in another one
      getSelection().selectAllChildren(code);
      isCopied = document.execCommand("copy");
    }
    made.textContent = isCopied ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { made.textContent = "Copy"; }, 2000);
  });
  made.className = "copy";
  code.after(made);
}

// --- the window and paper -----------------------------------------------------------------------

// A part that scrolls sideways must be reached by the keyboard.
const scrolls = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth + 1) {
      target.tabIndex = 0;
      target.setAttribute("role", "group");
      const table = target.querySelector("table");
      target.setAttribute("aria-label", table ? table.getAttribute("aria-label") : "Chart");
    } else target.removeAttribute("tabindex");
  }
});

function openForPrint() {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.wasClosed = "";
  }
  for (const table of document.querySelectorAll(".scroll > table")) { // none is cut by the paper
    table.style.width = "";
    const natural = table.offsetWidth * (8.5 / 13.6);
    if (natural > 700) table.style.zoom = Math.max(0.45, 690 / natural);
  }
}

function closeAfterPrint() {
  for (const details of document.querySelectorAll("details[data-was-closed]")) {
    details.open = false;
    delete details.dataset.wasClosed;
  }
  for (const table of document.querySelectorAll(".scroll > table")) table.style.zoom = "";
}

// A link into a folded part opens it.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details:not([open])");
  if (folded) {
    folded.open = true;
    target.scrollIntoView();
  }
}

for (const table of document.querySelectorAll("table")) {
  makeSortable(table);
  addTools(table);
}
document.querySelectorAll("code.typed").forEach(addCopy);
document.querySelectorAll(".scroll").forEach((part) => scrolls.observe(part));
addReportTools();
const contents = document.querySelector(".contents details");
const wide = matchMedia("(min-width: 75rem)");
contents.open = wide.matches; // folded on a phone
wide.addEventListener("change", () => { contents.open = wide.matches; });
addEventListener("hashchange", openTarget);
openTarget();
addEventListener("beforeprint", openForPrint);
addEventListener("afterprint", closeAfterPrint);
